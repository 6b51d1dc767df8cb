/* SPDX-License-Identifier: BSD-3-Clause */
/* command: what the server says about its own commands: COMMAND and its subcommands.
 *
 * All of it is read from the rows, so it cannot disagree with what dispatch does. Commands are
 * found by the name they are served under but shown by the name of their row: who renamed GET still
 * sees "get" described.
 */
#include "base/arena.h"
#include "base/glob.h"
#include "server/call/command_table.h"
#include "server/call/help.h"
#include "server/commands/server/server_commands.h"
#include "server/server.h"
#include "server/worker/view.h"

#include <stdlib.h>

struct flag_name {
    unsigned flag;
    const char *name;
};

static const struct flag_name command_flag_names[] = {
    {CMD_WRITE, "write"},
    {CMD_READONLY, "readonly"},
    {CMD_DENYOOM, "denyoom"},
    {CMD_MODULE, "module"},
    {CMD_ADMIN, "admin"},
    {CMD_PUBSUB, "pubsub"},
    {CMD_NOSCRIPT, "noscript"},
    {CMD_BLOCKING, "blocking"},
    {CMD_LOADING, "loading"},
    {CMD_STALE, "stale"},
    {CMD_SKIP_MONITOR, "skip_monitor"},
    {CMD_SKIP_COMMANDLOG, "skip_commandlog"},
    {CMD_ASKING, "asking"},
    {CMD_FAST, "fast"},
    {CMD_NO_AUTH, "no_auth"},
    {CMD_NO_MANDATORY_KEYS, "no_mandatory_keys"},
    {CMD_NO_ASYNC_LOADING, "no_async_loading"},
    {CMD_NO_MULTI, "no_multi"},
    {CMD_MOVABLE_KEYS, "movablekeys"},
    {CMD_ALLOW_BUSY, "allow_busy"},
    {0, NULL},
};

static const struct flag_name key_flag_names[] = {
    {KEY_RO, "RO"},
    {KEY_RW, "RW"},
    {KEY_OW, "OW"},
    {KEY_RM, "RM"},
    {KEY_ACCESS, "access"},
    {KEY_UPDATE, "update"},
    {KEY_INSERT, "insert"},
    {KEY_DELETE, "delete"},
    {KEY_NOT_KEY, "not_key"},
    {KEY_INCOMPLETE, "incomplete"},
    {KEY_VARIABLE_FLAGS, "variable_flags"},
    {0, NULL},
};

static const struct flag_name arg_flag_names[] = {
    {ARG_OPTIONAL, "optional"},
    {ARG_MULTIPLE, "multiple"},
    {ARG_MULTIPLE_TOKEN, "multiple_token"},
    {0, NULL},
};

static const char *const arg_type_names[] = {
    [ARG_STRING] = "string",         [ARG_INTEGER] = "integer",
    [ARG_DOUBLE] = "double",         [ARG_KEY] = "key",
    [ARG_PATTERN] = "pattern",       [ARG_UNIX_TIME] = "unix-time",
    [ARG_PURE_TOKEN] = "pure-token", [ARG_ONEOF] = "oneof",
    [ARG_BLOCK] = "block",
};

static const struct command_table *table_of(const struct exec *x) {
    return worker_server(x->worker)->commands;
}

static const struct command_ref *find_served(const struct exec *x, struct bytes name) {
    return command_table_find_full(table_of(x), name);
}

static void reply_flags(struct reply *r, unsigned flags, const struct flag_name *names) {
    size_t n = 0;
    for (const struct flag_name *f = names; f->name != NULL; f++) {
        n += (flags & f->flag) != 0;
    }
    reply_set(r, n);
    for (const struct flag_name *f = names; f->name != NULL; f++) {
        if (flags & f->flag) {
            reply_status(r, f->name);
        }
    }
}

/* ---- COMMAND INFO ---- */

static void reply_pair_int(struct reply *r, const char *name, int64_t value) {
    reply_bulk_text(r, name);
    reply_int(r, value);
}

/* The head of a spec's half: its type, and how many fields follow. */
static void reply_spec_head(struct reply *r, const char *half, const char *type, size_t fields) {
    reply_bulk_text(r, half);
    reply_map(r, 2);
    reply_bulk_text(r, "type");
    reply_bulk_text(r, type);
    reply_bulk_text(r, "spec");
    reply_map(r, fields);
}

