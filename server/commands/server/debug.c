/* SPDX-License-Identifier: BSD-3-Clause */
/* debug: DEBUG: what tests and the curious ask of a server's insides.
 *
 * Its subcommands are a table here and not rows of the command table: to COMMAND and to ACL it is
 * one command, which enable-debug-command must allow. Those that need a key or all data are carried
 * to the workers that have them.
 */
#include "base/check.h"
#include "base/glob.h"
#include "base/must.h"
#include "base/num.h"
#include "base/text.h"
#include "net/rt.h"
#include "server/call/check.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/call/help.h"
#include "server/call/scatter.h"
#include "server/client/client.h"
#include "server/commands/cluster/cluster.h"
#include "server/commands/server/debug_digest.h"
#include "server/commands/server/debug_effects.h"
#include "server/commands/server/debug_reload.h"
#include "server/commands/server/debug_slots.h"
#include "server/commands/server/debug_view.h"
#include "server/commands/server/server_commands.h"
#include "server/config/config.h"
#include "server/node.h"
#include "server/observe/log.h"
#include "server/persistence/kill_points.h"
#include "server/replication/feed.h"
#include "server/server.h"
#include "server/worker/shared.h"
#include "server/worker/view.h"
#include "shard/shard.h"
#include "shard/types/list.h"
#include "shard/types/string.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define STRINGMATCH_ROUNDS 10000

static void accepted(struct exec *x) {
    reply_ok(x->reply);
}

/* Replicas are sent a command that nothing here has done. */
static void debug_replicate(struct exec *x) {
    feed_publish(x->worker, &x->argv[2], x->argc - 2);
    reply_ok(x->reply);
}

/* The original has it, but it is about what is not here: whoever asks must not think it was done.
 */
static void absent(struct exec *x) {
    reply_errorf(x->reply, "ERR DEBUG %.*s asks for something that Shoal does not have",
                 bytes_precision(x->argv[1]), x->argv[1].ptr);
}

/* ---- About a key ---- */

/* What others than OBJECT want of a key, which they write to the log. */
struct key_wish {
    const char *encoding; /* NULL: nobody has that */
    const char *answer, *refusal;
    bool lengths; /* SDSLEN: the answer is what was found out */
};

struct key_args {
    uint32_t db;
    bool fast;                   /* OBJECT key fast */
    const struct key_wish *wish; /* NULL: OBJECT */
    struct key key;              /* its name lies behind, in the same allocation, owned by home */
};

struct key_part {
    bool found, granted;
    char text[320];
};

/* No string has room to spare. */
static void say_lengths(const struct keyspace *ks, struct bytes name, const struct entry *entry,
                        struct key_part *part) {
    part->granted = entry_type(entry) == TYPE_STRING && string_encoding(entry) != STRING_INT;
    if (part->granted) {
        snprintf(part->text, sizeof(part->text),
                 "key_sds_len:%zu key_sds_avail:0 obj_alloc:%zu val_sds_len:%zu val_sds_avail:0 "
                 "val_alloc:0",
                 name.len, entry_memory(ks, entry), string_length(entry));
    }
}

static bool object_part(struct worker *worker, const void *args, void *result) {
    const struct key_args *a = *(struct key_args *const *)args;
    struct key_part *part = result;
    int64_t now_ms = rt_wall_ms(worker_rt(worker));
    struct keyspace *ks = worker_shard(worker)->keyspace;
    const struct entry *entry = keyspace_find_any(ks, a->db, &a->key);
    if (entry == NULL) {
        return true;
    }
    const char *encoding = entry_encoding_name(entry);
    part->found = true;
    part->granted =
        a->wish != NULL && a->wish->encoding != NULL && strcmp(a->wish->encoding, encoding) == 0;
    if (a->wish != NULL && a->wish->lengths) {
        say_lengths(ks, a->key.name, entry, part);
        return true;
    }
    uint32_t idle_s = entry_idle_seconds(ks, entry, now_ms);
    char length[40] = "";
    if (!a->fast && entry_type(entry) == TYPE_STRING) {
        snprintf(length, sizeof(length), " serializedlength:%zu", string_serialized_bytes(entry));
    }
    snprintf(part->text, sizeof(part->text),
             "Value at:%p refcount:1 encoding:%s%s lru:%u lru_seconds_idle:%u", (const void *)entry,
             encoding, length, (unsigned)((uint64_t)(now_ms / 1000 - idle_s) & 0xffffff), idle_s);
    if (entry_type(entry) == TYPE_LIST) {
        struct value value = entry_value_of(entry);
        size_t written = strlen(part->text);
        list_describe(&value, a->fast, part->text + written, sizeof(part->text) - written);
    }
    return true;
}

