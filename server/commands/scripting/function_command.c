/* SPDX-License-Identifier: BSD-3-Clause */
/* function_command: FUNCTION. The libraries are the process's. What changes them holds the locks of
 * all keys, so a transaction sees them as they are at its moment; when it answers each worker knows
 * of the change, and what has gone is gone everywhere. What only asks is answered at home. */
#include "base/arena.h"
#include "base/glob.h"
#include "net/rt.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/call/help.h"
#include "server/call/scatter.h"
#include "server/commands/scripting/scripting.h"
#include "server/config/config.h"
#include "server/script/functions.h"
#include "server/script/library_dump.h"
#include "server/script/scripts.h"
#include "server/server.h"
#include "server/worker/view.h"

#include <stdlib.h>

static struct libraries *libraries_of(const struct exec *x) {
    return worker_server(x->worker)->libraries;
}

/* ---- What changes them ---- */

static bool keep_up_part(struct worker *worker, const void *args, void *result) {
    functions_keep_up(worker);
    return true;
}

/* The name of the library, if there is one. */
struct answer {
    size_t len;
    char name[];
};

static void answer(struct exec *x, const struct scatter_result *result) {
    const struct answer *answer = result->args;
    if (answer->len > 0) {
        reply_bulk(x->reply, bytes_make(answer->name, answer->len));
    } else {
        reply_ok(x->reply);
    }
}

/* They have changed, and this is what did it. */
static void changed(struct exec *x, struct bytes name) {
    effect_state(x, x->argv, x->argc);
    keyspace_set_changes(x->keyspace, keyspace_changes(x->keyspace) + 1);
    struct answer *args = arena_alloc(worker_scratch(x->worker), sizeof *args + name.len);
    args->len = name.len;
    if (name.len > 0) {
        memcpy(args->name, name.ptr, name.len);
    }
    scatter_all(x, keep_up_part, 0, args, sizeof *args + name.len, answer);
}

/* False, and the error: there is no memory for a library. */
static bool has_room(struct exec *x) {
    bool has = worker_has_room(x->worker);
    if (!has) {
        reply_error(x->reply, ERR_OOM);
    }
    return has;
}

static void fail(struct exec *x, const struct text *err) {
    reply_error_bytes(x->reply, text_bytes(err));
}

/* False, and the error: there is something else than REPLACE before the text. */
static bool read_load(const struct exec *x, bool *ret_replace) {
    *ret_replace = false;
    for (uint32_t i = 2; i + 1 < x->argc; i++) {
        if (!bytes_is(x->argv[i], "replace")) {
            reply_errorf(x->reply, "ERR Unknown option given: %.*s", bytes_precision(x->argv[i]),
                         x->argv[i].ptr);
            return false;
        }
        *ret_replace = true;
    }
    return true;
}

void command_function_load(struct exec *x) {
    bool replace;
    if (!has_room(x) || !read_load(x, &replace)) {
        return;
    }
    struct text err;
    text_init(&err);
    struct libraries *libraries = libraries_of(x);
    struct library *library = functions_make_library(
        x->worker, x->argv[x->argc - 1], replace ? NULL : libraries, FUNCTIONS_LOAD_MS, &err);
    enum libraries_policy policy = replace ? LIBRARIES_REPLACE : LIBRARIES_APPEND;
    if (library != NULL && !libraries_add(libraries, library, policy, &err)) {
        functions_forget(x->worker, library);
        library = NULL;
    }
    if (library != NULL) {
        changed(x, library_name(library));
    } else {
        fail(x, &err);
    }
    text_fini(&err);
}

void command_function_delete(struct exec *x) {
    if (libraries_delete(libraries_of(x), x->argv[2])) {
        changed(x, (struct bytes){0});
    } else {
        reply_error(x->reply, "ERR Library not found");
    }
}

