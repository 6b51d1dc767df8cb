/* SPDX-License-Identifier: BSD-3-Clause */
/* script_text: blocks, each twice the size of the one before it; that is garbage then. */
#include "server/script/lib/script_text.h"

#include <lauxlib.h>
#include <stdint.h>

void script_text_init(struct script_text *text, lua_State *lua, int index) {
    text->lua = lua;
    text->bytes = text->inside;
    text->used = 0;
    text->size = sizeof(text->inside);
    text->index = index;
}

void script_text_grow(struct script_text *text, size_t n) {
    if (n > SIZE_MAX / 4 || text->size > SIZE_MAX / 4) {
        luaL_error(text->lua, "not enough memory");
    }
    size_t size = text->size * 2;
    if (size < text->used + n) {
        size = text->used + n;
    }
    char *bytes = lua_newuserdata(text->lua, size);
    memcpy(bytes, text->bytes, text->used);
    lua_replace(text->lua, text->index);
    text->bytes = bytes;
    text->size = size;
}