static void object_done(struct exec *x, const struct scatter_result *result) {
    struct key_args *a = *(struct key_args *const *)result->args;
    const struct key_part *part = result->parts[0];
    if (!part->found) {
        reply_error(x->reply, ERR_NO_KEY);
    } else if (a->wish == NULL || (part->granted && a->wish->lengths)) {
        reply_status(x->reply, part->text);
    } else if (part->granted) {
        log_worker(x->worker, LOG_WARNING, "DEBUG: %s", part->text);
        reply_status(x->reply, a->wish->answer);
    } else {
        reply_error(x->reply, a->wish->refusal);
    }
    free(a);
}

static void ask_key(struct exec *x, const struct key_wish *wish) {
    struct bytes name = x->argv[2];
    struct key_args *args = must_malloc(sizeof(*args) + name.len + 1);
    memcpy(args + 1, name.ptr, name.len);
    *args = (struct key_args){
        .db = x->db,
        .fast = x->argc > 3 && bytes_is(x->argv[3], "fast"),
        .wish = wish,
        .key = key_make(&worker_server(x->worker)->secret,
                        bytes_make((const char *)(args + 1), name.len)),
    };
    scatter_slot(x, args->key.slot, object_part, sizeof(struct key_part), &args, sizeof(args),
                 object_done);
}

static void debug_object(struct exec *x) {
    ask_key(x, NULL);
}

static void debug_htstats_key(struct exec *x) {
    static const struct key_wish wish = {
        .refusal =
            "ERR The value stored at the specified key is not represented using an hash table"};
    ask_key(x, &wish);
}

static void debug_listpack(struct exec *x) {
    static const struct key_wish wish = {.encoding = "listpack",
                                         .answer = "Listpack structure printed on stdout",
                                         .refusal = "ERR Not a listpack encoded object."};
    ask_key(x, &wish);
}

static void debug_quicklist(struct exec *x) {
    static const struct key_wish wish = {.encoding = "quicklist",
                                         .answer = "Quicklist structure printed on stdout",
                                         .refusal = "ERR Not a quicklist encoded object."};
    ask_key(x, &wish);
}

static void debug_sdslen(struct exec *x) {
    static const struct key_wish wish = {.refusal = "ERR Not an sds encoded string.",
                                         .lengths = true};
    ask_key(x, &wish);
}

/* ---- HTSTATS ---- */

struct table_part {
    uint64_t places, keys, expiring;
};

static bool table_part(struct worker *worker, const void *args, void *result) {
    uint32_t db = *(const uint32_t *)args;
    struct table_part *part = result;
    const struct keyspace *ks = worker_shard(worker)->keyspace;
    part->places = keyspace_table_memory(ks, db) / sizeof(void *);
    part->keys = keyspace_count(ks, db);
    part->expiring = keyspace_count_expiring(ks, db);
    return true;
}

static void table_done(struct exec *x, const struct scatter_result *result) {
    struct table_part sum = {0};
    for (unsigned i = 0; i < result->parts_count; i++) {
        const struct table_part *part = result->parts[i];
        sum.places += part->places;
        sum.keys += part->keys;
        sum.expiring += part->expiring;
    }
    struct text text;
    text_init(&text);
    text_append_text(&text, "[Dictionary HT]\n");
    if (sum.keys > 0) {
        text_appendf(&text,
                     "Hash table 0 stats (main hash table):\n table size: %llu\n"
                     " number of entries: %llu\n rehashing index: -1\n",
                     (unsigned long long)sum.places, (unsigned long long)sum.keys);
    }
    text_append_text(&text, "[Expires HT]\n");
    if (sum.expiring > 0) {
        text_appendf(&text, "Hash table 0 stats (main hash table):\n number of entries: %llu\n",
                     (unsigned long long)sum.expiring);
    }
    reply_verbatim(x->reply, "txt", text_bytes(&text));
    text_fini(&text);
}

static void debug_htstats(struct exec *x) {
    int64_t db;
    if (!num_parse_i64(x->argv[2], &db)) {
        reply_error(x->reply, ERR_NOT_INTEGER);
        return;
    }
    if (db < 0 || db >= config_databases(worker_config(x->worker))) {
        reply_error(x->reply, "ERR Out of range database");
        return;
    }
    uint32_t args = (uint32_t)db;
    scatter_all(x, table_part, sizeof(struct table_part), &args, sizeof(args), table_done);
}

