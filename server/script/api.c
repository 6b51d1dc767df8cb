/* SPDX-License-Identifier: BSD-3-Clause */
/* api: what a script calls: the fields of `redis`, which is `server`, too. Errors say what they say
 * in Valkey, with a code, as tables: {err = "ERR ..."}. */
#include "base/check.h"
#include "base/num.h"
#include "base/sha1.h"
#include "server/acl/acl.h"
#include "server/observe/log.h"
#include "server/script/run.h"
#include "server/worker/worker.h"

#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <string.h>

static struct script_run *running(lua_State *lua) {
    struct script_run *run = script_state_in(lua)->run;
    if (run == NULL) { /* while it is loaded */
        luaL_error(lua, "redis.call/pcall can only be called inside a script invocation");
    }
    return run;
}

/* The table that an error is. */
static void push_error(lua_State *lua, const char *text) {
    lua_createtable(lua, 0, 1);
    lua_pushstring(lua, text);
    lua_setfield(lua, -2, "err");
}

static int raise(lua_State *lua, const char *text) {
    push_error(lua, text);
    return lua_error(lua);
}

/* ---- Calls ---- */

static struct bytes number_word(struct arena *arena, lua_Number number) {
    char *text = arena_alloc(arena, NUM_DOUBLE_BYTES);
    if (number >= -0x1p53 && number <= 0x1p53 && number == (lua_Number)(int64_t)number) {
        return bytes_make(text, num_format_i64(text, (int64_t)number));
    }
    if (isinf(number) || isnan(number)) {
        const char *word = isnan(number) ? "-nan" : "-inf";
        return bytes_of_text(signbit(number) ? word : word + 1);
    }
    return bytes_make(text, num_format_double(text, number));
}

/* The words of a call, which the stack keeps. NULL: it is no call, and *ret_error says why. */
static struct bytes *read_words(lua_State *lua, struct script_run *run, const char **ret_error) {
    int count = lua_gettop(lua);
    if (count == 0) {
        *ret_error = "ERR Please specify at least one argument for this call";
        return NULL;
    }
    struct bytes *argv = arena_alloc(&run->arena, (size_t)count * sizeof *argv);
    for (int i = 0; i < count; i++) {
        size_t len;
        switch (lua_type(lua, i + 1)) {
        case LUA_TSTRING:
            argv[i].ptr = lua_tolstring(lua, i + 1, &len);
            argv[i].len = len;
            break;
        case LUA_TNUMBER:
            argv[i] = number_word(&run->arena, lua_tonumber(lua, i + 1));
            break;
        default:
            *ret_error = "ERR Command arguments must be strings or integers";
            return NULL;
        }
    }
    return argv;
}

/* The reply, in one piece. */
static struct bytes reply_bytes(struct script_run *run) {
    struct iovec parts[64];
    int count = outbuf_vectors(&run->out, parts, 64);
    if (count == 1) {
        return bytes_make(parts[0].iov_base, parts[0].iov_len);
    }
    text_clear(&run->text);
    while (run->out.bytes > 0) {
        count = outbuf_vectors(&run->out, parts, 64);
        size_t bytes = 0;
        for (int i = 0; i < count; i++) {
            text_append(&run->text, parts[i].iov_base, parts[i].iov_len);
            bytes += parts[i].iov_len;
        }
        outbuf_drain(&run->out, bytes);
    }
    return text_bytes(&run->text);
}

static const struct reader_limits limits = {.bulk_len_max = INT64_MAX, .values_max = UINT32_MAX};

/* Most replies are one line or one bulk: those need no reader. */
static bool push_simple(lua_State *lua, struct bytes bytes) {
    int64_t number;
    if (bytes.len < 4) {
        return false;
    }
    struct bytes line = bytes_make(bytes.ptr + 1, bytes.len - 3);
    switch (bytes.ptr[0]) {
    case ':':
        if (!num_parse_i64(line, &number)) {
            return false;
        }
        lua_pushnumber(lua, (lua_Number)number);
        return true;
    case '+':
        lua_createtable(lua, 0, 1);
        lua_pushlstring(lua, line.ptr, line.len);
        lua_setfield(lua, -2, "ok");
        return true;
    case '$': {
        const char *end = memchr(line.ptr, '\r', line.len < 24 ? line.len : 24);
        if (end == NULL ||
            !num_parse_i64(bytes_make(line.ptr, (size_t)(end - line.ptr)), &number) || number < 0) {
            return false;
        }
        lua_pushlstring(lua, end + 2, (size_t)number);
        return true;
    }
    default:
        return false;
    }
}

static void push_reply(lua_State *lua, struct script_run *run) {
    struct bytes bytes = reply_bytes(run);
    if (push_simple(lua, bytes)) {
        return;
    }
    struct reader_reply reply;
    size_t used;
    enum read_status status = reader_run(&run->reader, &limits, bytes, &reply, &used);
    check(status == READ_REPLY);
    script_push_reply(lua, reader_reply_value(&reply), run->resp);
}

