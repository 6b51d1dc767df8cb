/* SPDX-License-Identifier: BSD-3-Clause */
/* debug_digest: DEBUG DIGEST and DIGEST-VALUE.
 *
 * A key's digest mixes its name, its type and its value, and marks a TTL. The digests of all keys
 * of a database are put together by exclusive or, so neither their order nor the shard they are on
 * matters; databases are mixed in by number. The recipe is Valkey's, so that two servers can be
 * compared.
 */
#include "server/commands/server/debug_digest.h"

#include "base/check.h"
#include "base/must.h"
#include "base/num.h"
#include "base/sha1.h"
#include "net/rt.h"
#include "server/call/scatter.h"
#include "server/config/config.h"
#include "server/node.h"
#include "server/server.h"
#include "server/worker/view.h"
#include "shard/shard.h"
#include "shard/types/hash.h"
#include "shard/types/stream.h"

#include <stdlib.h>

/* Keys a turn; a scan of a big database goes on in later turns. */
#define KEYS_A_SLICE 500

struct digest {
    unsigned char bytes[SHA1_BYTES];
};

/* Order does not matter. */
static void digest_xor(struct digest *digest, struct bytes data) {
    unsigned char hash[SHA1_BYTES];
    sha1(data, hash);
    for (int i = 0; i < SHA1_BYTES; i++) {
        digest->bytes[i] ^= hash[i];
    }
}

/* Order matters. */
static void digest_mix(struct digest *digest, struct bytes data) {
    digest_xor(digest, data);
    unsigned char hash[SHA1_BYTES];
    sha1(bytes_make((const char *)digest->bytes, SHA1_BYTES), hash);
    memcpy(digest->bytes, hash, SHA1_BYTES);
}

static void digest_mix_number(struct digest *digest, uint32_t number) {
    unsigned char bytes[4] = {(unsigned char)(number >> 24), (unsigned char)(number >> 16),
                              (unsigned char)(number >> 8), (unsigned char)number};
    digest_mix(digest, bytes_make((const char *)bytes, 4));
}

/* A string is its one element. */
static void digest_ordered(void *arg, const struct value_element *element) {
    digest_mix(arg, element->first);
}

static void digest_member(void *arg, const struct value_element *element) {
    digest_xor(arg, element->first);
}

static void digest_pair(struct digest *digest, struct bytes first, struct bytes second) {
    struct digest one = {0};
    digest_mix(&one, first);
    digest_mix(&one, second);
    digest_xor(digest, bytes_make((const char *)one.bytes, SHA1_BYTES));
}

static void digest_scored(void *arg, const struct value_element *element) {
    char score[NUM_DOUBLE_BYTES];
    size_t length = num_format_shortest(score, element->score);
    digest_pair(arg, element->first, bytes_make(score, length));
}

static void digest_field(void *arg, const struct value_element *element) {
    digest_pair(arg, element->first, element->second);
}

/* Ids here are the only ones with a point. */
static void digest_stream(struct digest *digest, const struct stream *stream) {
    struct stream_iter iter;
    stream_iter_init(&iter, stream, STREAM_ID_MIN, STREAM_ID_MAX, false);
    while (stream_iter_next(&iter)) {
        char id[2 * NUM_I64_BYTES], scratch[NUM_I64_BYTES];
        size_t n = num_format_u64(id, iter.id.ms);
        id[n++] = '.';
        n += num_format_u64(id + n, iter.id.seq);
        digest_mix(digest, bytes_make(id, n));
        for (uint32_t i = 0; i < iter.fields; i++) {
            struct listpack_item field, value;
            stream_iter_field(&iter, &field, &value);
            digest_mix(digest, listpack_text(&field, scratch));
            digest_mix(digest, listpack_text(&value, scratch));
        }
    }
}

/* Without fields that are past their deadlines. */
static void digest_hash(struct digest *digest, const struct value *value, int64_t now_ms) {
    struct hash_look look = hash_look(*value, now_ms);
    hash_each(&look, digest_field, digest);
}

static void digest_elements(struct digest *digest, const struct value *value) {
    static value_element_fn *const visits[TYPE_COUNT] = {
        [TYPE_STRING] = digest_ordered,
        [TYPE_LIST] = digest_ordered,
        [TYPE_SET] = digest_member,
        [TYPE_ZSET] = digest_scored,
    };
    const struct form *form = forms_find(&value_forms, value);
    uint64_t cursor = 0;
    do {
        cursor = form->walk(value, cursor, UINT64_MAX, visits[value->type], digest);
    } while (cursor != 0);
}

static void digest_value(struct digest *digest, const struct entry *entry, int64_t now_ms) {
    struct value value = entry_value_of(entry);
    /* Valkey's numbers have values of modules before streams. */
    digest_mix_number(digest, value.type + (value.type == TYPE_STREAM));
    if (value.type == TYPE_STREAM) {
        digest_stream(digest, stream_of(&value));
    } else if (value.type == TYPE_HASH) {
        digest_hash(digest, &value, now_ms);
    } else {
        digest_elements(digest, &value);
    }
    if (entry_expires_at(entry) != NO_EXPIRY) {
        digest_xor(digest, BYTES("!!expire!!"));
    }
}

