/* SPDX-License-Identifier: BSD-3-Clause */
/* generic_all: commands over all keys of a database: KEYS, SCAN, CLUSTERSCAN, RANDOMKEY.
 *
 * Each shard writes what it found as final RESP into a buffer of its own part; home only links the
 * buffers behind a header. A shard visits a bounded number of keys per turn, so KEYS over millions
 * of keys delays its neighbours by one slice.
 *
 * SCAN's cursor is (slot, place in the slot's table), the same for any number of shards. A call
 * asks the shard that owns the cursor's slot, and of it the run of neighbouring slots it owns; when
 * the run is done before COUNT keys were seen, the same call goes on with the owner of the next
 * slot. A pattern that names its slot (MATCH {tag}*) is looked for there only.
 *
 * CLUSTERSCAN is the same walk, as far as the slots of this node follow each other. Its cursor is
 * text, by which clients know where to send it: "mark-{tag}-place", where a key with that tag is in
 * the slot. Places mean something where hashes are the same: on a node with the same mark.
 */
#include "base/check.h"
#include "base/glob.h"
#include "base/must.h"
#include "base/num.h"
#include "base/random.h"
#include "cluster/brain/map.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/call/scatter.h"
#include "server/commands/generic/generic.h"
#include "server/node.h"
#include "server/server.h"
#include "server/worker/view.h"
#include "shard/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How many keys one turn may visit: some tens of microseconds of work. */
#define SLICE_KEYS 512

/* ---- Picking keys ---- */

/* Which keys are wanted. The pattern's bytes stand behind the struct that ends with it. */
struct filter {
    int type; /* value_type, or -1: all */
    int slot; /* the only one that such keys can be in, or -1 */
    bool all_names;
    size_t pattern_len;
    char pattern[];
};

static bool filter_takes(const struct filter *filter, const struct entry *entry) {
    if (filter->type >= 0 && (int)entry_type(entry) != filter->type) {
        return false;
    }
    struct bytes pattern = bytes_make(filter->pattern, filter->pattern_len);
    return filter->all_names || glob_match(pattern, entry_key(entry), false);
}

int pattern_slot(struct bytes pattern) {
    size_t literal = 0;
    while (literal < pattern.len && memchr("*?[\\", pattern.ptr[literal], 4) == NULL) {
        literal++;
    }
    if (literal == pattern.len) {
        return key_slot(pattern);
    }
    const char *open = memchr(pattern.ptr, '{', literal);
    const char *close = open ? memchr(open, '}', literal - (size_t)(open - pattern.ptr)) : NULL;
    if (close == NULL || close == open + 1) {
        return -1;
    }
    return key_slot(bytes_make(pattern.ptr, (size_t)(close + 1 - pattern.ptr)));
}

static void filter_set(struct filter *filter, struct bytes pattern, int type) {
    filter->type = type;
    filter->slot = pattern_slot(pattern);
    filter->all_names = bytes_equal(pattern, BYTES("*"));
    filter->pattern_len = pattern.len;
    if (pattern.len > 0) {
        memcpy(filter->pattern, pattern.ptr, pattern.len);
    }
}

/* The keys that one shard found, and how far it is. */
struct walk {
    struct outbuf keys; /* bulk strings */
    uint64_t taken;     /* how many there are */
    uint64_t visited;   /* how many were looked at */
    uint64_t cursor;
    uint32_t run_end; /* SCAN: the first slot after the cursor's that is not for this shard */
    bool begun;
    bool lost; /* SCAN: nor was the cursor's */
};

struct visit {
    struct walk *walk;
    const struct filter *filter;
    const struct keyspace *ks;
};

static void walk_visit(void *arg, struct entry *entry) {
    struct visit *visit = arg;
    struct walk *walk = visit->walk;
    walk->visited++;
    if (filter_takes(visit->filter, entry) && !keyspace_hides(visit->ks, entry)) {
        struct reply reply;
        reply_init(&reply, &walk->keys, 2);
        reply_bulk(&reply, entry_key(entry));
        walk->taken++;
    }
}

