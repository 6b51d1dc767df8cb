/* SPDX-License-Identifier: BSD-3-Clause */
/* info: INFO: the state of the server as text.
 *
 * Field names and their order are Valkey's: dashboards and exporters read them. What does not exist
 * here is there with the value that says so. Every worker is asked for its numbers (totals.h) and
 * the text is made at home, a function per section in one table.
 */
#include "server/commands/server/info.h"

#include "server/call/command_table.h"
#include "server/commands/cluster/cluster.h"
#include "server/commands/server/info_sections.h"
#include "server/commands/server/server_commands.h"
#include "server/server.h"
#include "server/worker/view.h"

#include <stdlib.h>

struct section {
    const char *name; /* as asked for */
    bool in_default;
    void (*write)(struct info *info);
};

static const struct section sections[] = {
    {"server", true, info_server},
    {"tls", false, info_tls},
    {"clients", true, info_clients},
    {"memory", true, info_memory},
    {"persistence", true, info_persistence},
    {"stats", true, info_stats},
    {"replication", true, info_replication},
    {"cpu", true, info_cpu},
    {"module_list", true, info_modules},
    {"commandstats", false, info_commandstats},
    {"errorstats", true, info_errorstats},
    {"latencystats", false, info_latencystats},
    {"cluster", true, info_cluster},
    {"cluster_info", false, info_cluster_info},
    {"scriptingengines", false, info_scripting_engines},
    {"keyspace", true, info_keyspace},
    {"shards", true, info_shards},
    {"debug", false, info_debug},
};
#define SECTIONS_COUNT (sizeof(sections) / sizeof(sections[0]))

static unsigned section_bit(const char *name) {
    for (unsigned i = 0; i < SECTIONS_COUNT; i++) {
        if (strcmp(sections[i].name, name) == 0) {
            return 1u << i;
        }
    }
    return 0;
}

static unsigned sections_default(void) {
    unsigned chosen = 0;
    for (unsigned i = 0; i < SECTIONS_COUNT; i++) {
        chosen |= sections[i].in_default ? 1u << i : 0;
    }
    return chosen;
}

static unsigned sections_asked(const struct exec *x) {
    if (x->argc == 1) {
        return sections_default();
    }
    unsigned chosen = 0;
    for (uint32_t i = 1; i < x->argc; i++) {
        if (bytes_is(x->argv[i], "default")) {
            chosen |= sections_default();
        } else if (bytes_is(x->argv[i], "all") || bytes_is(x->argv[i], "everything")) {
            chosen |= ((1u << SECTIONS_COUNT) - 1) & ~section_bit("debug");
        } else if (bytes_is(x->argv[i], "modules")) {
            chosen |= section_bit("module_list");
        }
        for (unsigned s = 0; s < SECTIONS_COUNT; s++) {
            if (bytes_equal_nocase(x->argv[i], bytes_of_text(sections[s].name))) {
                chosen |= 1u << s;
            }
        }
    }
    return chosen;
}

static struct info_request request_of(unsigned chosen) {
    return (struct info_request){
        .totals =
            {
                .databases = (chosen & (section_bit("keyspace") | section_bit("memory"))) != 0,
                .commands = (chosen & section_bit("commandstats")) != 0,
                .latencies = (chosen & section_bit("latencystats")) != 0,
                .errors = (chosen & section_bit("errorstats")) != 0,
            },
        .chosen = chosen,
    };
}

struct info_request info_everything(void) {
    return request_of(((1u << SECTIONS_COUNT) - 1) & ~section_bit("debug"));
}

void info_write(struct worker *worker, const struct scatter_result *result, struct text *text) {
    const struct info_request *request = result->args;
    struct info info = {.worker = worker, .result = result, .cluster = request->cluster};
    text_init(&info.text);
    rt_usage(&info.usage);
    for (unsigned i = 0; i < result->parts_count; i++) {
        totals_add(&info.sum, &((const struct totals_part *)result->parts[i])->totals);
    }
    for (unsigned i = 0; i < SECTIONS_COUNT; i++) {
        if (request->chosen & (1u << i)) {
            if (info.text.len > 0) {
                text_append_text(&info.text, "\r\n");
            }
            sections[i].write(&info);
        }
    }
    text_append_bytes(text, text_bytes(&info.text));
    text_fini(&info.text);
}

void info_parts_fini(struct worker *worker, const struct scatter_result *result) {
    for (unsigned i = 0; i < result->parts_count; i++) {
        totals_part_fini(result->parts[i], command_table_count(worker_server(worker)->commands));
    }
}

/* ---- INFO ---- */

static void info_done(struct exec *x, const struct scatter_result *result) {
    struct text text;
    text_init(&text);
    info_write(x->worker, result, &text);
    reply_verbatim(x->reply, "txt", text_bytes(&text));
    text_fini(&text);
    info_parts_fini(x->worker, result);
    free(((const struct info_request *)result->args)->cluster);
}

static void gather(struct exec *x, const struct info_request *request) {
    scatter_all(x, totals_take, sizeof(struct totals_part), request, sizeof *request, info_done);
}

static void cluster_told(struct exec *x, const struct scatter_result *result) {
    struct info_request request = *(const struct info_request *)result->args;
    request.cluster = cluster_info_take(result->parts[0]);
    gather(x, &request);
}

/* A script waits for nobody: in one the section is empty. */
void command_info(struct exec *x) {
    struct info_request request = request_of(sections_asked(x));
    if (request.chosen & section_bit("cluster_info") && worker_map(x->worker) != NULL &&
        x->client != NULL) {
        scatter_one(x, worker_id(x->worker), cluster_info_part, sizeof(void *), &request,
                    sizeof request, cluster_told);
    } else {
        gather(x, &request);
    }
}
