/* SPDX-License-Identifier: BSD-3-Clause */
/* script_command: SCRIPT. The table of scripts is the process's, so it is answered at home. */
#include "server/call/check.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/call/help.h"
#include "server/commands/scripting/scripting.h"
#include "server/script/state.h"
#include "server/server.h"
#include "server/worker/shared.h"
#include "server/worker/view.h"

static struct scripts *scripts_of(const struct exec *x) {
    return worker_server(x->worker)->scripts;
}

void command_script_load(struct exec *x) {
    struct text err;
    text_init(&err);
    struct script_local *local = script_of_body(script_state_of(x->worker), x->argv[2], true, &err);
    if (local == NULL) {
        reply_error(x->reply, err.ptr);
    } else {
        char hex[SCRIPT_SHA_TEXT];
        script_format_sha(script_sha(local->script), hex);
        reply_bulk_text(x->reply, hex);
    }
    text_fini(&err);
}

void command_script_exists(struct exec *x) {
    reply_array(x->reply, x->argc - 2);
    for (uint32_t i = 2; i < x->argc; i++) {
        unsigned char sha[SHA1_BYTES];
        struct script *script =
            script_parse_sha(x->argv[i], sha) ? scripts_find(scripts_of(x), sha) : NULL;
        reply_int(x->reply, script != NULL);
        script_unref(script);
    }
}

void command_script_show(struct exec *x) {
    unsigned char sha[SHA1_BYTES];
    struct script *script =
        script_parse_sha(x->argv[2], sha) ? scripts_find(scripts_of(x), sha) : NULL;
    if (script == NULL) {
        reply_error(x->reply, "NOSCRIPT No matching script.");
        return;
    }
    reply_bulk(x->reply, script_body(script));
    script_unref(script);
}

void command_script_flush(struct exec *x) {
    bool known = x->argc == 2 ||
                 (x->argc == 3 && (bytes_is(x->argv[2], "sync") || bytes_is(x->argv[2], "async")));
    if (!known) {
        reply_error(x->reply, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
        return;
    }
    scripts_flush(scripts_of(x));
    reply_ok(x->reply);
}

#define ERR_UNKILLABLE                                                                             \
    "UNKILLABLE Sorry the script already executed write commands against the dataset. You can "    \
    "either wait the script termination or kill the server in a hard way using the SHUTDOWN "      \
    "NOSAVE command."

/* Several may run, each on a shard. */
void script_kill(struct exec *x, bool function) {
    const struct server *server = worker_server(x->worker);
    const char *error = "NOTBUSY No scripts in execution right now.";
    for (unsigned i = 0; i < server->workers_count; i++) {
        unsigned bits = shared_script(server->shared, i);
        if (!(bits & SCRIPT_BUSY)) {
            continue;
        }
        if (!(bits & SCRIPT_FUNCTION) == function) {
            error = check_busy_error_of(x->worker, bits);
        } else if (shared_script_kill(server->shared, i)) {
            error = NULL;
            break;
        } else {
            error = ERR_UNKILLABLE;
        }
    }
    if (error != NULL) {
        reply_error(x->reply, error);
    } else {
        reply_ok(x->reply);
    }
}

bool script_is_busy(struct exec *x) {
    const struct server *server = worker_server(x->worker);
    for (unsigned i = 0; i < server->workers_count; i++) {
        unsigned bits = shared_script(server->shared, i);
        if (bits & SCRIPT_BUSY && !(bits & SCRIPT_FUNCTION)) {
            reply_error(x->reply, check_busy_error_of(x->worker, bits));
            return true;
        }
    }
    return false;
}

void command_script_kill(struct exec *x) {
    script_kill(x, false);
}

/* There is no debugger: it would stop the server for everybody. */
void command_script_debug(struct exec *x) {
    if (bytes_is(x->argv[2], "no")) {
        reply_ok(x->reply);
    } else if (bytes_is(x->argv[2], "yes") || bytes_is(x->argv[2], "sync")) {
        reply_error(x->reply, "ERR SCRIPT DEBUG is not supported: there is no Lua debugger");
    } else {
        reply_error(x->reply, "ERR Use SCRIPT DEBUG YES/SYNC/NO");
    }
}

void command_script_help(struct exec *x) {
    static const char *const lines[] = {
        "DEBUG (YES|SYNC|NO)",
        "    There is no debugger: only NO is answered with OK.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Tell for each digest whether a script with it is known.",
        "FLUSH [ASYNC|SYNC]",
        "    Forget all scripts.",
        "KILL",
        "    End a script that runs for long and has not written.",
        "LOAD <script>",
        "    Know a script without running it.",
        "SHOW <sha1>",
        "    Return the text of a script.",
        NULL,
    };
    reply_help(x, lines);
}