/* ---- POPULATE ---- */

#define POPULATE_A_SLICE 2000

struct populate_args {
    int64_t count, size; /* size 0: as long as it comes */
    uint32_t db;
    size_t prefix_len;
    char prefix[256];
};

/* Each worker makes those keys that are its own. */
static bool populate_part(struct worker *worker, const void *args, void *result) {
    if (UNLIKELY(slots_changing(slots_epoch(&worker_node(worker)->slots)))) {
        return false; /* keys may be on their way */
    }
    const struct populate_args *a = args;
    int64_t *next = result;
    int64_t now_ms = rt_wall_ms(worker_rt(worker));
    size_t room = a->size > 64 ? (size_t)a->size : 64;
    char *value = must_calloc(1, room);
    char name[sizeof(a->prefix) + 32];
    for (int slice = 0; *next < a->count && slice < POPULATE_A_SLICE; (*next)++, slice++) {
        size_t n = a->prefix_len;
        memcpy(name, a->prefix, n);
        n += (size_t)snprintf(name + n, sizeof(name) - n, ":%lld", (long long)*next);
        struct key key = key_make(&worker_server(worker)->secret, bytes_make(name, n));
        if (node_owner(worker_node(worker), key.slot) != worker_id(worker) ||
            keyspace_find(worker_shard(worker)->keyspace, a->db, &key, now_ms,
                          LOOKUP_NOTOUCH | LOOKUP_NOSTATS) != NULL) {
            continue;
        }
        char text[32];
        size_t len = (size_t)snprintf(text, sizeof(text), "value:%lld", (long long)*next);
        size_t size = a->size > 0 ? (size_t)a->size : len;
        memset(value, 0, size < sizeof(text) ? size : sizeof(text));
        memcpy(value, text, len < size ? len : size);
        struct string_target target = {
            .ks = worker_shard(worker)->keyspace,
            .key = &key,
            .db = a->db,
            .event = EVENT_SET,
            .expires_at = NO_EXPIRY,
            .now_ms = now_ms,
        };
        string_set(&target, bytes_make(value, size));
    }
    free(value);
    return *next >= a->count;
}

static void populate_done(struct exec *x, const struct scatter_result *result) {
    if (UNLIKELY(result->moved && x->client != NULL)) {
        scatter_again(x, result);
        return;
    }
    reply_ok(x->reply);
}

static bool positive(struct exec *x, uint32_t i, int64_t *ret) {
    if (!num_parse_i64(x->argv[i], ret) || *ret < 0) {
        reply_error(x->reply, "ERR value is out of range, must be positive");
        return false;
    }
    return true;
}

static void debug_populate(struct exec *x) {
    struct populate_args args = {.db = x->db, .prefix = "key", .prefix_len = 3};
    if (!positive(x, 2, &args.count) || (x->argc > 4 && !positive(x, 4, &args.size))) {
        return;
    }
    if (x->argc > 3) {
        if (x->argv[3].len > sizeof(args.prefix)) {
            reply_errorf(x->reply, "ERR prefix is longer than %zu bytes", sizeof(args.prefix));
            return;
        }
        args.prefix_len = x->argv[3].len;
        memcpy(args.prefix, x->argv[3].ptr, x->argv[3].len);
    }
    if (args.size > worker_config(x->worker)->proto_max_bulk_len) {
        reply_error(x->reply, ERR_STRING_TOO_LONG);
        return;
    }
    scatter_all(x, populate_part, sizeof(int64_t), &args, sizeof(args), populate_done);
}

/* ---- Time ---- */

/* In the turn after it has come: by then the parts of the others have left, and all sleep at once.
 */
static bool sleep_part(struct worker *worker, const void *args, void *result) {
    bool *came = result;
    if (!*came) {
        *came = true;
        return false;
    }
    rt_block(worker_rt(worker), *(const uint64_t *)args);
    return true;
}

/* All threads sleep: to a client the server hangs. */
static void debug_sleep(struct exec *x) {
    double seconds = 0;
    num_parse_double(x->argv[2], &seconds);
    uint64_t ns = seconds > 0 && seconds < 1e9 ? (uint64_t)(seconds * 1e9) : 0;
    scatter_all(x, sleep_part, sizeof(bool), &ns, sizeof(ns), scatter_ok);
}

static bool active_expire_part(struct worker *worker, const void *args, void *result) {
    worker_set_active_expire(worker, *(const bool *)args);
    return true;
}

