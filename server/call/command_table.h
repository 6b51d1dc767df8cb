/* SPDX-License-Identifier: BSD-3-Clause */
/* command_table: finds a command's row by name, and gives every row a small number.
 *
 * Thread: made once before the workers start, read-only afterwards.
 */
#ifndef SHOAL_SERVER_CALL_COMMAND_TABLE_H
#define SHOAL_SERVER_CALL_COMMAND_TABLE_H

#include "server/call/command.h"

struct command_table;

/* A command as it is served: its row, its container if it is a subcommand, its number, its name now
 * (rename-command). */
struct command_ref {
    const struct command *row;
    const struct command_ref *container; /* NULL for a top-level command */
    unsigned id;                         /* 0 .. command_table_count - 1, subcommands included */
    const char *full_name;               /* "get", "client|list"; constant storage of the table */
    const char *served_name; /* top level: the name it answers to; differs after rename-command; ""
                                if disabled */
    unsigned flags;          /* the row's, and movable keys where its specs imply them */
    unsigned categories;     /* explicit and implied */
    bool brief;  /* quick whatever its key holds: timed together with its like (call.h) */
    bool fences; /* after all earlier requests, and before all later ones */
    const struct command_ref *subcommands; /* array */
    unsigned subcommands_count;
    bool simple;   /* it has one key, at argv[first_key], in the selected database */
    bool repeats;  /* who finds it again by its name alone finds the same: no subcommands */
    bool plain;    /* simple, and it repeats, and nothing about it may have to wait, or be refused:
                      GET, LPUSH */
    int element;   /* the row's, of a command that is simple; else 0 */
    int first_key; /* where the first key stands in every call; 0: the arguments say it */
    /* What COMMAND shows as first key, last key and step: also where the keys are not so simple. */
    int shown_first, shown_last, shown_step;
};

/* families: rows, each array ended by one with name NULL, all by NULL (commands/families.h).
 * renames: pairs (old, new) from rename-command, 2 * pairs texts, done in order; new "" disables.
 * When one cannot be done: NULL, *ret_error -ENOENT (no such command) or -EEXIST (the new name is
 * taken), and *ret_bad the name at fault. */
struct command_table *command_table_new(const struct command *const *families,
                                        const struct bytes *renames, size_t pairs, int *ret_error,
                                        struct bytes *ret_bad);
void command_table_free(struct command_table *table);

/* Case-insensitive; a top-level command by the name it is served under. On the hot path. NULL if
 * unknown. */
const struct command_ref *command_table_find(const struct command_table *table, struct bytes name);
/* "get", "config|get": the container by the name it is served under. */
const struct command_ref *command_table_find_full(const struct command_table *table,
                                                  struct bytes name);
const struct command_ref *command_ref_find_sub(const struct command_ref *container,
                                               struct bytes name);

unsigned command_table_count(const struct command_table *table);
const struct command_ref *command_table_at(const struct command_table *table, unsigned id);
/* Top-level commands, in order of their tables. */
unsigned command_table_top_count(const struct command_table *table);
const struct command_ref *command_table_top(const struct command_table *table, unsigned index);

/* All keys of a call. Returns how many (up to max are written), or -1 when the arguments make no
 * sense. */
int command_keys(const struct command *command, const struct bytes *argv, uint32_t argc,
                 struct key_ref *ret, int max);
/* The same as COMMAND GETKEYS tells it: of what has plain key specs only if each of them finds a
 * key, though PFMERGE runs with one, and with a number of keys that no command would take. */
int command_keys_told(const struct command_ref *ref, const struct bytes *argv, uint32_t argc,
                      struct key_ref *ret, int max);

extern const char *const command_category_names[]; /* by bit, NULL-ended */

/* The element that a call of a command with `element` looks up first. */
static inline struct bytes command_element(const struct command_ref *ref, const struct bytes *argv,
                                           uint32_t argc) {
    return argv[ref->element > 0 ? (uint32_t)ref->element : argc + (uint32_t)ref->element];
}

/* Whether it may wait for its keys. */
static inline bool command_may_wait(const struct command *row, const struct bytes *argv,
                                    uint32_t argc) {
    return row->ready != NULL && (row->blocks == NULL || row->blocks(argv, argc));
}

#endif
