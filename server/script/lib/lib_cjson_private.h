/* SPDX-License-Identifier: BSD-3-Clause */
/* lib_cjson_private: what the two directions of cjson share.
 * Thread: any; whoever the Lua state belongs to. */
#ifndef SHOAL_SERVER_SCRIPT_LIB_LIB_CJSON_PRIVATE_H
#define SHOAL_SERVER_SCRIPT_LIB_LIB_CJSON_PRIVATE_H

#include <lua.h>

enum cjson_invalid { CJSON_INVALID_REFUSED, CJSON_INVALID_AS_IS, CJSON_INVALID_AS_NULL };

/* The configuration: a userdata, the first upvalue of all functions that one call of `new` has
 * made. */
struct cjson {
    int sparse_convert; // a table with too many holes becomes an object; an error otherwise
    int sparse_ratio; // how many times larger the largest index may be than there are elements; 0:
                      // any
    int sparse_safe;  // up to this index there are never too many holes
    int encode_depth_max;
    int encode_invalid; // enum cjson_invalid
    int encode_precision;
    int encode_keep; // can be set and read, and changes nothing: no buffer outlives its call here
    int decode_depth_max;
    int decode_invalid;
};

static inline struct cjson *cjson_of(lua_State *lua) {
    return lua_touserdata(lua, lua_upvalueindex(1));
}

int cjson_encode(lua_State *lua);
int cjson_decode(lua_State *lua);

#endif