static void debug_set_active_expire(struct exec *x) {
    int64_t on = 0;
    num_parse_i64(x->argv[2], &on);
    bool args = on != 0;
    scatter_all(x, active_expire_part, 0, &args, sizeof(args), scatter_ok);
}

static bool scripts_debug_part(struct worker *worker, const void *args, void *result) {
    worker_set_scripts_debug(worker, *(const bool *)args);
    return true;
}

static void debug_set_disable_deny_scripts(struct exec *x) {
    int64_t on = 0;
    num_parse_i64(x->argv[2], &on);
    bool args = on != 0;
    scatter_all(x, scripts_debug_part, 0, &args, sizeof(args), scatter_ok);
}

/* A little less than 4 GB. */
#define THRESHOLD_MAX ((UINT64_C(1) << 32) - (1 << 20))

static bool packed_threshold_part(struct worker *worker, const void *args, void *result) {
    worker_shard(worker)->list_packed_threshold = *(const uint64_t *)args;
    return true;
}

static void debug_quicklist_threshold(struct exec *x) {
    uint64_t bytes;
    if (!num_parse_memory(x->argv[2], &bytes) || bytes > THRESHOLD_MAX) {
        reply_error(x->reply,
                    "ERR argument must be a memory value bigger than 1 and smaller than 4gb");
        return;
    }
    scatter_all(x, packed_threshold_part, 0, &bytes, sizeof(bytes), scatter_ok);
}

static bool skip_checksum_part(struct worker *worker, const void *args, void *result) {
    worker_shard(worker)->dump_checksum_skipped = *(const bool *)args;
    return true;
}

/* For tests with dumps that are broken on purpose. */
static void debug_skip_checksum(struct exec *x) {
    int64_t on = 0;
    num_parse_i64(x->argv[2], &on);
    bool args = on != 0;
    scatter_all(x, skip_checksum_part, 0, &args, sizeof(args), scatter_ok);
}

/* ---- A shard that says no ---- */

struct refuse_args {
    int worker; /* -1: each */
    char error[200];
};

static bool refuse_part(struct worker *worker, const void *args, void *result) {
    const struct refuse_args *a = args;
    if (a->worker < 0 || (unsigned)a->worker == worker_id(worker)) {
        check_owner_refuses(worker, a->error[0] != 0 ? a->error : NULL, false);
    }
    return true;
}

static void debug_refuse(struct exec *x) {
    struct refuse_args args = {.worker = -1};
    if (x->argc == 3 && !bytes_is(x->argv[2], "off")) {
        reply_subcommand_error(x);
        return;
    }
    if (x->argc == 4) {
        struct bytes error = x->argv[3];
        if (error.len == 0 || error.len >= sizeof(args.error)) {
            reply_error(x->reply, ERR_SYNTAX);
            return;
        }
        for (size_t i = 0; i < error.len; i++) {
            char c = error.ptr[i];
            args.error[i] = c == '\r' || c == '\n' || c == 0 ? ' ' : c;
        }
        if (!bytes_is(x->argv[2], "all")) {
            args.worker = (int)node_owner(worker_node(x->worker), key_slot(x->argv[2]));
        }
    }
    scatter_all(x, refuse_part, 0, &args, sizeof(args), scatter_ok);
}

/* ---- Replies ---- */

static void reply_three(struct reply *r) {
    for (int i = 0; i < 3; i++) {
        reply_int(r, i);
    }
}

static void protocol_attribute(struct reply *r) {
    if (r->resp > 2) {
        reply_attribute(r, 1);
        reply_bulk_text(r, "key-popularity");
        reply_array(r, 2);
        reply_bulk_text(r, "key:123");
        reply_int(r, 90);
    }
    reply_bulk_text(r, "Some real reply following the attribute");
}

static void protocol_push(struct reply *r) {
    if (r->resp < 3) {
        reply_error(r, "ERR RESP2 is not supported by this command");
        return;
    }
    reply_bulk_text(r, "Some real reply following the push reply");
    reply_push(r, 2);
    reply_bulk_text(r, "server-cpu-usage");
    reply_int(r, 42);
}