static void walk_begin(struct walk *walk, uint64_t cursor) {
    if (!walk->begun) {
        outbuf_init(&walk->keys);
        walk->cursor = cursor;
        walk->begun = true;
    }
}

/* Goes on by one slice, at most about `count` keys, in slots before `end`. */
static void walk_slice(struct walk *walk, struct keyspace *ks, uint32_t db, uint32_t end,
                       uint64_t count, int64_t now_ms, const struct filter *filter) {
    struct visit visit = {walk, filter, ks};
    uint64_t keys = count < SLICE_KEYS ? count : SLICE_KEYS;
    walk->cursor = keyspace_scan_slots(ks, db, walk->cursor, end, keys, now_ms, walk_visit, &visit);
}

/* ---- KEYS ---- */

struct keys_args {
    uint32_t db;
    int64_t now_ms;
    struct filter filter;
};

static bool keys_part(struct worker *worker, const void *args_ptr, void *part) {
    const struct keys_args *args = args_ptr;
    struct walk *walk = part;
    int slot = args->filter.slot;
    uint32_t end = slot >= 0 ? (uint32_t)slot + 1 : SLOTS;
    walk_begin(walk, slot >= 0 ? scan_cursor_at_slot((uint16_t)slot) : 0);
    walk_slice(walk, worker_shard(worker)->keyspace, args->db, end, SLICE_KEYS, args->now_ms,
               &args->filter);
    return walk->cursor == 0 || (slot >= 0 && scan_cursor_slot(walk->cursor) != slot);
}

static void keys_done(struct exec *x, const struct scatter_result *result) {
    if (UNLIKELY(result->moved && x->client != NULL)) {
        for (unsigned i = 0; i < result->parts_count; i++) {
            outbuf_fini(&((struct walk *)result->parts[i])->keys);
        }
        scatter_again(x, result);
        return;
    }
    uint64_t taken = 0;
    for (unsigned i = 0; i < result->parts_count; i++) {
        taken += ((struct walk *)result->parts[i])->taken;
    }
    reply_array(x->reply, taken);
    for (unsigned i = 0; i < result->parts_count; i++) {
        struct walk *walk = result->parts[i];
        outbuf_splice(x->reply->out, &walk->keys);
        outbuf_fini(&walk->keys);
    }
}

void command_list_keys(struct exec *x) {
    struct bytes pattern = x->argv[1];
    size_t bytes = sizeof(struct keys_args) + pattern.len;
    struct keys_args *args = must_malloc(bytes);
    args->db = x->db;
    args->now_ms = exec_alive_ms(x);
    filter_set(&args->filter, pattern, -1);
    int slot = args->filter.slot;
    if (slot >= 0) {
        scatter_slot(x, (uint16_t)slot, keys_part, sizeof(struct walk), args, bytes, keys_done);
    } else {
        scatter_all(x, keys_part, sizeof(struct walk), args, bytes, keys_done);
    }
    free(args);
}

/* ---- SCAN ---- */

struct scan_args {
    uint32_t db;
    int64_t now_ms;
    uint64_t cursor;    /* where the shard that is asked begins */
    uint64_t count;     /* how many keys it may look at */
    uint32_t end;       /* slots from here on are not asked for */
    bool of_cluster;    /* CLUSTERSCAN */
    struct outbuf keys; /* what the shards asked before have found */
    uint64_t taken;
    struct filter filter;
};

static bool scan_run_over(const struct walk *walk) {
    return walk->cursor == 0 || scan_cursor_slot(walk->cursor) >= walk->run_end;
}

/* The end of the run of slots from the cursor's on that this shard is to look at. */
static uint32_t scan_run_end(const struct worker *worker, const struct scan_args *args,
                             uint16_t slot) {
    uint32_t end = slot + 1u;
    while (args->filter.slot < 0 && end < args->end &&
           node_owner(worker_node(worker), (uint16_t)end) == worker_id(worker)) {
        end++;
    }
    return end;
}

