/* SPDX-License-Identifier: BSD-3-Clause */
/* info_lists: the sections of INFO that have a line per command, error, database or shard.
 */
#include "base/must.h"
#include "server/call/command_table.h"
#include "server/commands/server/info_sections.h"
#include "server/config/config.h"
#include "server/server.h"
#include "server/worker/view.h"

#include <stdlib.h>

#define ULL(x) ((unsigned long long)(x))

static const struct totals_part *part_of(const struct info *info, unsigned i) {
    return info->result->parts[i];
}

/* Calls `one` for each command and then its subcommands. */
static void each_command(struct info *info,
                         void (*one)(struct info *, const struct command_ref *)) {
    const struct command_table *table = worker_server(info->worker)->commands;
    for (unsigned i = 0; i < command_table_top_count(table); i++) {
        const struct command_ref *ref = command_table_top(table, i);
        one(info, ref);
        for (unsigned s = 0; s < ref->subcommands_count; s++) {
            one(info, &ref->subcommands[s]);
        }
    }
}

static void commandstats_line(struct info *info, const struct command_ref *ref) {
    struct command_total sum = {0};
    for (unsigned i = 0; i < info->result->parts_count; i++) {
        const struct command_total *part = &part_of(info, i)->commands[ref->id];
        sum.calls += part->calls;
        sum.rejected += part->rejected;
        sum.failed += part->failed;
        sum.ns += part->ns;
    }
    if (sum.calls == 0 && sum.rejected == 0 && sum.failed == 0) {
        return;
    }
    text_appendf(&info->text,
                 "cmdstat_%s:calls=%llu,usec=%llu,usec_per_call=%.2f,rejected_calls=%llu,"
                 "failed_calls=%llu\r\n",
                 ref->full_name, ULL(sum.calls), ULL(sum.ns / 1000),
                 sum.calls ? (double)sum.ns / 1000 / (double)sum.calls : 0.0, ULL(sum.rejected),
                 ULL(sum.failed));
}

void info_commandstats(struct info *info) {
    text_append_text(&info->text, "# Commandstats\r\n");
    each_command(info, commandstats_line);
}

static void latencystats_line(struct info *info, const struct command_ref *ref) {
    struct histogram *sum = NULL;
    for (unsigned i = 0; i < info->result->parts_count; i++) {
        struct command_total *part = &part_of(info, i)->commands[ref->id];
        if (part->latency == NULL) {
            continue;
        }
        if (sum == NULL) {
            sum = part->latency; /* a copy of ours: added to in place */
        } else {
            histogram_add(sum, part->latency);
        }
    }
    if (sum == NULL || sum->total == 0) {
        return;
    }
    const struct config_percentiles *percentiles =
        &worker_config(info->worker)->latency_tracking_info_percentiles;
    text_appendf(&info->text, "latency_percentiles_usec_%s:", ref->full_name);
    for (size_t i = 0; i < percentiles->count; i++) {
        text_appendf(&info->text, "%sp%.15g=%.3f", i ? "," : "", percentiles->items[i],
                     (double)histogram_percentile(sum, percentiles->items[i]) / 1000);
    }
    text_append_text(&info->text, "\r\n");
}

void info_latencystats(struct info *info) {
    text_append_text(&info->text, "# Latencystats\r\n");
    if (worker_config(info->worker)->latency_tracking) {
        each_command(info, latencystats_line);
    }
}

static int error_compare(const void *a, const void *b) {
    return strcmp(((const struct error_stat *)a)->code, ((const struct error_stat *)b)->code);
}