static void debug_protocol(struct exec *x) {
    struct reply *r = x->reply;
    struct bytes type = x->argv[2];
    if (bytes_is(type, "string")) {
        reply_bulk_text(r, "Hello World");
    } else if (bytes_is(type, "integer")) {
        reply_int(r, 12345);
    } else if (bytes_is(type, "double")) {
        reply_double(r, 3.141);
    } else if (bytes_is(type, "bignum")) {
        reply_big_number(r, BYTES("1234567999999999999999999999999999999"));
    } else if (bytes_is(type, "null")) {
        reply_null(r);
    } else if (bytes_is(type, "array")) {
        reply_array(r, 3);
        reply_three(r);
    } else if (bytes_is(type, "set")) {
        reply_set(r, 3);
        reply_three(r);
    } else if (bytes_is(type, "map")) {
        reply_map(r, 3);
        for (int i = 0; i < 3; i++) {
            reply_int(r, i);
            reply_bool(r, i == 1);
        }
    } else if (bytes_is(type, "attrib")) {
        protocol_attribute(r);
    } else if (bytes_is(type, "push")) {
        protocol_push(r);
    } else if (bytes_is(type, "verbatim")) {
        reply_verbatim(r, "txt", BYTES("This is a verbatim\nstring"));
    } else if (bytes_is(type, "true") || bytes_is(type, "false")) {
        reply_bool(r, bytes_is(type, "true"));
    } else {
        reply_error(r, "ERR Wrong protocol type name. Please use one of the following: "
                       "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|"
                       "false");
    }
}

/* Not through reply_error: it is no error of the server's and is not counted as one. */
static void debug_error(struct exec *x) {
    struct text text;
    text_init(&text);
    text_append_char(&text, '-');
    for (size_t i = 0; i < x->argv[2].len; i++) {
        char c = x->argv[2].ptr[i];
        text_append_char(&text, c == '\r' || c == '\n' ? ' ' : c);
    }
    text_append_text(&text, "\r\n");
    reply_raw(x->reply, text_bytes(&text));
    text_fini(&text);
}

static void debug_log(struct exec *x) {
    log_worker(x->worker, LOG_WARNING, "DEBUG LOG: %.*s", bytes_precision(x->argv[2]),
               x->argv[2].ptr);
    reply_ok(x->reply);
}

/* ---- Settings of machinery that is not here, as far as the original looks at them ---- */

static void debug_replybuffer(struct exec *x) {
    struct bytes value = x->argv[3];
    int64_t unused;
    if (bytes_is(x->argv[2], "resizing")) {
        reply_ok(x->reply);
    } else if (!bytes_is(x->argv[2], "peak-reset-time")) {
        reply_subcommand_error(x);
    } else if (bytes_is(value, "never") || bytes_is(value, "reset") ||
               exec_arg_i64(x, 3, &unused)) {
        reply_ok(x->reply);
    }
}

/* Of a cluster's bus. */
static void debug_bus(struct exec *x) {
    int64_t unused;
    if (worker_map(x->worker) != NULL) {
        command_cluster_asked(x);
    } else if (!bytes_is(x->argv[1], "drop-cluster-packet-filter") || exec_arg_i64(x, 2, &unused)) {
        reply_ok(x->reply);
    }
}

static void debug_slotmigration(struct exec *x) {
    bool is_known =
        bytes_is(x->argv[2], "prevent-pause") || bytes_is(x->argv[2], "prevent-failover");
    if (is_known && worker_map(x->worker) != NULL) {
        command_cluster_asked(x);
    } else if (is_known) {
        reply_ok(x->reply);
    } else {
        reply_subcommand_error(x);
    }
}

static void debug_clusterlink(struct exec *x) {
    if (bytes_is(x->argv[2], "kill") && worker_map(x->worker) != NULL) {
        command_cluster_asked(x);
    } else if (bytes_is(x->argv[2], "kill")) {
        reply_error(x->reply, "ERR Debug option only available for cluster mode enabled setup!");
    } else {
        reply_subcommand_error(x);
    }
}

struct protect_part {
    bool found;
};

static bool protect_part(struct worker *worker, const void *args, void *result) {
    ((struct protect_part *)result)->found = client_of_id(worker, *(const uint64_t *)args) != NULL;
    return true;
}

static void protect_done(struct exec *x, const struct scatter_result *result) {
    bool found = false;
    for (unsigned i = 0; i < result->parts_count; i++) {
        found |= ((const struct protect_part *)result->parts[i])->found;
    }
    if (found) {
        reply_ok(x->reply);
    } else {
        reply_error(x->reply, "ERR No such client");
    }
}

/* A client that is closed lives until nothing refers to it: there is nothing to be said of one. */
static void debug_protect_client(struct exec *x) {
    int64_t id;
    if (!num_parse_i64(x->argv[2], &id)) {
        reply_error(x->reply, "ERR Invalid client id");
        return;
    }
    uint64_t number = (uint64_t)id;
    scatter_all(x, protect_part, sizeof(struct protect_part), &number, sizeof number, protect_done);
}