static bool scan_part(struct worker *worker, const void *args_ptr, void *part) {
    const struct scan_args *args = args_ptr;
    struct walk *walk = part;
    if (UNLIKELY(slots_changing(slots_epoch(&worker_node(worker)->slots)))) {
        return false; /* keys may be on their way */
    }
    walk_begin(walk, args->cursor);
    uint16_t slot = scan_cursor_slot(walk->cursor);
    walk->lost = node_owner(worker_node(worker), slot) != worker_id(worker);
    if (UNLIKELY(walk->lost)) {
        return true;
    }
    walk->run_end = scan_run_end(worker, args, slot);
    walk_slice(walk, worker_shard(worker)->keyspace, args->db, walk->run_end,
               args->count - walk->visited, args->now_ms, &args->filter);
    return scan_run_over(walk) || walk->visited >= args->count;
}

static void scan_done(struct exec *x, const struct scatter_result *result);

/* Where to go on after the slots that a shard was asked for; 0: they were the last. */
static uint64_t scan_after_run(const struct scan_args *args, const struct walk *walk) {
    bool more = args->filter.slot < 0 && walk->run_end < args->end;
    return more ? scan_cursor_at_slot((uint16_t)walk->run_end) : 0;
}

/* Asks the owner of the cursor's slot. */
static void scan_ask(struct exec *x, struct scan_args *args) {
    scatter_slot(x, scan_cursor_slot(args->cursor), scan_part, sizeof(struct walk), args,
                 sizeof(*args) + args->filter.pattern_len, scan_done);
}

static void scan_reply(struct exec *x, struct bytes cursor, struct outbuf *keys, uint64_t taken) {
    reply_array(x->reply, 2);
    reply_bulk(x->reply, cursor);
    reply_array(x->reply, taken);
    outbuf_splice(x->reply->out, keys);
    outbuf_fini(keys);
}

/* ---- The cursor of CLUSTERSCAN ---- */

#define MARK_BYTES         6
#define CLUSTER_CURSOR_MAX 64

static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
#define LETTERS   (sizeof letters - 1)
#define TAG_BYTES 3

/* The shortest word that is in this slot, and of those the first: what Valkey names it by, which
 * has them in a table. A checksum of a word is the exclusive or of what each of its letters does at
 * its place. */
static struct bytes slot_tag(uint16_t slot, char ret[TAG_BYTES]) {
    uint16_t does[TAG_BYTES][LETTERS]; /* by how many letters follow */
    for (unsigned i = 0; i < LETTERS; i++) {
        char word[TAG_BYTES] = {letters[i]};
        for (unsigned behind = 0; behind < TAG_BYTES; behind++) {
            does[behind][i] = key_slot(bytes_make(word, behind + 1));
        }
    }
    for (unsigned length = 1; length <= TAG_BYTES; length++) {
        for (unsigned first = 0; first < (length > 2 ? LETTERS : 1); first++) {
            for (unsigned second = 0; second < (length > 1 ? LETTERS : 1); second++) {
                uint16_t rest = slot;
                rest ^= length > 2 ? does[2][first] : 0;
                rest ^= length > 1 ? does[1][second] : 0;
                for (unsigned last = 0; last < LETTERS; last++) {
                    if (does[0][last] == rest) {
                        char word[TAG_BYTES] = {letters[first], letters[second], letters[last]};
                        memcpy(ret, word + TAG_BYTES - length, length);
                        return bytes_make(ret, length);
                    }
                }
            }
        }
    }
    check(false); /* there is one for each */
    return bytes_make(ret, 0);
}

/* Of the order in which this process has keys. */
static void own_mark(const struct exec *x, char ret[MARK_BYTES]) {
    uint64_t hash = key_make(&worker_server(x->worker)->secret, BYTES("clusterscan")).hash;
    for (unsigned i = 0; i < MARK_BYTES; i++, hash /= LETTERS) {
        ret[i] = letters[hash % LETTERS];
    }
}