static void reply_key_spec(struct reply *r, const struct key_spec *spec) {
    reply_map(r, spec->notes ? 4 : 3);
    if (spec->notes) {
        reply_bulk_text(r, "notes");
        reply_bulk_text(r, spec->notes);
    }
    reply_bulk_text(r, "flags");
    reply_flags(r, spec->flags, key_flag_names);
    if (spec->begin == BEGIN_INDEX) {
        reply_spec_head(r, "begin_search", "index", 1);
        reply_pair_int(r, "index", spec->index);
    } else if (spec->begin == BEGIN_KEYWORD) {
        reply_spec_head(r, "begin_search", "keyword", 2);
        reply_bulk_text(r, "keyword");
        reply_bulk_text(r, spec->keyword);
        reply_pair_int(r, "startfrom", spec->index);
    } else {
        reply_spec_head(r, "begin_search", "unknown", 0);
    }
    if (spec->find == FIND_RANGE) {
        reply_spec_head(r, "find_keys", "range", 3);
        reply_pair_int(r, "lastkey", spec->last);
        reply_pair_int(r, "keystep", spec->step);
        reply_pair_int(r, "limit", spec->limit);
    } else if (spec->find == FIND_KEYNUM) {
        reply_spec_head(r, "find_keys", "keynum", 3);
        reply_pair_int(r, "keynumidx", spec->keynum);
        reply_pair_int(r, "firstkey", spec->first);
        reply_pair_int(r, "keystep", spec->keynum_step);
    } else {
        reply_spec_head(r, "find_keys", "unknown", 0);
    }
}

static void reply_categories(struct reply *r, unsigned categories) {
    reply_set(r, (size_t)__builtin_popcount(categories));
    for (unsigned i = 0; command_category_names[i] != NULL; i++) {
        if (categories & (1u << i)) {
            char name[32] = "@";
            strncat(name, command_category_names[i], sizeof(name) - 2);
            reply_status(r, name);
        }
    }
}

static void reply_tips(struct reply *r, const char *const *tips) {
    size_t n = 0;
    while (tips != NULL && tips[n] != NULL) {
        n++;
    }
    reply_set(r, n);
    for (size_t i = 0; i < n; i++) {
        reply_bulk_text(r, tips[i]);
    }
}

static void reply_command_info(struct reply *r, const struct command_ref *ref) {
    if (ref == NULL) {
        reply_null(r);
        return;
    }
    const struct command *row = ref->row;
    int specs = 0;
    while (specs < KEY_SPECS_MAX && row->keys[specs].begin != BEGIN_NONE) {
        specs++;
    }
    reply_array(r, 10);
    reply_bulk_text(r, ref->full_name);
    reply_int(r, row->arity);
    reply_flags(r, ref->flags, command_flag_names);
    reply_int(r, ref->shown_first);
    reply_int(r, ref->shown_last);
    reply_int(r, ref->shown_step);
    reply_categories(r, ref->categories);
    reply_tips(r, row->tips);
    reply_set(r, (size_t)specs);
    for (int i = 0; i < specs; i++) {
        reply_key_spec(r, &row->keys[i]);
    }
    reply_array(r, ref->subcommands_count);
    for (unsigned i = 0; i < ref->subcommands_count; i++) {
        reply_command_info(r, &ref->subcommands[i]);
    }
}

static unsigned served_count(const struct command_table *table) {
    unsigned n = 0;
    for (unsigned i = 0; i < command_table_top_count(table); i++) {
        n += command_table_top(table, i)->served_name[0] != 0;
    }
    return n;
}

/* Calls `one` for every command that is served. */
static void each_served(const struct command_table *table, struct reply *r,
                        void (*one)(struct reply *r, const struct command_ref *ref)) {
    for (unsigned i = 0; i < command_table_top_count(table); i++) {
        if (command_table_top(table, i)->served_name[0] != 0) {
            one(r, command_table_top(table, i));
        }
    }
}

void command_command(struct exec *x) {
    reply_array(x->reply, served_count(table_of(x)));
    each_served(table_of(x), x->reply, reply_command_info);
}

void command_command_info(struct exec *x) {
    if (x->argc == 2) {
        command_command(x);
        return;
    }
    reply_array(x->reply, x->argc - 2);
    for (uint32_t i = 2; i < x->argc; i++) {
        reply_command_info(x->reply, find_served(x, x->argv[i]));
    }
}

void command_command_count(struct exec *x) {
    reply_int(x->reply, served_count(table_of(x)));
}

/* ---- COMMAND DOCS ---- */

static void reply_pair_text(struct reply *r, const char *name, const char *value) {
    if (value != NULL) {
        reply_bulk_text(r, name);
        reply_bulk_text(r, value);
    }
}

