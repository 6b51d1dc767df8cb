/* SPDX-License-Identifier: BSD-3-Clause */
/* lib: what scripts have beside Lua's own libraries: cjson, cmsgpack, struct and bit.
 * Thread: any; whoever the Lua state belongs to.
 *
 * Each function makes one library, sets it as a global of the state, and leaves the stack as it
 * was. It may raise a Lua error, for want of memory. All that a library allocates belongs to the
 * state: an error, which is a jump, leaves nothing behind, and the limit of the state's allocator
 * holds for it. None has variables in C; what can be set (cjson's configuration) lives in the state
 * and holds for all later scripts of it, as in Valkey.
 *
 * Values, results and texts of errors are Valkey's, which has the libraries of Mark Pulford
 * (cjson), Salvatore Sanfilippo (cmsgpack), Roberto Ierusalimschy (struct) and Mike Pall (bit),
 * with changes of its own. */
#ifndef SHOAL_SERVER_SCRIPT_LIB_LIB_H
#define SHOAL_SERVER_SCRIPT_LIB_LIB_H

struct lua_State;

void script_lib_bit(struct lua_State *lua);
void script_lib_cjson(struct lua_State *lua);
void script_lib_cmsgpack(struct lua_State *lua);
void script_lib_struct(struct lua_State *lua);
/* Not one of them, but a change of Lua's own: after luaopen_string. */
void script_lib_patterns(struct lua_State *lua);

#endif
