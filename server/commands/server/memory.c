/* SPDX-License-Identifier: BSD-3-Clause */
/* memory: what memory is used for: MEMORY USAGE, STATS, DOCTOR, MALLOC-STATS, PURGE.
 */
#include "base/num.h"
#include "base/text.h"
#include "net/rt.h"
#include "server/call/command_table.h"
#include "server/call/errors.h"
#include "server/call/help.h"
#include "server/commands/server/server_commands.h"
#include "server/config/config.h"
#include "server/script/libraries.h"
#include "server/script/scripts.h"
#include "server/server.h"
#include "server/worker/pools.h"
#include "server/worker/shared.h"
#include "server/worker/totals.h"
#include "server/worker/view.h"
#include "shard/memory/sysmem.h"
#include "shard/shard.h"

#include <stdio.h>

/* ---- MEMORY USAGE ---- */

void command_memory_usage(struct exec *x) {
    for (uint32_t i = 3; i < x->argc; i += 2) {
        int64_t samples;
        if (!bytes_is(x->argv[i], "samples") || i + 1 >= x->argc) {
            reply_error(x->reply, ERR_SYNTAX);
            return;
        }
        if (!num_parse_i64(x->argv[i + 1], &samples)) {
            reply_error(x->reply, ERR_NOT_INTEGER);
            return;
        }
        if (samples < 0) {
            reply_error(x->reply, ERR_SYNTAX);
            return;
        }
    }
    const struct entry *entry = keyspace_find_any(x->keyspace, x->db, &x->key);
    if (entry == NULL) {
        reply_null(x->reply);
    } else {
        reply_int(x->reply, (int64_t)entry_memory(x->keyspace, entry));
    }
}

/* ---- MEMORY STATS, DOCTOR ---- */

/* More are a program's mistake. */
#define MANY_SCRIPTS 1000

struct memory_report {
    struct totals sum;
    struct rt_usage usage;
    uint64_t used, peak, startup, overhead, dataset;
    uint64_t reserved; /* of the system, for what is in use */
    uint64_t scripts;  /* that are kept */
};

static uint64_t minus(uint64_t a, uint64_t b) {
    return a > b ? a - b : 0;
}

static double ratio(uint64_t a, uint64_t b) {
    return b ? (double)a / (double)b : 0;
}

static void report_make(const struct scatter_result *result, struct memory_report *ret) {
    memset(ret, 0, sizeof(*ret));
    for (unsigned i = 0; i < result->parts_count; i++) {
        totals_add(&ret->sum, &((const struct totals_part *)result->parts[i])->totals);
    }
    rt_usage(&ret->usage);
    ret->used = totals_memory(&ret->sum);
    ret->peak = ret->sum.peak_bytes > ret->used ? ret->sum.peak_bytes : ret->used;
    ret->startup = ret->sum.fixed_bytes;
    ret->overhead = totals_overhead(&ret->sum);
    ret->reserved = ret->used - ret->sum.heap_used + ret->sum.heap_reserved;
}

static void parts_fini(struct exec *x, const struct scatter_result *result) {
    for (unsigned i = 0; i < result->parts_count; i++) {
        totals_part_fini(result->parts[i], command_table_count(worker_server(x->worker)->commands));
    }
}

static void pair_int(struct reply *r, const char *name, uint64_t value) {
    reply_bulk_text(r, name);
    reply_int(r, (int64_t)value);
}

static void pair_double(struct reply *r, const char *name, double value) {
    reply_bulk_text(r, name);
    reply_double(r, value);
}

static struct database_total database_sum(const struct scatter_result *result, uint32_t db) {
    struct database_total sum = {0};
    for (unsigned i = 0; i < result->parts_count; i++) {
        const struct database_total *part =
            &((const struct totals_part *)result->parts[i])->databases[db];
        sum.keys += part->keys;
        sum.expires += part->expires;
        sum.table_bytes += part->table_bytes;
        sum.wheel_bytes += part->wheel_bytes;
    }
    return sum;
}

static void reply_databases(struct exec *x, const struct scatter_result *result, uint32_t count) {
    for (uint32_t db = 0; db < count; db++) {
        struct database_total sum = database_sum(result, db);
        if (sum.keys > 0) {
            char name[24];
            snprintf(name, sizeof(name), "db.%u", db);
            reply_bulk_text(x->reply, name);
            reply_map(x->reply, 2);
            pair_int(x->reply, "overhead.hashtable.main", sum.table_bytes);
            pair_int(x->reply, "overhead.hashtable.expires", sum.wheel_bytes);
        }
    }
}

