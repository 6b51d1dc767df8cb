/* SPDX-License-Identifier: BSD-3-Clause */
/* info: INFO: the state of the server as text.
 *
 * Field names and their order are Valkey's: dashboards and exporters read them. What does not exist
 * here is there with the value that says so. Every worker is asked for its numbers (totals.h) and
 * the text is made at home, a function per section in one table.
 */
#include "server/call/command_table.h"
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

struct info_args {
    struct totals_request request; /* first: totals_take reads it */
    unsigned chosen;               /* bits of sections[] */
};

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

static void info_done(struct exec *x, const struct scatter_result *result) {
    const struct info_args *args = result->args;
    struct info info = {.worker = x->worker, .result = result};
    text_init(&info.text);
    rt_usage(&info.usage);
    for (unsigned i = 0; i < result->parts_count; i++) {
        totals_add(&info.sum, &((const struct totals_part *)result->parts[i])->totals);
    }
    for (unsigned i = 0; i < SECTIONS_COUNT; i++) {
        if (args->chosen & (1u << i)) {
            if (info.text.len > 0) {
                text_append_text(&info.text, "\r\n");
            }
            sections[i].write(&info);
        }
    }
    reply_verbatim(x->reply, "txt", text_bytes(&info.text));
    text_fini(&info.text);
    for (unsigned i = 0; i < result->parts_count; i++) {
        totals_part_fini(result->parts[i], command_table_count(worker_server(x->worker)->commands));
    }
}

void command_info(struct exec *x) {
    struct info_args args = {.chosen = sections_asked(x)};
    args.request = (struct totals_request){
        .databases = (args.chosen & (section_bit("keyspace") | section_bit("memory"))) != 0,
        .commands = (args.chosen & section_bit("commandstats")) != 0,
        .latencies = (args.chosen & section_bit("latencystats")) != 0,
        .errors = (args.chosen & section_bit("errorstats")) != 0,
    };
    scatter_all(x, totals_take, sizeof(struct totals_part), &args, sizeof(args), info_done);
}