static void reply_args(struct reply *r, const struct command_arg *args) {
    size_t n = 0;
    while (args[n].name != NULL) {
        n++;
    }
    reply_array(r, n);
    for (const struct command_arg *a = args; a->name != NULL; a++) {
        bool nested = a->type == ARG_ONEOF || a->type == ARG_BLOCK;
        unsigned flags = a->flags & ~(unsigned)ARG_NAMES_KEY_SPEC;
        bool has_spec =
            a->type == ARG_KEY ? a->key_spec >= 0 : a->key_spec > 0 || flags != a->flags;
        reply_map(r, (size_t)2 + !nested + has_spec + (a->token != NULL) + (a->summary != NULL) +
                         (a->since != NULL) + (a->deprecated_since != NULL) + (flags != 0) +
                         (a->args != NULL));
        reply_pair_text(r, "name", a->name);
        reply_pair_text(r, "type", arg_type_names[a->type]);
        if (!nested) {
            reply_pair_text(r, "display_text", a->display ? a->display : a->name);
        }
        if (has_spec) {
            reply_pair_int(r, "key_spec_index", a->key_spec);
        }
        reply_pair_text(r, "token", a->token);
        reply_pair_text(r, "summary", a->summary);
        reply_pair_text(r, "since", a->since);
        reply_pair_text(r, "deprecated_since", a->deprecated_since);
        if (flags != 0) {
            reply_bulk_text(r, "flags");
            reply_flags(r, flags, arg_flag_names);
        }
        if (a->args != NULL) {
            reply_bulk_text(r, "arguments");
            reply_args(r, a->args);
        }
    }
}

static void reply_history(struct reply *r, const struct command_history *history) {
    size_t n = 0;
    while (history[n].since != NULL) {
        n++;
    }
    reply_set(r, n);
    for (size_t i = 0; i < n; i++) {
        reply_array(r, 2);
        reply_bulk_text(r, history[i].since);
        reply_bulk_text(r, history[i].change);
    }
}

static void reply_command_docs(struct reply *r, const struct command_ref *ref) {
    const struct command *row = ref->row;
    bool deprecated = row->deprecated_since != NULL, system = row->is_system;
    reply_bulk_text(r, ref->full_name);
    reply_map(r, (size_t)3 + (row->complexity != NULL) + (deprecated || system) + deprecated +
                     (row->replaced_by != NULL) + (row->history != NULL) + (row->args != NULL) +
                     (ref->subcommands_count > 0));
    reply_pair_text(r, "summary", row->summary);
    reply_pair_text(r, "since", row->since);
    reply_pair_text(r, "group", row->group);
    reply_pair_text(r, "complexity", row->complexity);
    if (deprecated || system) {
        reply_bulk_text(r, "doc_flags");
        reply_set(r, (size_t)deprecated + system);
        if (deprecated) {
            reply_status(r, "deprecated");
        }
        if (system) {
            reply_status(r, "syscmd");
        }
    }
    reply_pair_text(r, "deprecated_since", row->deprecated_since);
    reply_pair_text(r, "replaced_by", row->replaced_by);
    if (row->history != NULL) {
        reply_bulk_text(r, "history");
        reply_history(r, row->history);
    }
    if (row->args != NULL) {
        reply_bulk_text(r, "arguments");
        reply_args(r, row->args);
    }
    if (ref->subcommands_count > 0) {
        reply_bulk_text(r, "subcommands");
        reply_map(r, ref->subcommands_count);
        for (unsigned i = 0; i < ref->subcommands_count; i++) {
            reply_command_docs(r, &ref->subcommands[i]);
        }
    }
}

void command_command_docs(struct exec *x) {
    if (x->argc == 2) {
        reply_map(x->reply, served_count(table_of(x)));
        each_served(table_of(x), x->reply, reply_command_docs);
        return;
    }
    /* Names that nobody knows are left out, so they are counted first. */
    size_t n = 0;
    for (uint32_t i = 2; i < x->argc; i++) {
        n += find_served(x, x->argv[i]) != NULL;
    }
    reply_map(x->reply, n);
    for (uint32_t i = 2; i < x->argc; i++) {
        const struct command_ref *ref = find_served(x, x->argv[i]);
        if (ref != NULL) {
            reply_command_docs(x->reply, ref);
        }
    }
}

/* ---- COMMAND LIST ---- */

enum list_filter { LIST_ALL, LIST_NONE, LIST_CATEGORY, LIST_PATTERN };

struct list_choice {
    enum list_filter filter;
    unsigned category;
    struct bytes pattern;
};

static bool choice_takes(const struct list_choice *choice, const struct command_ref *ref) {
    switch (choice->filter) {
    case LIST_ALL:
        return true;
    case LIST_NONE:
        return false;
    case LIST_CATEGORY:
        return (ref->categories & choice->category) != 0;
    case LIST_PATTERN:
        return glob_match(choice->pattern, bytes_of_text(ref->full_name), true);
    }
    return false;
}

/* Counts, and with `r` writes, what is chosen. */
static size_t list_chosen(const struct command_table *table, const struct list_choice *choice,
                          struct reply *r) {
    size_t n = 0;
    for (unsigned i = 0; i < command_table_count(table); i++) {
        const struct command_ref *ref = command_table_at(table, i);
        const struct command_ref *top = ref->container ? ref->container : ref;
        if (top->served_name[0] != 0 && choice_takes(choice, ref)) {
            n++;
            if (r != NULL) {
                reply_bulk_text(r, ref->full_name);
            }
        }
    }
    return n;
}

