/* SPDX-License-Identifier: BSD-3-Clause */
/* libraries: the libraries of functions that the process has, as FUNCTION LOAD brings them, and
 * their functions by name. They are data, as keys are: snapshots and the log have them.
 *
 * A library never changes: its text and the functions that it has registered are made once
 * (functions.h) and joined to the others, or not, at one moment. Each worker compiles a library
 * when it first calls one of its functions.
 *
 * Thread: any; a lock that is held for a lookup or a change. `libraries_epoch` needs none: who has
 * seen the answer to a change sees another number. Ownership: a library is counted; who was given
 * one gives it back.
 */
#ifndef SHOAL_SERVER_SCRIPT_LIBRARIES_H
#define SHOAL_SERVER_SCRIPT_LIBRARIES_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct libraries;
struct library;
struct script;
struct text;

/* ---- One library ---- */

/* What its first line says: "#!lua name=mylib". */
struct library_header {
    char *name;        /* malloc */
    struct bytes code; /* what is to be compiled: the same lines, the first one empty */
};
/* False, and the error: it says nothing that can be followed. The engine is asked for apart, as
 * what is wrong with it is said last. */
bool library_read_header(struct bytes text, struct library_header *ret, struct text *err);
void library_header_fini(struct library_header *header);

struct library_function {
    struct bytes name;
    struct bytes description; /* ptr NULL: it has none */
    struct script *script;    /* its flags, and where its keys were (scripts.h) */
};

/* Both are copied. */
struct library *library_new(const char *name, struct bytes text);
/* Before it is joined. False, and the error: no such name, or it has one of that name. */
bool library_register(struct library *library, struct bytes name, struct bytes description,
                      unsigned flags, struct text *err);
void library_ref(struct library *library);
void library_unref(struct library *library);
struct bytes library_name(const struct library *library);
struct bytes library_text(const struct library *library);
/* In the order in which they were registered. */
const struct library_function *library_functions(const struct library *library,
                                                 uint32_t *ret_count);

/* ---- All of them ---- */

struct libraries *libraries_new(void);
void libraries_free(struct libraries *libraries);

bool libraries_have(struct libraries *libraries, struct bytes name);
/* The same library, not another one of its name. */
bool libraries_keep(struct libraries *libraries, const struct library *library);
/* The library that has a function of that name, in whatever case, and which of its functions that
 * is. NULL: none has. */
struct library *libraries_find(struct libraries *libraries, struct bytes function,
                               uint32_t *ret_index);

enum libraries_policy {
    LIBRARIES_APPEND,  /* none of these names may be there */
    LIBRARIES_REPLACE, /* those that are go */
    LIBRARIES_FLUSH,   /* all that are there go */
};
/* Takes in all of `from`, which are empty then. False, and the error: nothing has changed. */
bool libraries_join(struct libraries *libraries, struct libraries *from,
                    enum libraries_policy policy, struct text *err);
/* The same for one library; its reference is taken over, if it is true. */
bool libraries_add(struct libraries *libraries, struct library *library,
                   enum libraries_policy policy, struct text *err);
bool libraries_delete(struct libraries *libraries, struct bytes name);
void libraries_flush(struct libraries *libraries);

/* Changes with each change. */
uint64_t libraries_epoch(const struct libraries *libraries);

/* All that are there now, oldest first; libraries_list_free. */
struct libraries_list {
    struct library **list; /* malloc */
    uint32_t count;
};
struct libraries_list libraries_all(struct libraries *libraries);
void libraries_list_free(struct libraries_list *list);

struct libraries_stats {
    uint64_t count, functions, bytes;
};
struct libraries_stats libraries_stats(struct libraries *libraries);

/* Letters, digits and underscores, and at least one of them. */
bool library_name_fits(struct bytes name);
/* A hash of a name whatever its case. */
uint64_t library_name_hash(struct bytes name);

#endif