static void debug_rewrite(struct exec *x) {
    config_rewrite_file(x, true);
}

static void debug_stringmatch(struct exec *x) {
    unsigned char bytes[96];
    for (unsigned i = 0; i < STRINGMATCH_ROUNDS; i++) {
        rt_random(worker_rt(x->worker), bytes, sizeof bytes);
        size_t pattern_len = bytes[0] % 32, text_len = bytes[1] % 62;
        for (size_t k = 2; k < 34; k++) { /* mostly what has a meaning in a pattern */
            bytes[k] = bytes[k] < 128 ? (unsigned char)"*?[]^-\\a"[bytes[k] % 8] : bytes[k];
        }
        (void)glob_match(bytes_make((char *)bytes + 2, pattern_len),
                         bytes_make((char *)bytes + 34, text_len), bytes[0] & 32);
    }
    reply_status(x->reply, "Apparently the server did not crash: test passed");
}

static void debug_client_eviction(struct exec *x) {
    if (worker_config(x->worker)->maxmemory_clients == 0) {
        reply_error(x->reply, "ERR maxmemory-clients is disabled.");
    } else {
        absent(x); /* there are no pools: who takes most is looked for */
    }
}

/* ---- Ends ---- */

static void debug_assert(struct exec *x) {
    check(x->argc == 0);
}

static void debug_oom(struct exec *x) {
    free(must_malloc(SIZE_MAX / 2));
}

static void debug_panic(struct exec *x) {
    die("DEBUG PANIC", __FILE__, __LINE__);
}

static void debug_segfault(struct exec *x) {
    volatile uintptr_t nowhere = sizeof(uintptr_t);
    *(volatile uintptr_t *)nowhere = 0;
}

/* ---- Kill points ---- */

static void list_kill_points(struct reply *r) {
    struct text name;
    text_init(&name);
    uint32_t count = 0;
    for (unsigned point = 1; kill_points_name(point, &name); point++, text_clear(&name)) {
        count += name.len > 0;
    }
    reply_array(r, count);
    text_clear(&name);
    for (unsigned point = 1; kill_points_name(point, &name); point++, text_clear(&name)) {
        if (name.len > 0) {
            reply_bulk(r, text_bytes(&name));
        }
    }
    text_fini(&name);
}

static void debug_kill_point(struct exec *x) {
    struct kill_points *points = worker_server(x->worker)->kill_points;
    struct bytes count = x->argc > 3 ? x->argv[3] : bytes_make("", 0);
    if (x->argc == 3 && bytes_equal_nocase(x->argv[2], BYTES("list"))) {
        list_kill_points(x->reply);
    } else if (x->argc == 3 && bytes_equal_nocase(x->argv[2], BYTES("off"))) {
        kill_points_disarm(points);
        reply_ok(x->reply);
    } else if (kill_points_arm(points, x->argv[2], count)) {
        reply_ok(x->reply);
    } else {
        reply_error(x->reply, "ERR no such kill point (DEBUG KILL-POINT LIST), or no such count");
    }
}

/* ---- The table ---- */

