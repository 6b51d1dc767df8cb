/* SPDX-License-Identifier: BSD-3-Clause */
/* lua_memory: what a Lua state may take.
 *
 * Thread: the state's own.
 */
#ifndef SHOAL_SERVER_SCRIPT_LUA_MEMORY_H
#define SHOAL_SERVER_SCRIPT_LUA_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

struct lua_State;

struct lua_memory {
    struct lua_State *lua; /* NULL while there is none */
    size_t *bytes;         /* that it takes */
    size_t bytes_max;
    size_t low;    /* the least that it took since a collection was last asked for */
    bool collects; /* one was asked for, and much is taken still */
};

/* Of Lua's kind: `memory` is a struct lua_memory. */
void *lua_memory_allocate(void *memory, void *ptr, size_t before, size_t after);
/* After an error for want of memory, outside of Lua: what nobody has any more goes. */
void lua_memory_collect(struct lua_memory *memory);

#endif