static bool is_error(const struct script_run *run) {
    struct iovec part;
    return outbuf_vectors(&run->out, &part, 1) > 0 && *(const char *)part.iov_base == '-';
}

/* An error is raised, or (redis.pcall) given. */
static int call_command(lua_State *lua, bool raises) {
    struct script_run *run = running(lua);
    const char *wrong = NULL;
    if (run->calls) { /* from inside of a call */
        return raise(lua, "ERR call in a call");
    }
    arena_reset(&run->arena);
    struct bytes *argv = run->escapes ? NULL : read_words(lua, run, &wrong);
    struct reply reply;
    reply_init(&reply, &run->out, run->resp);
    if (wrong != NULL) {
        reply_error(&reply, wrong);
    }
    bool answered = wrong != NULL;
    if (argv != NULL) {
        run->calls = true;
        answered = run->call(run, argv, (uint32_t)lua_gettop(lua), &reply);
        run->calls = false;
    }
    if (!answered) {
        lua_sethook(lua, run->look, LUA_MASKCOUNT, 1); /* nobody catches this */
        return raise(lua, run->killed != NULL ? run->killed : "ERR escapes");
    }
    bool failed = is_error(run);
    lua_settop(lua, 0); /* there may have been as many words as a stack takes */
    push_reply(lua, run);
    outbuf_drain(&run->out, run->out.bytes);
    if (failed) {
        if (wrong == NULL) {
            lua_pushboolean(lua, 1);
            lua_setfield(lua, -2, "ignore_error_stats_update");
        }
        if (raises) {
            return lua_error(lua);
        }
    }
    return 1;
}

static int api_call(lua_State *lua) {
    return call_command(lua, true);
}

static int api_pcall(lua_State *lua) {
    return call_command(lua, false);
}

/* ---- Values ---- */

static int single_field(lua_State *lua, const char *name, bool is_error_text) {
    if (lua_gettop(lua) != 1 || lua_type(lua, 1) != LUA_TSTRING) {
        push_error(lua, "ERR wrong number or type of arguments");
        return 1;
    }
    size_t len;
    const char *text = lua_tolstring(lua, 1, &len);
    lua_createtable(lua, 0, 1);
    len = is_error_text ? strlen(text) : len;
    if (is_error_text && len > 0 && text[0] == '-') {
        text++, len--;
    }
    bool has_code = !is_error_text || memchr(text, ' ', len) != NULL;
    if (!has_code) {
        lua_pushliteral(lua, "ERR ");
    }
    lua_pushlstring(lua, text, len);
    if (!has_code) {
        lua_concat(lua, 2);
    }
    lua_setfield(lua, -2, name);
    return 1;
}

static int api_error_reply(lua_State *lua) {
    return single_field(lua, "err", true);
}

static int api_status_reply(lua_State *lua) {
    return single_field(lua, "ok", false);
}

static int api_sha1hex(lua_State *lua) {
    if (lua_gettop(lua) != 1) {
        return raise(lua, "ERR wrong number of arguments");
    }
    size_t len;
    const char *text = lua_tolstring(lua, 1, &len);
    unsigned char sha[SHA1_BYTES];
    char hex[SCRIPT_SHA_TEXT];
    sha1(bytes_make(text != NULL ? text : "", text != NULL ? len : 0), sha);
    script_format_sha(sha, hex);
    lua_pushstring(lua, hex);
    return 1;
}

/* ---- Settings ---- */

static int api_setresp(lua_State *lua) {
    if (lua_gettop(lua) != 1) {
        return raise(lua, "ERR server.setresp() requires one argument.");
    }
    int version = (int)lua_tonumber(lua, 1);
    if (version != 2 && version != 3) {
        return raise(lua, "ERR RESP version must be 2 or 3.");
    }
    running(lua)->resp = (uint8_t)version;
    return 0;
}

static int api_log(lua_State *lua) {
    static const enum log_level levels[] = {LOG_DEBUG, LOG_VERBOSE, LOG_NOTICE, LOG_WARNING};
    int count = lua_gettop(lua);
    if (count < 2) {
        return raise(lua, "ERR server.log() requires two arguments or more.");
    }
    if (!lua_isnumber(lua, 1)) {
        return raise(lua, "ERR First argument must be a number (log level).");
    }
    lua_Number level = lua_tonumber(lua, 1);
    if (!(level >= 0 && level <= 3)) {
        return raise(lua, "ERR Invalid log level.");
    }
    luaL_Buffer buffer;
    luaL_buffinit(lua, &buffer);
    for (int i = 2; i <= count; i++) {
        size_t len;
        const char *text = lua_tolstring(lua, i, &len);
        if (text != NULL) {
            if (i > 2) {
                luaL_addchar(&buffer, ' ');
            }
            luaL_addlstring(&buffer, text, len);
        }
    }
    luaL_pushresult(&buffer);
    const struct script_run *run = script_state_in(lua)->run;
    if (run != NULL && run->before != NULL && run->told < run->before->bytes) {
        return 0; /* it has said so before */
    }
    log_worker(script_state_in(lua)->worker, levels[(int)level], "%s", lua_tostring(lua, -1));
    return 0;
}