static const char *const help_lines[] = {
    "ASSERT",
    "    End the server by a check that fails.",
    "CONFIG-REWRITE-FORCE-ALL",
    "    CONFIG REWRITE, with a line for what has its default, too.",
    "DIGEST",
    "    Give one number for all data.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Give one number for each key's value.",
    "EFFECTS <ON|OFF|READ>",
    "    Gather what writes do, as a log or a replica would get it; show it, and forget it.",
    "ERROR <text>",
    "    Reply with an error.",
    "EVENTS <ON|OFF|READ>",
    "    The same for what keyspace notifications tell: database, class, event, key.",
    "HTSTATS <db>",
    "    Show the sizes of a database's tables.",
    "HTSTATS-KEY <key>",
    "    Show the sizes of a value's table.",
    "KILL-POINT <name> [<count>]|LIST|OFF",
    "    End the server as by kill -9 where it passes that point, for the count-th time.",
    "LISTPACK <key>",
    "    Write to the log how a value that is a listpack is stored.",
    "LOADAOF",
    "    Drop what is in memory, and load what the log and its snapshot have on the disk.",
    "LOG <text>",
    "    Write a line to the log.",
    "MOVE-SLOT <slot> <shard>",
    "    Hand a hash slot and its keys to another shard of this server.",
    "OBJECT <key> [fast]",
    "    Show how a value is stored.",
    "OOM",
    "    End the server as if memory had run out.",
    "PANIC",
    "    End the server at once.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Make string keys <prefix>:0, <prefix>:1 and so on.",
    "PROTECT-CLIENT <id>",
    "    Say whether there is such a client. None is freed while it is in use, so all are "
    "protected.",
    "PROTOCOL <type>",
    "    Reply with a value of a type: string, integer, double, bignum, null, array, set, map,",
    "    attrib, push, verbatim, true, false.",
    "QUICKLIST <key> [<how much>]",
    "    The same for a quicklist.",
    "QUICKLIST-PACKED-THRESHOLD <bytes>",
    "    Let elements of lists from so many bytes on lie by themselves; 0: as the limits say.",
    "REFUSE <key>|ALL <error>",
    "    Let the shard of a key, or each, refuse all commands on its keys.",
    "REFUSE OFF",
    "    No shard refuses any more.",
    "RELOAD [NOSAVE] [NOFLUSH] [MERGE]",
    "    Save what is in memory, drop it, and load it again. NOSAVE: load the RDB file that is "
    "there.",
    "    NOFLUSH: drop nothing. MERGE: keys of the file replace those in memory.",
    "SDSLEN <key>",
    "    Show what the name of a key and its value, a string, have in bytes, and take.",
    "SEGFAULT",
    "    End the server by touching memory that is not there.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Let keys run out on time, or only when somebody looks.",
    "SET-DISABLE-DENY-SCRIPTS <0|1>",
    "    Let scripts call DEBUG ERROR, HELP, LOG, PROTOCOL and SLEEP.",
    "SLEEP <seconds>",
    "    Stop all threads for some time.",
    "STRINGMATCH-TEST",
    "    Match patterns with texts, both by chance.",
    "VIEW <command> [; <command> ...]",
    "    Run commands at one moment, on one thread, the others parked. The keys of each lie on one",
    "    shard, whichever that is.",
    "CLUSTERLINK KILL <TO|FROM|ALL> <node>",
    "    Close the links of the bus to a node, from it, or both.",
    "DROP-CLUSTER-PACKET-FILTER <type>",
    "CLOSE-CLUSTER-LINK-ON-PACKET-DROP <0|1>",
    "    Let packets of this type (-1: none, -2: all) not arrive; and close their links then.",
    "DISABLE-CLUSTER-RANDOM-PING <0|1>",
    "DISABLE-CLUSTER-RECONNECTION <0|1>",
    "    Send no ping to somebody each second; make no link again.",
    "AOF-FLUSH-SLEEP, CLIENT-ENFORCE-REPLY-LIST, DELAY-RDB-CLIENT-FREE-SECONDS, DICT-RESIZING,",
    "FORCE-FREE-PRIMARY-ASYNC, FORCE-TLS-WRITE-ERROR, HASHTABLE-CAN-ABORT-SHRINK,",
    "PAUSE-AFTER-FORK, PAUSE-CRON, SET-SKIP-CHECKSUM-VALIDATION <value>,",
    "REPLYBUFFER <PEAK-RESET-TIME|RESIZING> <value>, CHANGE-REPL-ID, REPLICATE <command>,",
    "SLOTMIGRATION <PREVENT-PAUSE|PREVENT-FAILOVER> <value>",
    "    Taken, without effect.",
    "CLIENT-EVICTION, CRASH-AND-RECOVER, LEAK, MALLCTL, MALLCTL-STR, RESTART, STRUCTSIZE",
    "    Refused: they are about what is not there.",
    NULL,
};

static void debug_help(struct exec *x) {
    reply_help(x, help_lines);
}

