/* SPDX-License-Identifier: BSD-3-Clause */
/* functions: the functions that a worker has compiled, in a Lua state of their own: what a library
 * keeps in its locals lasts from call to call, for as long as the library is one of the libraries.
 * Each worker has its own of it, and loads a library when it first calls a function of it.
 *
 * Thread: the worker's own, which is also the one that runs a function with all shards in view.
 */
#ifndef SHOAL_SERVER_SCRIPT_FUNCTIONS_H
#define SHOAL_SERVER_SCRIPT_FUNCTIONS_H

#include "server/script/libraries.h"
#include "server/script/state.h"

struct command_ref;
struct functions;

/* How long FUNCTION LOAD lets a library load. 0: as long as it takes. */
#define FUNCTIONS_LOAD_MS 500

/* Makes a library of its text: reads its first line, compiles the rest, and runs it, which
 * registers its functions. NULL, and the error, if it cannot be. `must_be_new`: that one of its
 * name is there already is an error, said before it is compiled. */
struct library *functions_make_library(struct worker *worker, struct bytes text,
                                       struct libraries *must_be_new, int64_t limit_ms,
                                       struct text *err);

/* A function that can be called. Until the next of these calls. */
struct function_local {
    struct script_state *state;
    const struct library_function *function;
    int reference; /* in the state's registry */
};
/* False, and the error: there is none of that name, or its library no longer loads. */
bool functions_find(struct worker *worker, struct bytes name, struct function_local *ret,
                    struct text *err);
/* Gives back one that was made, and did not become one of the libraries. */
void functions_forget(struct worker *worker, struct library *library);
/* What has been deleted or replaced goes here, too. */
void functions_keep_up(struct worker *worker);
void functions_free(struct worker *worker);

/* Whether what a call runs is known to go everywhere (or not at all): asked where it is routed. */
bool functions_is_known_everywhere(struct worker *worker, const struct command_ref *ref,
                                   const struct bytes *argv);
/* The flags of the command, with what the function or the script says of itself: one that says that
 * it only reads neither writes nor may do so. */
unsigned functions_command_flags(struct worker *worker, const struct command_ref *ref,
                                 const struct bytes *argv);

#endif
