/* SPDX-License-Identifier: BSD-3-Clause */
/* insecure: what a script may call only if lua-enable-insecure-api says so.
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_SCRIPT_INSECURE_H
#define SHOAL_SERVER_SCRIPT_INSECURE_H

struct lua_State;

/* Lua's own setfenv and newproxy, among the globals, are replaced by ours; getfenv stays. */
void script_insecure_open(struct lua_State *lua);

#endif
