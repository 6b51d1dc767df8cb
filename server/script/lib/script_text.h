/* SPDX-License-Identifier: BSD-3-Clause */
/* script_text: bytes that a library of scripts puts together.
 * Thread: any; whoever the Lua state belongs to.
 *
 * Lua's own luaL_Buffer keeps what it has on the stack, and cannot be used while a table is walked
 * there. This one has the first kilobyte in itself and then blocks of twice the size, which are
 * userdata at one index of the stack: so the collector has them, and an error leaves nothing
 * behind. It needs two free slots of the stack whenever bytes are added. */
#ifndef SHOAL_SERVER_SCRIPT_LIB_SCRIPT_TEXT_H
#define SHOAL_SERVER_SCRIPT_LIB_SCRIPT_TEXT_H

#include <lua.h>
#include <stddef.h>
#include <string.h>

struct script_text {
    lua_State *lua;
    char *bytes;
    size_t used, size;
    int index; // where the stack has the block that `bytes` lie in, once they do not fit `inside`
    char inside[1024];
};

/* What the stack has at `index` is the text's from here on. */
void script_text_init(struct script_text *text, lua_State *lua, int index);
/* Makes room for n more bytes; may raise an error. */
void script_text_grow(struct script_text *text, size_t n);

static inline void script_text_reserve(struct script_text *text, size_t n) {
    if (text->size - text->used < n) {
        script_text_grow(text, n);
    }
}

static inline void script_text_add(struct script_text *text, const void *bytes, size_t n) {
    script_text_reserve(text, n);
    memcpy(text->bytes + text->used, bytes, n);
    text->used += n;
}

static inline void script_text_add_char(struct script_text *text, char c) {
    script_text_reserve(text, 1);
    text->bytes[text->used++] = c;
}

/* Pushes what was added as a string. */
static inline void script_text_push(const struct script_text *text) {
    lua_pushlstring(text->lua, text->bytes, text->used);
}

#endif