static struct bytes cluster_cursor(const struct exec *x, uint16_t slot, uint64_t place,
                                   char ret[CLUSTER_CURSOR_MAX]) {
    char mark[MARK_BYTES] = "0", room[TAG_BYTES];
    int mark_bytes = 1;
    struct bytes tag = slot_tag(slot, room);
    if (place != 0) {
        own_mark(x, mark);
        mark_bytes = MARK_BYTES;
    }
    int n = snprintf(ret, CLUSTER_CURSOR_MAX, "%.*s-{%.*s}-%llu", mark_bytes, mark,
                     bytes_precision(tag), tag.ptr, (unsigned long long)place);
    return bytes_make(ret, (size_t)n);
}

/* *ret_place is 0 if it is of another mark. */
static bool cluster_cursor_read(const struct exec *x, struct bytes text, uint16_t *ret_slot,
                                uint64_t *ret_place) {
    const char *end = text.ptr + text.len;
    const char *first = memchr(text.ptr, '-', text.len);
    const char *second = first != NULL ? memchr(first + 1, '-', (size_t)(end - first - 1)) : NULL;
    if (second == NULL || first == text.ptr || second == first + 1 ||
        !num_parse_u64(bytes_make(second + 1, (size_t)(end - second - 1)), ret_place)) {
        return false;
    }
    char mark[MARK_BYTES];
    own_mark(x, mark);
    *ret_slot = key_slot(bytes_make(first + 1, (size_t)(second - first - 1)));
    bool own = first - text.ptr == MARK_BYTES && memcmp(text.ptr, mark, MARK_BYTES) == 0;
    *ret_place = own && *ret_place < UINT64_MAX / SLOTS ? *ret_place : 0;
    return true;
}

/* Where the next call goes on: `cursor` as SCAN's; 0: the slots that were asked for are over. */
static struct bytes cursor_text(const struct exec *x, const struct scan_args *args, uint64_t cursor,
                                char ret[CLUSTER_CURSOR_MAX]) {
    if (!args->of_cluster) {
        return bytes_make(ret, num_format_u64(ret, cursor));
    }
    if (cursor != 0) {
        return cluster_cursor(x, scan_cursor_slot(cursor), cursor / SLOTS, ret);
    }
    bool more = args->filter.slot < 0 && args->end < SLOTS;
    return more ? cluster_cursor(x, (uint16_t)args->end, 0, ret) : BYTES("0");
}

static void scan_done(struct exec *x, const struct scatter_result *result) {
    const struct scan_args *args = result->args;
    struct walk *walk = result->parts[0];
    struct outbuf keys = args->keys;
    outbuf_splice(&keys, &walk->keys);
    outbuf_fini(&walk->keys);
    uint64_t taken = args->taken + walk->taken;
    uint64_t cursor = walk->cursor;
    if (!walk->lost && scan_run_over(walk)) {
        cursor = scan_after_run(args, walk);
    }
    bool over = !walk->lost && (cursor == 0 || walk->visited >= args->count);
    if (over || x->client == NULL) {
        char text[CLUSTER_CURSOR_MAX];
        scan_reply(x, cursor_text(x, args, cursor, text), &keys, taken);
        return;
    }
    size_t bytes = sizeof(*args) + args->filter.pattern_len;
    struct scan_args *next = must_malloc(bytes);
    memcpy(next, args, bytes);
    next->cursor = cursor;
    next->count = args->count - walk->visited;
    next->keys = keys;
    next->taken = taken;
    scan_ask(x, next);
    free(next);
}

struct scan_options {
    struct bytes pattern;
    int64_t count;
    int type;
};

bool type_parse(const struct exec *x, struct bytes name, int *ret_type) {
    for (int i = 0; i < TYPE_COUNT; i++) {
        if (bytes_equal_nocase(name, bytes_of_text(type_names[i]))) {
            *ret_type = i;
            return true;
        }
    }
    reply_errorf(x->reply, "ERR unknown type name '%.*s'", bytes_precision(name), name.ptr);
    return false;
}