static void reply_allocator(struct reply *r, const struct memory_report *m) {
    uint64_t rss = m->usage.rss_bytes;
    pair_int(r, "allocator.allocated", m->used);
    pair_int(r, "allocator.active", m->reserved);
    pair_int(r, "allocator.resident", rss);
    pair_int(r, "allocator.muzzy", 0);
    pair_double(r, "allocator-fragmentation.ratio", ratio(m->reserved, m->used));
    pair_int(r, "allocator-fragmentation.bytes", minus(m->reserved, m->used));
    pair_double(r, "allocator-rss.ratio", ratio(rss, m->reserved));
    pair_int(r, "allocator-rss.bytes", minus(rss, m->reserved));
    pair_double(r, "rss-overhead.ratio", 1);
    pair_int(r, "rss-overhead.bytes", 0);
    pair_double(r, "fragmentation", ratio(rss, m->used));
    pair_int(r, "fragmentation.bytes", minus(rss, m->used));
}

static void stats_done(struct exec *x, const struct scatter_result *result) {
    struct memory_report m;
    struct reply *r = x->reply;
    report_make(result, &m);
    uint32_t databases = (uint32_t)config_databases(worker_config(x->worker)), used = 0;
    uint64_t tables = 0;
    for (uint32_t db = 0; db < databases; db++) {
        struct database_total sum = database_sum(result, db);
        used += sum.keys > 0;
        tables += sum.table_bytes + sum.wheel_bytes;
    }
    m.overhead += tables;
    m.dataset = minus(m.used, m.overhead);
    uint64_t net = minus(m.used, m.startup);
    reply_map(r, 34 + (size_t)used);
    pair_int(r, "peak.allocated", m.peak);
    pair_int(r, "total.allocated", m.used);
    pair_int(r, "startup.allocated", m.startup);
    const struct totals_part *first = result->parts[0];
    struct totals_stream stream = totals_stream(&m.sum, first->replication);
    pair_int(r, "replication.backlog", stream.backlog);
    pair_int(r, "replicas.repl.buffer", stream.beyond);
    pair_int(r, "clients.slaves", stream.beyond);
    pair_int(r, "clients.normal", m.sum.clients_bytes);
    pair_int(r, "cluster.links", shared_links_bytes(worker_server(x->worker)->shared));
    pair_int(r, "cluster.slot_import", m.sum.imports_bytes);
    pair_int(r, "cluster.slot_export", m.sum.exports_bytes);
    pair_int(r, "aof.buffer", m.sum.log.buffers);
    pair_int(r, "lua.caches", scripts_stats(worker_server(x->worker)->scripts).bytes);
    pair_int(r, "functions.caches", libraries_stats(worker_server(x->worker)->libraries).bytes);
    reply_databases(x, result, databases);
    pair_int(r, "overhead.db.hashtable.lut", tables);
    pair_int(r, "overhead.db.hashtable.rehashing", 0);
    pair_int(r, "overhead.total", m.overhead);
    pair_int(r, "db.dict.rehashing.count", 0);
    pair_int(r, "keys.count", m.sum.keys);
    pair_int(r, "keys.bytes-per-key", m.sum.keys ? net / m.sum.keys : 0);
    pair_int(r, "dataset.bytes", m.dataset);
    pair_double(r, "dataset.percentage", 100 * ratio(m.dataset, net));
    pair_double(r, "peak.percentage", 100 * ratio(m.used, m.peak));
    reply_allocator(r, &m);
    parts_fini(x, result);
}

void command_memory_stats(struct exec *x) {
    struct totals_request request = {.databases = true};
    scatter_all(x, totals_take, sizeof(struct totals_part), &request, sizeof(request), stats_done);
}