static void reply_digest(struct reply *r, const struct digest *digest) {
    char text[2 * SHA1_BYTES + 1];
    for (int i = 0; i < SHA1_BYTES; i++) {
        text[2 * i] = "0123456789abcdef"[digest->bytes[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[digest->bytes[i] & 15];
    }
    text[sizeof(text) - 1] = 0;
    reply_status(r, text);
}

/* ---- DIGEST ---- */

struct digest_part {
    uint32_t db;
    uint64_t cursor;
    int64_t now_ms;
    struct digest *sums; /* by database */
    bool *any;
};

static void digest_key(void *arg, struct entry *entry) {
    struct digest_part *part = arg;
    struct digest digest = {0};
    digest_mix(&digest, entry_key(entry));
    digest_value(&digest, entry, part->now_ms);
    digest_xor(&part->sums[part->db], bytes_make((const char *)digest.bytes, SHA1_BYTES));
    part->any[part->db] = true;
}

static bool digest_part(struct worker *worker, const void *args, void *result) {
    struct digest_part *part = result;
    uint32_t databases = (uint32_t)config_databases(worker_config(worker));
    if (part->sums == NULL) {
        part->sums = must_calloc(databases, sizeof(*part->sums));
        part->any = must_calloc(databases, sizeof(*part->any));
    }
    part->now_ms = rt_wall_ms(worker_rt(worker));
    for (; part->db < databases; part->db++) {
        part->cursor = keyspace_scan(worker_shard(worker)->keyspace, part->db, part->cursor,
                                     KEYS_A_SLICE, part->now_ms, digest_key, part);
        if (part->cursor != 0) {
            return false;
        }
    }
    return true;
}

static void digest_parts_free(const struct scatter_result *result) {
    for (unsigned i = 0; i < result->parts_count; i++) {
        struct digest_part *part = result->parts[i];
        free(part->sums);
        free(part->any);
    }
}

static void digest_done(struct exec *x, const struct scatter_result *result) {
    if (UNLIKELY(result->moved && x->client != NULL)) {
        digest_parts_free(result);
        scatter_again(x, result);
        return;
    }
    struct digest all = {0};
    for (uint32_t db = 0; db < (uint32_t)config_databases(worker_config(x->worker)); db++) {
        struct digest sum = {0};
        bool any = false;
        for (unsigned i = 0; i < result->parts_count; i++) {
            const struct digest_part *part = result->parts[i];
            any |= part->any[db];
            for (int b = 0; b < SHA1_BYTES; b++) {
                sum.bytes[b] ^= part->sums[db].bytes[b];
            }
        }
        if (any) {
            digest_mix_number(&all, db);
            for (int b = 0; b < SHA1_BYTES; b++) {
                all.bytes[b] ^= sum.bytes[b];
            }
        }
    }
    reply_digest(x->reply, &all);
    digest_parts_free(result);
}

void debug_digest(struct exec *x) {
    scatter_all(x, digest_part, sizeof(struct digest_part), NULL, 0, digest_done);
}

/* ---- DIGEST-VALUE ---- */

/* The keys, copied, in one allocation that home frees; each worker digests its own. */
struct value_args {
    uint32_t db;
    uint32_t count;
    struct key *keys;
};

struct value_part {
    struct digest *digests; /* of this worker's keys, in the order of the keys */
};

static bool value_part(struct worker *worker, const void *args, void *result) {
    const struct value_args *a = args;
    struct value_part *part = result;
    part->digests = must_calloc(a->count + 1, sizeof(*part->digests));
    for (uint32_t i = 0; i < a->count; i++) {
        if (node_owner(worker_node(worker), a->keys[i].slot) != worker_id(worker)) {
            continue;
        }
        const struct entry *entry =
            keyspace_find_any(worker_shard(worker)->keyspace, a->db, &a->keys[i]);
        if (entry != NULL) {
            digest_value(&part->digests[i], entry, rt_wall_ms(worker_rt(worker)));
        }
    }
    return true;
}

static void value_done(struct exec *x, const struct scatter_result *result) {
    const struct value_args *a = result->args;
    if (UNLIKELY(result->moved && x->client != NULL)) {
        for (unsigned i = 0; i < result->parts_count; i++) {
            free(((struct value_part *)result->parts[i])->digests);
        }
        scatter_again(x, result);
        return;
    }
    reply_array(x->reply, a->count);
    for (uint32_t i = 0; i < a->count; i++) {
        unsigned owner = node_owner(worker_node(x->worker), a->keys[i].slot);
        reply_digest(x->reply, &((const struct value_part *)result->parts[owner])->digests[i]);
    }
    for (unsigned i = 0; i < result->parts_count; i++) {
        free(((struct value_part *)result->parts[i])->digests);
    }
    free(a->keys);
}

void debug_digest_value(struct exec *x) {
    struct value_args args = {.db = x->db, .count = x->argc - 2};
    size_t bytes = args.count * sizeof(*args.keys) + 1;
    for (uint32_t i = 2; i < x->argc; i++) {
        bytes += x->argv[i].len;
    }
    args.keys = must_malloc(bytes);
    char *names = (char *)(args.keys + args.count);
    for (uint32_t i = 0; i < args.count; i++) {
        struct bytes name = x->argv[i + 2];
        memcpy(names, name.ptr, name.len);
        args.keys[i] = key_make(&worker_server(x->worker)->secret, bytes_make(names, name.len));
        names += name.len;
    }
    scatter_all(x, value_part, sizeof(struct value_part), &args, sizeof(args), value_done);
}