void command_function_flush(struct exec *x) {
    if (x->argc > 3) {
        reply_subcommand_error(x);
        return;
    }
    if (x->argc == 3 && !bytes_is(x->argv[2], "sync") && !bytes_is(x->argv[2], "async")) {
        reply_error(x->reply, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
        return;
    }
    libraries_flush(libraries_of(x));
    changed(x, (struct bytes){0});
}

/* False, and the error: there is no such policy. */
static bool read_policy(const struct exec *x, enum libraries_policy *ret) {
    *ret = LIBRARIES_APPEND;
    if (x->argc == 3 || bytes_is(x->argv[3], "append")) {
        return true;
    }
    *ret = bytes_is(x->argv[3], "replace") ? LIBRARIES_REPLACE : LIBRARIES_FLUSH;
    if (*ret == LIBRARIES_FLUSH && !bytes_is(x->argv[3], "flush")) {
        reply_error(x->reply, "ERR Wrong restore policy given, value should be either FLUSH, "
                              "APPEND or REPLACE.");
        return false;
    }
    return true;
}

void command_function_restore(struct exec *x) {
    enum libraries_policy policy;
    if (x->argc > 4) {
        reply_subcommand_error(x);
        return;
    }
    if (!has_room(x) || !read_policy(x, &policy)) {
        return;
    }
    struct text err;
    text_init(&err);
    bool relaxed = exec_config(x)->rdb_version_check != 0;
    if (library_dump_read(x->worker, x->argv[2], relaxed, libraries_of(x), policy, &err)) {
        changed(x, (struct bytes){0});
    } else {
        fail(x, &err);
    }
    text_fini(&err);
}

/* ---- What asks ---- */

void command_function_dump(struct exec *x) {
    struct text dump;
    text_init(&dump);
    library_dump_write(&dump, libraries_of(x), exec_config(x)->rdbcompression);
    reply_bulk(x->reply, text_bytes(&dump));
    text_fini(&dump);
}

struct list_args {
    bool has_pattern, with_code;
    struct bytes pattern;
};

static bool read_list(const struct exec *x, struct list_args *ret) {
    for (uint32_t i = 2; i < x->argc; i++) {
        if (!ret->with_code && bytes_is(x->argv[i], "withcode")) {
            ret->with_code = true;
        } else if (!ret->has_pattern && bytes_is(x->argv[i], "libraryname")) {
            if (++i == x->argc) {
                reply_error(x->reply, "ERR library name argument was not given");
                return false;
            }
            ret->has_pattern = true;
            ret->pattern = x->argv[i];
        } else {
            reply_errorf(x->reply, "ERR Unknown argument %.*s", bytes_precision(x->argv[i]),
                         x->argv[i].ptr);
            return false;
        }
    }
    return true;
}

static void reply_flags(struct reply *r, unsigned flags) {
    size_t count = 0;
    for (unsigned i = 0; script_flag_name(i) != NULL; i++) {
        count += flags >> i & 1;
    }
    reply_set(r, count);
    for (unsigned i = 0; script_flag_name(i) != NULL; i++) {
        if (flags >> i & 1) {
            reply_status(r, script_flag_name(i));
        }
    }
}

static void reply_library(struct reply *r, const struct library *library, bool with_code) {
    uint32_t count;
    const struct library_function *functions = library_functions(library, &count);
    reply_map(r, with_code ? 4 : 3);
    reply_bulk_text(r, "library_name");
    reply_bulk(r, library_name(library));
    reply_bulk_text(r, "engine");
    reply_bulk_text(r, "LUA");
    reply_bulk_text(r, "functions");
    reply_array(r, count);
    for (uint32_t i = 0; i < count; i++) {
        reply_map(r, 3);
        reply_bulk_text(r, "name");
        reply_bulk(r, functions[i].name);
        reply_bulk_text(r, "description");
        if (functions[i].description.ptr != NULL) {
            reply_bulk(r, functions[i].description);
        } else {
            reply_null(r);
        }
        reply_bulk_text(r, "flags");
        reply_flags(r, script_flags(functions[i].script));
    }
    if (with_code) {
        reply_bulk_text(r, "library_code");
        reply_bulk(r, library_text(library));
    }
}

void command_function_list(struct exec *x) {
    struct list_args args = {0};
    if (!read_list(x, &args)) {
        return;
    }
    struct libraries_list all = libraries_all(libraries_of(x));
    uint32_t kept = 0;
    for (uint32_t i = 0; i < all.count; i++) {
        bool fits = !args.has_pattern || glob_match(args.pattern, library_name(all.list[i]), true);
        if (fits) {
            struct library *other = all.list[kept];
            all.list[kept++] = all.list[i];
            all.list[i] = other;
        }
    }
    reply_array(x->reply, kept);
    for (uint32_t i = 0; i < kept; i++) {
        reply_library(x->reply, all.list[i], args.with_code);
    }
    libraries_list_free(&all);
}

static void reply_running(const struct exec *x, const struct script_running *running) {
    if (running == NULL) {
        reply_null(x->reply);
        return;
    }
    reply_map(x->reply, 3);
    reply_bulk_text(x->reply, "name");
    reply_bulk(x->reply, running->name);
    reply_bulk_text(x->reply, "command");
    reply_array(x->reply, running->argc);
    for (uint32_t i = 0; i < running->argc; i++) {
        reply_bulk(x->reply, running->argv[i]);
    }
    reply_bulk_text(x->reply, "duration_ms");
    uint64_t ns = rt_mono_ns(worker_rt(x->worker)) - running->began_ns;
    reply_int(x->reply, (int64_t)(ns / 1000000));
}

void command_function_stats(struct exec *x) {
    struct libraries_stats stats = libraries_stats(libraries_of(x));
    struct script_running *running = scripts_running_function(worker_server(x->worker)->scripts);
    if (running == NULL && script_is_busy(x)) {
        return;
    }
    reply_map(x->reply, 2);
    reply_bulk_text(x->reply, "running_script");
    reply_running(x, running);
    free(running);
    reply_bulk_text(x->reply, "engines");
    reply_map(x->reply, 1);
    reply_bulk_text(x->reply, "LUA");
    reply_map(x->reply, 2);
    reply_bulk_text(x->reply, "libraries_count");
    reply_int(x->reply, (int64_t)stats.count);
    reply_bulk_text(x->reply, "functions_count");
    reply_int(x->reply, (int64_t)stats.functions);
}

void command_function_kill(struct exec *x) {
    script_kill(x, true);
}

void command_function_help(struct exec *x) {
    static const char *const lines[] = {
        "DELETE <library-name>",
        "    Delete a library with its functions.",
        "DUMP",
        "    Return all libraries in one string of bytes.",
        "FLUSH [ASYNC|SYNC]",
        "    Delete all libraries.",
        "KILL",
        "    End a function that runs for long and has not written.",
        "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
        "    Describe the libraries and their functions, or those whose names match.",
        "LOAD [REPLACE] <code>",
        "    Make a library of its code, which registers its functions.",
        "RESTORE <dump> [APPEND|FLUSH|REPLACE]",
        "    Make the libraries that DUMP returned. FLUSH deletes those that are there first,",
        "    REPLACE those of the same names; APPEND, as by default, fails if there are such.",
        "STATS",
        "    Tell how many functions there are, and which one runs.",
        NULL,
    };
    reply_help(x, lines);
}