static bool list_choice_parse(const struct exec *x, struct list_choice *ret) {
    *ret = (struct list_choice){.filter = LIST_ALL};
    if (x->argc == 2) {
        return true;
    }
    if (x->argc != 5 || !bytes_is(x->argv[2], "filterby")) {
        return false;
    }
    if (bytes_is(x->argv[3], "module")) {
        ret->filter = LIST_NONE; /* no command comes from a module */
    } else if (bytes_is(x->argv[3], "aclcat")) {
        ret->filter = LIST_CATEGORY;
        for (unsigned i = 0; command_category_names[i] != NULL; i++) {
            if (bytes_equal_nocase(x->argv[4], bytes_of_text(command_category_names[i]))) {
                ret->category = 1u << i;
            }
        }
    } else if (bytes_is(x->argv[3], "pattern")) {
        ret->filter = LIST_PATTERN;
        ret->pattern = x->argv[4];
    } else {
        return false;
    }
    return true;
}

void command_command_list(struct exec *x) {
    struct list_choice choice;
    if (!list_choice_parse(x, &choice)) {
        reply_error(x->reply, "ERR syntax error");
        return;
    }
    reply_array(x->reply, list_chosen(table_of(x), &choice, NULL));
    list_chosen(table_of(x), &choice, x->reply);
}

/* ---- COMMAND GETKEYS ---- */

/* The command a call would run: its subcommand if it has any and one is named. NULL if there is no
 * such thing. */
static const struct command_ref *find_called(const struct exec *x, const struct bytes *argv,
                                             uint32_t argc) {
    const struct command_ref *ref = command_table_find(table_of(x), argv[0]);
    if (ref == NULL || ref->subcommands_count == 0 || argc == 1) {
        return ref;
    }
    return command_ref_find_sub(ref, argv[1]);
}

static bool takes_keys(const struct command *row) {
    bool any = row->find_keys != NULL;
    for (int i = 0; i < KEY_SPECS_MAX && row->keys[i].begin != BEGIN_NONE; i++) {
        any |= !(row->keys[i].flags & KEY_NOT_KEY);
    }
    return any;
}

static void reply_keys(struct exec *x, bool with_flags) {
    const struct bytes *argv = x->argv + 2;
    uint32_t argc = x->argc - 2;
    const struct command_ref *ref = find_called(x, argv, argc);
    if (ref == NULL) {
        reply_error(x->reply, "ERR Invalid command specified");
        return;
    }
    if (!takes_keys(ref->row)) {
        reply_error(x->reply, "ERR The command has no key arguments");
        return;
    }
    int arity = ref->row->arity;
    if (arity > 0 ? argc != (uint32_t)arity : argc < (uint32_t)-arity) {
        reply_error(x->reply, "ERR Invalid number of arguments specified for command");
        return;
    }
    struct key_ref *refs = arena_alloc(worker_scratch(x->worker), argc * sizeof(*refs));
    int n = command_keys_told(ref, argv, argc, refs, (int)argc);
    bool may_lack = (ref->flags & CMD_NO_MANDATORY_KEYS) != 0;
    if (n < 0 || (n == 0 && !may_lack)) {
        if (may_lack) {
            reply_array(x->reply, 0);
        } else {
            reply_error(x->reply, "ERR Invalid arguments specified for command");
        }
        return;
    }
    reply_array(x->reply, (size_t)n);
    for (int i = 0; i < n; i++) {
        if (with_flags) {
            reply_array(x->reply, 2);
        }
        reply_bulk(x->reply, argv[refs[i].index]);
        if (with_flags) {
            reply_flags(x->reply, refs[i].flags, key_flag_names);
        }
    }
}

void command_command_getkeys(struct exec *x) {
    reply_keys(x, false);
}

void command_command_getkeysandflags(struct exec *x) {
    reply_keys(x, true);
}

static const char *const help_lines[] = {
    "(without subcommand)",
    "    Describe all commands.",
    "COUNT",
    "    Tell how many commands there are.",
    "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
    "    List the names of all commands, or of those chosen.",
    "INFO [<command> ...]",
    "    Describe the named commands, or all.",
    "DOCS [<command> ...]",
    "    Give the documentation of the named commands, or of all.",
    "GETKEYS <command> [<arg> ...]",
    "    Show which arguments of a call are keys.",
    "GETKEYSANDFLAGS <command> [<arg> ...]",
    "    Show which arguments of a call are keys and how each is used.",
    NULL,
};

void command_command_help(struct exec *x) {
    reply_help(x, help_lines);
}
