/* SPDX-License-Identifier: BSD-3-Clause */
/* register: what a library registers while it is loaded.
 *
 * Thread: the worker's that loads it.
 */
#ifndef SHOAL_SERVER_SCRIPT_REGISTER_H
#define SHOAL_SERVER_SCRIPT_REGISTER_H

#include "base/bytes.h"

#include <stdint.h>

struct lua_State;

/* A function as it was registered: nobody has looked at its name yet. */
struct registered {
    struct bytes name, description; /* malloc; description.ptr NULL: none */
    unsigned flags;
    int function; /* in the state's registry */
};

struct function_load {
    struct registered *list; /* malloc */
    uint32_t count, capacity;
    uint64_t end_ns; /* rt_mono_ns: it may load until then; UINT64_MAX: as long as it takes */
};

/* Gives back what is in the registry, too. */
void function_load_fini(struct function_load *load, struct lua_State *lua);

#endif
