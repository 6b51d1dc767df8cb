/* SPDX-License-Identifier: BSD-3-Clause */
/* latency_commands: LATENCY: what was seen to take long (observe/latency.h), and how long commands
 * take, from the histograms that INFO latencystats takes its percentiles from.
 *
 * A histogram is shown as how many calls took up to a microsecond, up to 2, 4, and so on: only
 * steps in which some calls were.
 */
#include "base/must.h"
#include "server/call/command_table.h"
#include "server/call/help.h"
#include "server/commands/observe/observe_commands.h"
#include "server/config/config.h"
#include "server/observe/latency.h"
#include "server/server.h"
#include "server/worker/totals.h"
#include "server/worker/view.h"

#include <stdlib.h>

void command_latency_doctor(struct exec *x) {
    latency_reply_doctor(x);
}

void command_latency_graph(struct exec *x) {
    latency_reply_graph(x, x->argv[2]);
}

void command_latency_history(struct exec *x) {
    latency_reply_history(x, x->argv[2]);
}

void command_latency_latest(struct exec *x) {
    latency_reply_latest(x);
}

void command_latency_reset(struct exec *x) {
    latency_reply_reset(x, x->argv + 2, x->argc - 2);
}

/* ---- HISTOGRAM ---- */

#define STEP_FIRST_NS 1024

/* Room for the commands that were asked for, by id, follows. */
struct histogram_args {
    struct totals_request request; /* first: totals_take reads it */
    bool wanted[];
};

static void want(struct histogram_args *args, const struct command_ref *ref) {
    args->wanted[ref->id] = true;
    for (unsigned i = 0; i < ref->subcommands_count; i++) {
        args->wanted[ref->subcommands[i].id] = true;
    }
}

/* Of all workers, in the copy of the first; NULL: it has not run. */
static struct histogram *sum_of(const struct scatter_result *result, unsigned id) {
    struct histogram *sum = NULL;
    for (unsigned i = 0; i < result->parts_count; i++) {
        struct histogram *part = ((struct totals_part *)result->parts[i])->commands[id].latency;
        if (sum == NULL) {
            sum = part;
        } else if (part != NULL) {
            histogram_add(sum, part);
        }
    }
    return sum != NULL && sum->total > 0 ? sum : NULL;
}

static void reply_one(struct reply *reply, const char *name, const struct histogram *histogram) {
    uint64_t steps[64][2];
    size_t count = 0;
    uint64_t before = 0;
    for (uint64_t ns = STEP_FIRST_NS; before < histogram->total; ns *= 2) {
        uint64_t up_to =
            ns < HISTOGRAM_NS_MAX ? histogram_count_up_to(histogram, ns) : histogram->total;
        if (up_to > before) {
            uint64_t highest = ns < HISTOGRAM_NS_MAX ? histogram_highest_equivalent(ns) : ns;
            steps[count][0] = highest / 1000;
            steps[count++][1] = up_to;
        }
        before = up_to;
    }
    reply_bulk_text(reply, name);
    reply_map(reply, 2);
    reply_bulk_text(reply, "calls");
    reply_int(reply, (int64_t)histogram->total);
    reply_bulk_text(reply, "histogram_usec");
    reply_map(reply, count);
    for (size_t i = 0; i < count; i++) {
        reply_int(reply, (int64_t)steps[i][0]);
        reply_int(reply, (int64_t)steps[i][1]);
    }
}

static void histogram_done(struct exec *x, const struct scatter_result *result) {
    const struct histogram_args *args = result->args;
    const struct command_table *table = worker_server(x->worker)->commands;
    unsigned commands = command_table_count(table);
    const struct histogram **sums = must_calloc(commands, sizeof *sums);
    size_t count = 0;
    for (unsigned id = 0; id < commands; id++) {
        sums[id] = args->wanted[id] ? sum_of(result, id) : NULL;
        count += sums[id] != NULL;
    }
    reply_map(x->reply, count);
    for (unsigned id = 0; id < commands; id++) {
        if (sums[id] != NULL) {
            reply_one(x->reply, command_table_at(table, id)->full_name, sums[id]);
        }
    }
    free(sums);
    for (unsigned i = 0; i < result->parts_count; i++) {
        totals_part_fini(result->parts[i], commands);
    }
}

void command_latency_histogram(struct exec *x) {
    const struct command_table *table = worker_server(x->worker)->commands;
    unsigned commands = command_table_count(table);
    size_t bytes = sizeof(struct histogram_args) + commands * sizeof(bool);
    struct histogram_args *args = must_calloc(1, bytes);
    args->request.latencies = true;
    for (unsigned id = 0; id < commands && x->argc == 2; id++) {
        args->wanted[id] = true;
    }
    for (uint32_t i = 2; i < x->argc; i++) {
        const struct command_ref *ref = command_table_find_full(table, x->argv[i]);
        if (ref != NULL) {
            want(args, ref);
        }
    }
    scatter_all(x, totals_take, sizeof(struct totals_part), args, bytes, histogram_done);
    free(args);
}

static const char *const help_lines[] = {
    "DOCTOR",
    "    Say in words what took long, and what may help.",
    "GRAPH <event>",
    "    Draw the spikes of an event.",
    "HISTORY <event>",
    "    Show the spikes of an event with their times.",
    "LATEST",
    "    Show the newest spike of every event, the longest, their sum and number.",
    "RESET [<event> ...]",
    "    Forget the spikes of these events, or of all.",
    "HISTOGRAM [COMMAND ...]",
    "    Show how many calls of these commands, or of all, took up to how many",
    "    microseconds.",
    NULL,
};

void command_latency_help(struct exec *x) {
    reply_help(x, help_lines);
}