static const struct {
    const char *name;
    uint32_t argc_min, argc_max; /* DEBUG and the name counted */
    command_fn *run;
} subcommands[] = {
    {"help", 2, 2, debug_help},
    {"assert", 2, UINT32_MAX, debug_assert},
    {"digest", 2, 2, debug_digest},
    {"digest-value", 2, UINT32_MAX, debug_digest_value},
    {"effects", 3, 3, debug_effects},
    {"error", 3, 3, debug_error},
    {"events", 3, 3, debug_events},
    {"htstats", 3, 4, debug_htstats},
    {"htstats-key", 3, 4, debug_htstats_key},
    {"kill-point", 3, 4, debug_kill_point},
    {"listpack", 3, 3, debug_listpack},
    {"log", 3, 3, debug_log},
    {"object", 3, 4, debug_object},
    {"move-slot", 4, 4, debug_move_slot},
    {"oom", 2, UINT32_MAX, debug_oom},
    {"panic", 2, UINT32_MAX, debug_panic},
    {"populate", 3, 5, debug_populate},
    {"protocol", 3, 3, debug_protocol},
    {"quicklist", 3, 4, debug_quicklist},
    {"refuse", 3, 4, debug_refuse},
    {"loadaof", 2, UINT32_MAX, debug_loadaof},
    {"reload", 2, UINT32_MAX, debug_reload},
    {"segfault", 2, UINT32_MAX, debug_segfault},
    {"set-active-expire", 3, 3, debug_set_active_expire},
    {"set-disable-deny-scripts", 3, 3, debug_set_disable_deny_scripts},
    {"sleep", 3, 3, debug_sleep},
    {"view", 3, UINT32_MAX, debug_view},
    {"close-cluster-link-on-packet-drop", 3, 3, debug_bus},
    {"clusterlink", 5, 5, debug_clusterlink},
    {"disable-cluster-random-ping", 3, 3, debug_bus},
    {"disable-cluster-reconnection", 3, 3, debug_bus},
    {"drop-cluster-packet-filter", 3, 3, debug_bus},
    /* Settings of machinery that is not here: scripts of tests set them first thing. */
    {"aof-flush-sleep", 3, 3, accepted},
    {"change-repl-id", 2, 2, accepted},
    {"client-enforce-reply-list", 3, 3, accepted},
    {"delay-rdb-client-free-seconds", 3, 3, accepted},
    {"dict-resizing", 3, 3, accepted},
    {"force-free-primary-async", 3, 3, accepted},
    {"force-tls-write-error", 3, 3, accepted},
    {"hashtable-can-abort-shrink", 3, 3, accepted},
    {"pause-after-fork", 3, 3, accepted},
    {"pause-cron", 3, 3, accepted},
    {"quicklist-packed-threshold", 3, 3, debug_quicklist_threshold},
    {"replicate", 3, UINT32_MAX, debug_replicate},
    {"replybuffer", 4, 4, debug_replybuffer},
    {"set-skip-checksum-validation", 3, 3, debug_skip_checksum},
    {"slotmigration", 4, 4, debug_slotmigration},
    {"client-eviction", 2, 2, debug_client_eviction},
    {"config-rewrite-force-all", 2, 2, debug_rewrite},
    {"crash-and-recover", 2, UINT32_MAX, absent},
    {"leak", 3, 3, absent},
    {"mallctl", 3, 4, absent},
    {"mallctl-str", 3, 4, absent},
    {"protect-client", 3, 3, debug_protect_client},
    {"restart", 2, UINT32_MAX, absent},
    {"sdslen", 3, 3, debug_sdslen},
    {"stringmatch-test", 2, 2, debug_stringmatch},
    {"structsize", 2, 2, absent},
};

static bool is_among(struct bytes word, const char *const *names) {
    while (*names != NULL && !bytes_equal_nocase(word, bytes_of_text(*names))) {
        names++;
    }
    return *names != NULL;
}

/* Keys are nobody's to look at while they are loaded, and nobody may park others meanwhile
 * (persistence/alone.h). */
static bool is_kept(const struct exec *x) {
    static const char *const harmless[] = {"help", "log", "panic", "segfault", "sleep", NULL};
    return shared_loading(worker_server(x->worker)->shared) && !is_among(x->argv[1], harmless);
}

/* One that a script calls runs with all shards in view, or with its own: it does nothing that needs
 * others. */
static bool is_nothing_for_scripts(const struct exec *x) {
    static const char *const fit[] = {"error", "help", "log", "protocol", "sleep", NULL};
    return exec_is_of_script(x) && !is_among(x->argv[1], fit);
}

void command_debug(struct exec *x) {
    if (is_kept(x)) {
        reply_error(x->reply, "LOADING Valkey is loading the dataset in memory");
        return;
    }
    if (is_nothing_for_scripts(x)) {
        reply_error(x->reply, "ERR This DEBUG subcommand is not allowed from script");
        return;
    }
    for (size_t i = 0; i < sizeof(subcommands) / sizeof(subcommands[0]); i++) {
        if (bytes_equal_nocase(x->argv[1], bytes_of_text(subcommands[i].name)) &&
            x->argc >= subcommands[i].argc_min && x->argc <= subcommands[i].argc_max) {
            subcommands[i].run(x);
            return;
        }
    }
    reply_subcommand_error(x);
}
