/* SPDX-License-Identifier: BSD-3-Clause */
/* lua_memory: see the header. Why so: Lua 5.1 has no collection in need. What its allocator refuses
 * is an error at once, however much of what is taken is garbage; and by itself it begins to collect
 * when twice as much is taken as was in use, which may be beyond the bound. The allocator cannot
 * collect itself, as Lua is in the middle of something. But it can have Lua do so at its next safe
 * point, which follows on the heels of nearly every allocation: it says that it is due
 * (LUA_GCRESTART), and that it goes on until it is through (a step multiplier of 0).
 *
 * That is asked for when half of the room is used that was there after the last time. So what is
 * in use may come close to the bound, at the price of more collections the closer it is; a script
 * that keeps all that it makes has some thirty of them before it is refused, and a collector that
 * was stopped by a script starts again.
 */
#include "server/script/lua_memory.h"

#include "base/check.h"

#include <lua.h>
#include <stdlib.h>

/* Lua's own (LUAI_GCMUL). */
#define STEP_MULTIPLIER 200

/* Half of the room is used. Where that is follows from how little was taken, which changes with
 * every collection; so what is far from it is told from the bound alone. */
static bool is_half_full(const struct lua_memory *memory) {
    size_t bytes = *memory->bytes;
    if (LIKELY(bytes <= memory->bytes_max / 2)) {
        return false;
    }
    size_t low = memory->low < memory->bytes_max ? memory->low : memory->bytes_max;
    return bytes > low + (memory->bytes_max - low) / 2;
}

static void ask_to_collect(struct lua_memory *memory) {
    if (memory->lua != NULL) {
        lua_gc(memory->lua, LUA_GCSETSTEPMUL, 0);
        lua_gc(memory->lua, LUA_GCRESTART, 0);
        memory->collects = true;
    }
}

/* Less is taken than before. */
static void note_less(struct lua_memory *memory) {
    size_t bytes = *memory->bytes;
    if (bytes < memory->low) {
        memory->low = bytes;
    }
    if (memory->collects && bytes < memory->bytes_max / 4 && memory->lua != NULL) {
        memory->collects = false;
        lua_gc(memory->lua, LUA_GCSETSTEPMUL, STEP_MULTIPLIER);
    }
}

void *lua_memory_allocate(void *arg, void *ptr, size_t before, size_t after) {
    struct lua_memory *memory = arg;
    if (after == 0) {
        free(ptr);
        *memory->bytes -= before;
        note_less(memory);
        return NULL;
    }
    size_t others = *memory->bytes - before;
    bool grows = after > before;
    if (grows && (after > memory->bytes_max || others > memory->bytes_max - after)) {
        ask_to_collect(memory);
        return NULL;
    }
    void *block = ptr == NULL ? malloc(after) : realloc(ptr, after);
    if (block == NULL) {
        return NULL;
    }
    *memory->bytes = others + after;
    if (grows && UNLIKELY(is_half_full(memory))) {
        ask_to_collect(memory);
        memory->low = *memory->bytes;
    } else if (!grows) {
        note_less(memory);
    }
    return block;
}

void lua_memory_collect(struct lua_memory *memory) {
    lua_gc(memory->lua, LUA_GCCOLLECT, 0);
    memory->low = *memory->bytes;
}
