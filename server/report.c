/* SPDX-License-Identifier: BSD-3-Clause */
/* report: see the header. Why so: what is wanted of a process that ends is made by the code that
 * makes it while all is well, which allocates. So it comes last, when what is safe has been said;
 * another fault, or what does not come to an end, then costs no more than the rest of it.
 */
#include "server/report.h"

#include "base/must.h"
#include "base/quote.h"
#include "server/call/command_table.h"
#include "server/call/scatter.h"
#include "server/client/client.h"
#include "server/client/clients.h"
#include "server/client/describe.h"
#include "server/commands/server/info.h"
#include "server/worker/worker.h"

#include <stdlib.h>

/* More of a command than this is not told. */
#define WORDS_MAX      32
#define WORD_BYTES_MAX 128
#define LINE_BYTES_MAX 1000

struct crash_wish report_say(void *arg, struct bytes text, bool first) {
    const struct report *report = arg;
    return last_line_say((void *)&report->line, text, first);
}

static void say(struct report *report, struct bytes text) {
    text.len = text.len < LINE_BYTES_MAX ? text.len : LINE_BYTES_MAX;
    report_say(report, text, false);
}

static void say_words(struct report *report, const struct exec *x) {
    bool redacts = x->worker->config->hide_user_data_from_log;
    struct text line;
    text_init(&line);
    text_appendf(&line, "Command in hand on shard %u: %s, %u words", x->worker->id,
                 x->ref->full_name, x->argc);
    say(report, text_bytes(&line));
    for (uint32_t i = 1; x->argv != NULL && i < x->argc && i < WORDS_MAX; i++) {
        struct bytes word = x->argv[i];
        text_clear(&line);
        text_appendf(&line, "Word %u, %zu bytes: ", i, word.len);
        if (redacts || command_word_is_secret(x->command, x->argv, x->argc, i)) {
            text_append_text(&line, "*redacted*");
        } else {
            word.len = word.len < WORD_BYTES_MAX ? word.len : WORD_BYTES_MAX;
            quote_append(&line, word);
        }
        say(report, text_bytes(&line));
    }
    text_fini(&line);
}

/* Commands run elsewhere than at their client's home, too. */
static void say_client(struct report *report, const struct worker *worker) {
    const struct worker *home = worker->server->workers[worker->runs_for.home];
    const struct client *client =
        worker->runs_for.client != 0 ? client_of_id(home, worker->runs_for.client) : NULL;
    if (client == NULL) {
        return;
    }
    struct text line;
    text_init(&line);
    text_append_text(&line, "Its client: ");
    client_describe(&line, client, worker->config->hide_user_data_from_log,
                    client_input_unparsed(client), 0, rt_wall_ms(worker->rt));
    say(report, text_bytes(&line));
    text_fini(&line);
}

/* Of all shards: a thread may work in another's place (visit.h). */
static void say_commands(struct report *report) {
    const struct server *server = report->worker->server;
    for (unsigned i = 0; i < server->workers_count; i++) {
        const struct worker *worker = server->workers[i];
        if (worker->exec != NULL) {
            say_words(report, worker->exec);
            say_client(report, worker);
        }
    }
}

/* What the shards have done before, the newest first. */
static void say_turns(struct report *report) {
    const struct server *server = report->worker->server;
    for (unsigned i = 0; i < server->workers_count; i++) {
        const struct worker *worker = server->workers[i];
        const struct tally *tally = &worker->tally;
        for (uint64_t k = tally->turns_noted; k > 0 && tally->turns_noted - k < TURNS_KEPT; k--) {
            const struct turn_note *turn = &tally->turns[(k - 1) % TURNS_KEPT];
            bool is_known = turn->last_id < command_table_count(server->commands);
            struct text line;
            text_init(&line);
            text_appendf(&line,
                         "Turn of shard-%u, %lld ms before: %u commands in %llu us, the last one "
                         "%s, of client %llu",
                         i, (long long)(rt_mono_ms(report->worker->rt) - turn->ms), turn->commands,
                         (unsigned long long)rt_ticks_to_ns(worker->rt, turn->ticks) / 1000,
                         is_known ? command_table_at(server->commands, turn->last_id)->full_name
                                  : "of no command",
                         (unsigned long long)turn->client);
            say(report, text_bytes(&line));
            text_fini(&line);
        }
    }
}

static void say_info(struct report *report) {
    struct worker *const *workers = report->worker->server->workers;
    unsigned count = report->worker->server->workers_count;
    struct info_request request = info_everything();
    struct totals_part *parts = must_calloc(count, sizeof *parts); /* too much for this stack */
    void *results[CONFIG_SHARDS_MAX];
    for (unsigned i = 0; i < count; i++) {
        totals_take(workers[i], &request, &parts[i]);
        results[i] = &parts[i];
    }
    struct scatter_result result = {.args = &request, .parts = results, .parts_count = count};
    struct text text;
    text_init(&text);
    info_write(report->worker, &result, &text);
    struct bytes rest = text_bytes(&text);
    while (rest.len > 0) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        size_t n = end != NULL ? (size_t)(end - rest.ptr) + 1 : rest.len;
        struct bytes line = bytes_trim(bytes_make(rest.ptr, n));
        if (line.len > 0) {
            say(report, line);
        }
        rest = bytes_make(rest.ptr + n, rest.len - n);
    }
    text_fini(&text);
    info_parts_fini(report->worker, &result);
    free(parts);
}

/* What whoever runs it has to say of it. */
static void say_context(struct report *report) {
    struct bytes context = report->worker->config->debug_context;
    if (context.len > 0) {
        struct text line;
        text_init(&line);
        text_append_text(&line, "debug-context: ");
        quote_append(&line, context);
        say(report, text_bytes(&line));
        text_fini(&line);
    }
}

void report_more(void *arg) {
    struct report *report = arg;
    if (report->worker == NULL) { /* at the start, or the end */
        return;
    }
    say_context(report);
    say_commands(report);
    say_turns(report);
    say_info(report);
    say(report, BYTES("The report ends here."));
}