static bool scan_option(const struct exec *x, uint32_t *i, struct scan_options *ret) {
    struct bytes word = x->argv[*i];
    bool more = *i + 1 < x->argc;
    if (bytes_is(word, "count") && more) {
        if (!exec_arg_i64(x, ++*i, &ret->count)) {
            return false;
        }
        if (ret->count >= 1) {
            return true;
        }
    } else if (bytes_is(word, "match") && more) {
        ret->pattern = x->argv[++*i];
        return true;
    } else if (bytes_is(word, "type") && more) {
        return type_parse(x, x->argv[++*i], &ret->type);
    } else if (bytes_is(word, "novalues")) {
        reply_error(x->reply, "ERR NOVALUES option can only be used in HSCAN");
        return false;
    } else if (bytes_is(word, "noscores")) {
        reply_error(x->reply, "ERR NOSCORES option can only be used in ZSCAN");
        return false;
    }
    reply_error(x->reply, ERR_SYNTAX);
    return false;
}

/* Memory to be freed. */
static struct scan_args *scan_begin(const struct exec *x, const struct scan_options *options,
                                    uint64_t cursor) {
    struct scan_args *args = must_malloc(sizeof(*args) + options->pattern.len);
    *args = (struct scan_args){
        .db = x->db,
        .now_ms = exec_alive_ms(x),
        .cursor = cursor,
        .count = (uint64_t)options->count,
        .end = SLOTS,
    };
    outbuf_init(&args->keys);
    filter_set(&args->filter, options->pattern, options->type);
    return args;
}

void command_scan(struct exec *x) {
    uint64_t cursor;
    if (!num_parse_u64(x->argv[1], &cursor)) {
        reply_error(x->reply, "ERR invalid cursor");
        return;
    }
    struct scan_options options = {.pattern = BYTES("*"), .count = 10, .type = -1};
    for (uint32_t i = 2; i < x->argc; i++) {
        if (!scan_option(x, &i, &options)) {
            return;
        }
    }
    struct scan_args *args = scan_begin(x, &options, cursor);
    int only = args->filter.slot;
    if (only >= 0 && scan_cursor_slot(cursor) > only) {
        scan_reply(x, BYTES("0"), &args->keys, 0);
    } else {
        if (only > scan_cursor_slot(cursor)) {
            args->cursor = scan_cursor_at_slot((uint16_t)only);
        }
        scan_ask(x, args);
    }
    free(args);
}

/* ---- CLUSTERSCAN ---- */

static void scan_without_keys(struct exec *x, struct bytes cursor) {
    struct outbuf none;
    outbuf_init(&none);
    scan_reply(x, cursor, &none, 0);
}

/* No keys yet: from there on. */
static void cluster_scan_from(struct exec *x, uint16_t slot) {
    char text[CLUSTER_CURSOR_MAX];
    scan_without_keys(x, cluster_cursor(x, slot, 0, text));
}

/* `only`: the slot that is asked for, or -1. */
static void cluster_scan(struct exec *x, const struct map *map, const struct scan_options *options,
                         uint16_t slot, uint64_t place, int only) {
    struct scan_args *args = scan_begin(x, options, place * SLOTS + slot);
    int named = args->filter.slot;
    args->of_cluster = true;
    if (only < 0 && named > slot) {
        cluster_scan_from(x, (uint16_t)named);
    } else if (named >= 0 && named != slot) {
        scan_reply(x, BYTES("0"), &args->keys, 0);
    } else {
        args->filter.slot = only >= 0 ? only : named;
        args->end = slot + 1u;
        while (args->end < SLOTS && map->owner[args->end] == map->owner[slot]) {
            args->end++;
        }
        scan_ask(x, args);
    }
    free(args);
}