void info_errorstats(struct info *info) {
    text_append_text(&info->text, "# Errorstats\r\n");
    size_t n = 0;
    for (unsigned i = 0; i < info->result->parts_count; i++) {
        n += part_of(info, i)->errors_count;
    }
    struct error_stat *errors = must_calloc(n + 1, sizeof(*errors));
    n = 0;
    for (unsigned i = 0; i < info->result->parts_count; i++) {
        const struct totals_part *part = part_of(info, i);
        memcpy(errors + n, part->errors, part->errors_count * sizeof(*errors));
        n += part->errors_count;
    }
    qsort(errors, n, sizeof(*errors), error_compare);
    uint64_t more = 0;
    for (size_t i = 0, kinds = 0; i < n;) {
        uint64_t count = 0;
        size_t first = i;
        for (; i < n && strcmp(errors[i].code, errors[first].code) == 0; i++) {
            count += errors[i].count;
        }
        bool made_up = errors[first].made_up;
        if ((made_up && kinds == ERROR_STATS_MADE_UP_MAX) ||
            strcmp(errors[first].code, ERROR_STATS_MORE) == 0) {
            more += count;
        } else {
            kinds += made_up;
            text_appendf(&info->text, "errorstat_%s:count=%llu\r\n", errors[first].code,
                         ULL(count));
        }
    }
    if (more > 0) {
        text_appendf(&info->text, "errorstat_%s:count=%llu\r\n", ERROR_STATS_MORE, ULL(more));
    }
    free(errors);
}

void info_keyspace(struct info *info) {
    text_append_text(&info->text, "# Keyspace\r\n");
    for (uint32_t db = 0; db < (uint32_t)config_databases(worker_config(info->worker)); db++) {
        struct database_total sum = {0};
        for (unsigned i = 0; i < info->result->parts_count; i++) {
            const struct database_total *part = &part_of(info, i)->databases[db];
            sum.keys += part->keys;
            sum.expires += part->expires;
            sum.volatiles += part->volatiles;
            sum.ttl_weight += part->ttl_weight;
            sum.ttl_sum_ms += part->ttl_sum_ms;
        }
        if (sum.keys > 0) {
            double ttl = sum.ttl_weight ? sum.ttl_sum_ms / (double)sum.ttl_weight : 0;
            text_appendf(
                &info->text,
                "db%u:keys=%llu,expires=%llu,avg_ttl=%llu,keys_with_volatile_items=%llu\r\n", db,
                ULL(sum.keys), ULL(sum.expires), ULL(ttl), ULL(sum.volatiles));
        }
    }
}

void info_shards(struct info *info) {
    text_append_text(&info->text, "# Shards\r\n");
    for (unsigned i = 0; i < info->result->parts_count; i++) {
        const struct totals *t = &part_of(info, i)->totals;
        double trips = (double)t->stats.batches_away;
        double ops_per_trip = trips > 0 ? (double)t->stats.ops_away / trips : 0;
        text_appendf(
            &info->text,
            "shard%u:keys=%llu,ops=%llu,hops=%llu,mailbox_depth=%llu,late_wakeups=%llu,"
            "connections=%llu,memory=%llu,txns=%llu,txn_refusals=%llu,lock_waits=%llu,"
            "ops_moved=%llu,longest_turn_us=%llu,trips=%llu,ops_per_trip=%.2f,looks=%llu,"
            "looks_found=%llu,wakeups_sent=%llu,visits=%llu,rounds=%llu,parked=%llu,"
            "gathered=%llu,memory_leased=%llu,evicted_keys=%llu,cpu_us=%llu,waited_us=%llu,"
            "looked_us=%llu,save_waits=%llu,save_stall_bytes=%llu\r\n",
            i, ULL(t->keys), ULL(t->stats.ops_here + t->stats.ops_for_others),
            ULL(t->stats.ops_away), ULL(t->mailbox_depth), ULL(t->post.late_wakeups),
            ULL(t->connections), ULL(t->keyspace_bytes), ULL(t->stats.txns),
            ULL(t->stats.txn_refusals), ULL(t->stats.lock_waits), ULL(t->stats.ops_moved),
            ULL(t->longest_turn_ns / 1000), ULL(t->stats.batches_away), ops_per_trip,
            ULL(t->stats.looks), ULL(t->stats.looks_found), ULL(t->post.wakes),
            ULL(t->stats.visits), ULL(t->stats.rounds), ULL(t->parked), ULL(t->stats.gathered),
            ULL(t->leased_bytes), ULL(t->keyspace.evicted_keys), ULL(t->user_us + t->system_us),
            ULL(t->waited_ns / 1000), ULL(t->looked_ns / 1000), ULL(t->save_waits),
            ULL(t->save_stall_bytes));
    }
}