static int api_replicate_commands(lua_State *lua) {
    lua_pushboolean(lua, 1);
    return 1;
}

/* Everything is logged by what it did, always: what it says is checked, and nothing follows. */
static int api_set_repl(lua_State *lua) {
    if (lua_gettop(lua) != 1) {
        return raise(lua, "ERR server.set_repl() requires one argument.");
    }
    int flags = (int)lua_tonumber(lua, 1);
    if ((flags & ~3) != 0) {
        return raise(lua, "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or "
                          "REPL_NONE.");
    }
    return 0;
}

static int api_breakpoint(lua_State *lua) {
    lua_pushboolean(lua, 0);
    return 1;
}

static int api_debug(lua_State *lua) {
    return 0;
}

/* ---- Access ---- */

static int api_acl_check_cmd(lua_State *lua) {
    const char *error;
    struct script_run *run = running(lua);
    int count = lua_gettop(lua);
    struct bytes *argv = read_words(lua, run, &error);
    if (argv == NULL) {
        return raise(lua, error);
    }
    const struct command_ref *ref = command_table_find(run->x->worker->server->commands, argv[0]);
    if (ref != NULL && ref->subcommands_count > 0 && count > 1) {
        ref = command_ref_find_sub(ref, argv[1]);
    }
    if (ref == NULL) {
        return raise(lua, "ERR Invalid command passed to server.acl_check_cmd()");
    }
    lua_pushboolean(lua,
                    acl_check(run->user, ref, argv, (uint32_t)count, run->db, NULL) == ACL_MAY);
    return 1;
}

/* ---- The table ---- */

static const luaL_Reg of_all[] = {
    {"call", api_call},
    {"pcall", api_pcall},
    {"error_reply", api_error_reply},
    {"status_reply", api_status_reply},
    {"sha1hex", api_sha1hex},
    {"setresp", api_setresp},
    {"log", api_log},
    {"set_repl", api_set_repl},
    {"acl_check_cmd", api_acl_check_cmd},
    {NULL, NULL},
};
static const luaL_Reg of_scripts[] = {
    {"replicate_commands", api_replicate_commands},
    {"breakpoint", api_breakpoint},
    {"debug", api_debug},
    {NULL, NULL},
};
static const luaL_Reg of_loads[] = {
    {"register_function", script_api_register},
    {"log", api_log},
    {NULL, NULL},
};

static const struct {
    const char *name;
    int value;
} numbers[] = {
    {"LOG_DEBUG", 0}, {"LOG_VERBOSE", 1},  {"LOG_NOTICE", 2}, {"LOG_WARNING", 3}, {"REPL_NONE", 0},
    {"REPL_AOF", 1},  {"REPL_REPLICA", 2}, {"REPL_SLAVE", 2}, {"REPL_ALL", 3},
};
#define LOG_NUMBERS 4

static int version_number(const char *text) {
    int number = 0;
    for (unsigned part = 0; part < 3; part++) {
        int value = 0;
        while (*text >= '0' && *text <= '9') {
            value = value * 10 + (*text++ - '0');
        }
        text += *text == '.';
        number = number << 8 | value;
    }
    return number;
}

static void set_text(lua_State *lua, const char *name, const char *text) {
    lua_pushstring(lua, text);
    lua_setfield(lua, -2, name);
}

static void set_number(lua_State *lua, const char *name, int number) {
    lua_pushnumber(lua, number);
    lua_setfield(lua, -2, name);
}

static void set_functions(lua_State *lua, const luaL_Reg *reg) {
    for (; reg->name != NULL; reg++) {
        lua_pushcfunction(lua, reg->func);
        lua_setfield(lua, -2, reg->name);
    }
}

static void set_numbers(lua_State *lua, size_t count) {
    for (size_t i = 0; i < count; i++) {
        set_number(lua, numbers[i].name, numbers[i].value);
    }
}

static void set_versions(lua_State *lua) {
    set_text(lua, "REDIS_VERSION", SHOAL_REDIS_VERSION);
    set_number(lua, "REDIS_VERSION_NUM", version_number(SHOAL_REDIS_VERSION));
    set_text(lua, "VALKEY_VERSION", SHOAL_VALKEY_VERSION);
    set_number(lua, "VALKEY_VERSION_NUM", version_number(SHOAL_VALKEY_VERSION));
    set_text(lua, "SERVER_NAME", "valkey");
}

void script_api_open(lua_State *lua) {
    set_functions(lua, of_all);
    if (!script_state_in(lua)->of_functions) {
        set_functions(lua, of_scripts);
    }
    set_numbers(lua, sizeof numbers / sizeof *numbers);
    set_versions(lua);
}

void script_api_open_load(lua_State *lua) {
    set_functions(lua, of_loads);
    set_numbers(lua, LOG_NUMBERS);
    set_versions(lua);
}