void command_clusterscan(struct exec *x) {
    const struct map *map = worker_map(x->worker);
    struct scan_options options = {.pattern = BYTES("*"), .count = 10, .type = -1};
    bool begins = bytes_equal(x->argv[1], BYTES("0"));
    uint16_t slot = 0;
    uint64_t place = 0;
    int64_t only = -1;
    if (map == NULL) {
        reply_error(x->reply, "ERR This instance has cluster support disabled");
        return;
    }
    if (!begins && !cluster_cursor_read(x, x->argv[1], &slot, &place)) {
        reply_error(x->reply, "ERR Invalid cursor");
        return;
    }
    for (uint32_t i = 2; i < x->argc; i++) {
        if (!bytes_is(x->argv[i], "slot") || i + 1 == x->argc) {
            if (!scan_option(x, &i, &options)) {
                return;
            }
            continue;
        }
        if (only >= 0) {
            reply_error(x->reply, "ERR SLOT option can only be specified once");
            return;
        }
        if (!num_parse_i64(x->argv[++i], &only) || only < 0 || only >= SLOTS) {
            reply_error(x->reply, "ERR Invalid or out of range slot");
            return;
        }
    }
    int named = pattern_slot(options.pattern);
    if (begins && only >= 0 && named >= 0 && named != only) {
        scan_without_keys(x, BYTES("0"));
    } else if (begins) {
        cluster_scan_from(x, (uint16_t)(only >= 0 ? only : named >= 0 ? named : 0));
    } else if (only >= 0 && only != slot) {
        reply_error(x->reply, "ERR Cursor slot mismatch with SLOT argument");
    } else {
        cluster_scan(x, map, &options, slot, place, (int)only);
    }
}

/* ---- RANDOMKEY ---- */

struct random_args {
    uint32_t db;
    int64_t now_ms;
};

/* One shard's candidate, and how many keys it stands for. */
struct random_part {
    struct outbuf key; /* a bulk string */
    uint64_t weight;
    bool dead; /* it may not be deleted, and the shard has no other */
};

static bool random_part(struct worker *worker, const void *args_ptr, void *part_ptr) {
    const struct random_args *args = args_ptr;
    struct random_part *part = part_ptr;
    struct keyspace *ks = worker_shard(worker)->keyspace;
    outbuf_init(&part->key);
    struct entry *entry = keyspace_random(ks, args->db, rng_next(worker_rng(worker)), args->now_ms);
    if (entry != NULL) {
        struct reply reply;
        reply_init(&reply, &part->key, 2);
        reply_bulk(&reply, entry_key(entry));
        part->weight = keyspace_shown(ks, args->db);
        int64_t deadline_ms = entry_expires_at(entry);
        part->dead = deadline_ms != NO_EXPIRY && deadline_ms < args->now_ms;
    }
    return true;
}

static void random_done(struct exec *x, const struct scatter_result *result) {
    if (UNLIKELY(result->moved && x->client != NULL)) {
        for (unsigned i = 0; i < result->parts_count; i++) {
            outbuf_fini(&((struct random_part *)result->parts[i])->key);
        }
        scatter_again(x, result);
        return;
    }
    uint64_t sum = 0;
    bool any_alive = false;
    for (unsigned i = 0; i < result->parts_count; i++) {
        const struct random_part *part = result->parts[i];
        any_alive |= part->weight > 0 && !part->dead;
    }
    for (unsigned i = 0; i < result->parts_count; i++) {
        struct random_part *part = result->parts[i];
        part->weight = part->dead && any_alive ? 0 : part->weight;
        sum += part->weight;
    }
    if (sum == 0) {
        reply_null(x->reply);
    }
    uint64_t at = rng_below(worker_rng(x->worker), sum);
    for (unsigned i = 0; i < result->parts_count; i++) {
        struct random_part *part = result->parts[i];
        if (at < part->weight) {
            outbuf_splice(x->reply->out, &part->key);
            at = UINT64_MAX;
        } else if (at != UINT64_MAX) {
            at -= part->weight;
        }
        outbuf_fini(&part->key);
    }
}

void command_randomkey(struct exec *x) {
    struct random_args args = {.db = x->db, .now_ms = exec_alive_ms(x)};
    scatter_all(x, random_part, sizeof(struct random_part), &args, sizeof(args), random_done);
}
