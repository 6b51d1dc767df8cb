/* SPDX-License-Identifier: BSD-3-Clause */
/* parcel: see the header. The checksum is taken slice by slice, as the bytes come: of a large dump
 * it would be a stall of its own. */
#include "server/call/parcel.h"

#include "base/check.h"
#include "base/crc64.h"
#include "persist/codec/rdb_write.h"
#include "server/call/command.h"
#include "server/call/keyset.h"
#include "shard/keys/keyspace.h"

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
    check(value_write_begin(&parcel->write, &loan.value, version, compress));
    rdb_put_byte(&parcel->dump, parcel->write.type);
}

static void sum(struct parcel *parcel) {
    const struct text *dump = &parcel->dump;
    struct bytes added = bytes_make(dump->ptr + parcel->summed, dump->len - parcel->summed);
    parcel->crc = crc64(parcel->crc, added);
    parcel->summed = dump->len;
}

bool parcel_pack_some(struct parcel *parcel, size_t *budget) {
    while (parcel->present && !parcel->packed) {
        if (*budget == 0) {
            return false;
        }
        size_t before = parcel->dump.len;
        bool whole = value_write_some(&parcel->write, &parcel->dump, *budget);
        size_t bytes = parcel->dump.len - before;
        *budget -= bytes < *budget ? bytes : *budget;
        sum(parcel);
        if (whole) {
            rdb_put_footer_after(&parcel->dump, parcel->crc, parcel->write.version);
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