static void doctor_done(struct exec *x, const struct scatter_result *result) {
    struct memory_report m;
    report_make(result, &m);
    m.scripts = scripts_stats(worker_server(x->worker)->scripts).count;
    const uint64_t mb = 1024 * 1024;
    struct text text;
    text_init(&text);
    if (m.used < 5 * mb) {
        text_append_text(&text, "There is too little data here to say anything about memory.\n");
    } else {
        if (m.peak > m.used + m.used / 2) {
            text_appendf(&text,
                         " * Peak: memory use was %.1f MB once, it is %.1f MB now. The system may "
                         "see the difference as used; MEMORY PURGE gives it back.\n",
                         (double)m.peak / (double)mb, (double)m.used / (double)mb);
        }
        if (m.usage.rss_bytes > m.used + m.used / 2 && m.usage.rss_bytes > m.used + 10 * mb) {
            text_appendf(&text,
                         " * Fragmentation: the process holds %.1f MB for %.1f MB of data. MEMORY "
                         "PURGE gives back what is free of it; what is left is moved together in "
                         "time, and sooner with activedefrag yes.\n",
                         (double)m.usage.rss_bytes / (double)mb, (double)m.used / (double)mb);
        }
        if (m.reserved > m.used + m.used / 10 && m.reserved > m.used + 10 * mb) {
            text_appendf(&text,
                         " * Allocator: %.1f MB are set aside for %.1f MB of data, as values of "
                         "many sizes came and went. The room is used again by others of like "
                         "size.\n",
                         (double)m.reserved / (double)mb, (double)m.used / (double)mb);
        }
        if (m.scripts > MANY_SCRIPTS) {
            text_appendf(&text,
                         " * Scripts: %llu are kept. Who makes a new one for each call should pass "
                         "what differs in KEYS and ARGV; SCRIPT FLUSH forgets them.\n",
                         (unsigned long long)m.scripts);
        }
        if (m.sum.logs_bytes > 10 * mb) {
            text_appendf(&text,
                         " * Logs: entries of SLOWLOG and COMMANDLOG take %.1f MB. Lower "
                         "slowlog-max-len or commandlog-*-max-len.\n",
                         (double)m.sum.logs_bytes / (double)mb);
        }
        if (m.sum.connections > 0 && m.sum.clients_bytes / m.sum.connections > 200 * 1024) {
            text_append_text(&text, " * Clients: a connection takes more than 200 KB on average. "
                                    "Big pipelines, or readers that are too slow?\n");
        }
        if (text.len == 0) {
            text_append_text(&text, "Nothing about memory looks wrong.\n");
        }
    }
    reply_verbatim(x->reply, "txt", text_bytes(&text));
    text_fini(&text);
    parts_fini(x, result);
}

void command_memory_doctor(struct exec *x) {
    struct totals_request request = {0};
    scatter_all(x, totals_take, sizeof(struct totals_part), &request, sizeof(request), doctor_done);
}

/* ---- MEMORY MALLOC-STATS, PURGE ---- */

static void malloc_stats_done(struct exec *x, const struct scatter_result *result) {
    struct text text;
    text_init(&text);
    for (unsigned i = 0; i < result->parts_count; i++) {
        const struct totals *t = &((const struct totals_part *)result->parts[i])->totals;
        text_appendf(&text, "shard %u: %llu bytes in use, %llu bytes reserved for them\n", i,
                     (unsigned long long)t->heap_used, (unsigned long long)t->heap_reserved);
    }
    reply_verbatim(x->reply, "txt", text_bytes(&text));
    text_fini(&text);
    parts_fini(x, result);
}

void command_memory_malloc_stats(struct exec *x) {
    struct totals_request request = {0};
    scatter_all(x, totals_take, sizeof(struct totals_part), &request, sizeof(request),
                malloc_stats_done);
}

struct purge_part {
    bool begun;
    uint64_t freed_until; /* keyspace_stats.lazyfreed when all that waited at the start is freed */
};

/* What was deleted before goes back too, so what waits to be freed in slices is waited for; not
 * what others add meanwhile. */
static bool purge_waits(struct worker *worker, struct purge_part *part) {
    const struct keyspace_stats *stats = keyspace_stats(worker_shard(worker)->keyspace);
    if (!part->begun) {
        part->begun = true;
        part->freed_until = stats->lazyfreed + stats->lazyfree_pending;
    }
    return stats->lazyfree_pending > 0 && stats->lazyfreed < part->freed_until;
}

static bool purge_part(struct worker *worker, const void *args, void *result) {
    if (purge_waits(worker, result)) {
        return false;
    }
    heap_purge(worker_shard(worker)->heap);
    rt_trim(worker_rt(worker), true);
    worker_trim_pools(worker, true);
    sysmem_collect(true);
    return true;
}

void command_memory_purge(struct exec *x) {
    scatter_all(x, purge_part, sizeof(struct purge_part), NULL, 0, scatter_ok);
}

static const char *const help_lines[] = {
    "BIGKEYS [COUNT <count>] [TYPE <type>]",
    "    Walk over all keys, and show of each type how many there are, and the 10 (or",
    "    <count>) with the most memory and with the most elements.",
    "DOCTOR",
    "    Say in words whether memory use looks healthy.",
    "MALLOC-STATS",
    "    Show what the allocator says of itself.",
    "PURGE",
    "    Give unused memory back to the system.",
    "STATS",
    "    Report in numbers what memory is used for.",
    "USAGE <key> [SAMPLES <count>]",
    "    Tell how many bytes a key takes with its value.",
    NULL,
};

void command_memory_help(struct exec *x) {
    reply_help(x, help_lines);
}
