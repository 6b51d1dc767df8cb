/* SPDX-License-Identifier: BSD-3-Clause */
/* parcel: see the header. The checksum is taken in slices, too: of a large dump it would be a stall
 * of its own. */
#include "server/call/parcel.h"

#include "base/check.h"
#include "base/crc64.h"
#include "persist/codec/rdb_write.h"
#include "server/call/command.h"
#include "server/call/keyset.h"
#include "shard/keys/keyspace.h"
#include "shard/types/string.h"

/* What a value costs beside its bytes, as bytes: a slice holds so many small ones. */
#define VALUE_COST 512
/* So many bytes are summed while one is written. */
#define SUMMED_AT_COST 8
/* A longer string goes as it is: it cannot be compressed in slices, and what cannot be compressed
 * takes a second for some ten megabytes to be found so. */
#define COMPRESSED_MAX ((size_t)1024 * 1024)

static bool is_long_string(const struct entry *entry) {
    return entry_type(entry) == TYPE_STRING && string_length(entry) > COMPRESSED_MAX;
}

struct parcel *parcel_of(const struct exec *x, uint32_t argv_index) {
    struct parcel *parcel = &x->parcels[argv_index - x->parcels[0].index];
    check(parcel->index == argv_index); /* such keys follow each other */
    return parcel;
}

void parcel_begin(struct parcel *parcel, struct keyspace *keyspace, struct entry *entry,
                  bool compress) {
    struct loan loan = keyspace_lend(keyspace, entry);
    unsigned version = value_write_version(&loan.value);
    parcel->present = true;
    parcel->expires_at = loan.expires_at;
    text_init(&parcel->dump);
    compress = compress && !is_long_string(entry);
    check(value_write_begin(&parcel->write, &loan.value, version, compress));
    rdb_put_byte(&parcel->dump, parcel->write.type);
}

static void charge(size_t *budget, size_t cost) {
    *budget -= cost < *budget ? cost : *budget;
}

/* Some of what the checksum is not of yet. */
static void sum_some(struct parcel *parcel, size_t *budget) {
    const struct text *dump = &parcel->dump;
    size_t left = dump->len - parcel->summed, most = *budget * SUMMED_AT_COST;
    size_t bytes = left < most ? left : most;
    parcel->crc = crc64(parcel->crc, bytes_make(dump->ptr + parcel->summed, bytes));
    parcel->summed += bytes;
    charge(budget, bytes / SUMMED_AT_COST + 1);
}

bool parcel_pack_some(struct parcel *parcel, size_t *budget) {
    while (parcel->present && !parcel->packed) {
        struct text *dump = &parcel->dump;
        if (*budget == 0) {
            return false;
        }
        if (!parcel->written) {
            size_t before = dump->len;
            parcel->written = value_write_some(&parcel->write, dump, *budget);
            charge(budget, dump->len - before + VALUE_COST);
        } else if (parcel->summed < dump->len) {
            sum_some(parcel, budget);
        } else {
            rdb_put_footer_after(dump, parcel->crc, parcel->write.version);
            parcel->packed = true;
        }
    }
    return true;
}

void parcel_fini(struct parcel *parcel) {
    if (parcel->present) {
        text_fini(&parcel->dump);
        parcel->present = false;
    }
}
