/* SPDX-License-Identifier: BSD-3-Clause */
/* cjson.decode: JSON as a value of Lua.
 *
 * Tokens are found one after the other in the string, which Lua ends with a NUL; a NUL is the end
 * wherever it stands. A string without escapes is taken as it lies there; one with some is checked
 * as a token, and put together when it is pushed. What depth costs is Lua's stack and C's, and both
 * end where decode_max_depth or Lua's own limit of 8,000 slots says. */
#include "server/script/lib/lib_cjson_private.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum token_kind {
    TOKEN_OBJECT_BEGIN,
    TOKEN_OBJECT_END,
    TOKEN_ARRAY_BEGIN,
    TOKEN_ARRAY_END,
    TOKEN_STRING,
    TOKEN_NUMBER,
    TOKEN_BOOLEAN,
    TOKEN_NULL,
    TOKEN_COLON,
    TOKEN_COMMA,
    TOKEN_END,
    TOKEN_ERROR,
};

struct token {
    enum token_kind kind;
    size_t offset;
    const char *text; // of a string, behind its quote; what is wrong, of an error
    size_t length;    // of a string, up to its second quote
    bool escaped;     // a string has escapes
    bool truth;
    double number;
};

struct decoder {
    const struct cjson *cjson;
    lua_State *lua;
    const char *text, *at;
    struct token token;
    int depth;
};

/* Names what the token is instead of `wanted`. */
static void refuse(struct decoder *decoder, const char *wanted) {
    static const char *const names[] = {
        [TOKEN_OBJECT_BEGIN] = "T_OBJ_BEGIN",
        [TOKEN_OBJECT_END] = "T_OBJ_END",
        [TOKEN_ARRAY_BEGIN] = "T_ARR_BEGIN",
        [TOKEN_ARRAY_END] = "T_ARR_END",
        [TOKEN_STRING] = "T_STRING",
        [TOKEN_NUMBER] = "T_NUMBER",
        [TOKEN_BOOLEAN] = "T_BOOLEAN",
        [TOKEN_NULL] = "T_NULL",
        [TOKEN_COLON] = "T_COLON",
        [TOKEN_COMMA] = "T_COMMA",
        [TOKEN_END] = "T_END",
    };
    const struct token *token = &decoder->token;
    const char *found = token->kind == TOKEN_ERROR ? token->text : names[token->kind];
    luaL_error(decoder->lua, "Expected %s but found %s at character %d", wanted, found,
               (int)(token->offset + 1));
}

static void token_error(struct decoder *decoder, const char *at, const char *what) {
    decoder->token.kind = TOKEN_ERROR;
    decoder->token.offset = (size_t)(at - decoder->text);
    decoder->token.text = what;
}

/* ---- Strings ----------------------------------------------------------------------------------
 */

/* Four hexadecimal digits, or -1. */
static int32_t hex4(const char *text) {
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) {
            return -1;
        }
        value = value << 4 | digit;
    }
    return value;
}

/* The code behind a \u at *at, which may be of two surrogates; -1 when it is none. */
static int32_t unicode_escape(const char **at) {
    int32_t code = hex4(*at + 2);
    if (code < 0) {
        return -1;
    }
    *at += 6;
    if ((code & 0xf800) != 0xd800) {
        return code;
    }
    if ((code & 0x400) || (*at)[0] != '\\' || (*at)[1] != 'u') {
        return -1;
    }
    int32_t low = hex4(*at + 2);
    if (low < 0 || (low & 0xfc00) != 0xdc00) {
        return -1;
    }
    *at += 6;
    return 0x10000 + ((code & 0x3ff) << 10 | (low & 0x3ff));
}

/* What \c stands for, or 0. */
static char short_escape(char c) {
    switch (c) {
    case '"':
    case '\\':
    case '/':
        return c;
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    }
    return 0;
}

static void string_token(struct decoder *decoder) {
    struct token *token = &decoder->token;
    const char *at = decoder->at + 1;
    token->text = at;
    token->escaped = false;
    while (*at != '"') {
        const char *here = at;
        if (!*at) {
            token_error(decoder, at, "unexpected end of string");
            return;
        }
        if (*at != '\\') {
            at++;
            continue;
        }
        token->escaped = true;
        if (at[1] != 'u') {
            at += 2;
            if (!short_escape(here[1])) {
                token_error(decoder, here, "invalid escape code");
                return;
            }
        } else if (unicode_escape(&at) < 0) {
            token_error(decoder, here, "invalid unicode escape code");
            return;
        }
    }
    token->kind = TOKEN_STRING;
    token->length = (size_t)(at - token->text);
    decoder->at = at + 1;
}

static size_t put_utf8(char *to, int32_t code) {
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        to[0] = (char)(0xc0 | code >> 6);
        to[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        to[0] = (char)(0xe0 | code >> 12);
        to[1] = (char)(0x80 | (code >> 6 & 0x3f));
        to[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    to[0] = (char)(0xf0 | code >> 18);
    to[1] = (char)(0x80 | (code >> 12 & 0x3f));
    to[2] = (char)(0x80 | (code >> 6 & 0x3f));
    to[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

/* No escape is shorter than what it stands for. */
static size_t unescape(char *to, const char *text, size_t length) {
    size_t used = 0;
    for (const char *at = text, *end = text + length; at < end;) {
        if (*at != '\\') {
            to[used++] = *at++;
        } else if (at[1] != 'u') {
            to[used++] = short_escape(at[1]);
            at += 2;
        } else {
            used += put_utf8(to + used, unicode_escape(&at));
        }
    }
    return used;
}

/* Its kilobyte must not be in the frame of each level. */
static __attribute__((noinline)) void push_string(lua_State *lua, const struct token *token) {
    char inside[1024];
    if (!token->escaped) {
        lua_pushlstring(lua, token->text, token->length);
    } else if (token->length <= sizeof(inside)) {
        lua_pushlstring(lua, inside, unescape(inside, token->text, token->length));
    } else {
        luaL_checkstack(lua, 2, "in a long string");
        char *bytes = lua_newuserdata(lua, token->length);
        lua_pushlstring(lua, bytes, unescape(bytes, token->text, token->length));
        lua_remove(lua, -2);
    }
}

/* ---- Numbers ----------------------------------------------------------------------------------
 */

/* Is it one that JSON does not have, but strtod: +1, 01, 0x1, inf, nan? */
static bool is_foreign_number(const char *at) {
    if (*at == '+') {
        return true;
    }
    if (*at == '-') {
        at++;
    }
    if (*at == '0') {
        return at[1] == 'x' || at[1] == 'X' || (at[1] >= '0' && at[1] <= '9');
    }
    return strncasecmp(at, "inf", 3) == 0 || strncasecmp(at, "nan", 3) == 0;
}

static void number_token(struct decoder *decoder) {
    struct token *token = &decoder->token;
    const char *at = decoder->at, *digits = at + (*at == '-');
    uint64_t value = 0;
    const char *end = digits;
    while (end - digits < 15 && *end >= '0' && *end <= '9') {
        value = value * 10 + (uint64_t)(*end++ - '0');
    }
    bool whole = end > digits && (*end == ',' || *end == ']' || *end == '}' || !*end);
    if (whole) { // what most are
        token->number = *at == '-' ? -(double)value : (double)value;
    } else {
        char *stopped;
        token->number = strtod(at, &stopped);
        end = stopped;
    }
    if (end == at) {
        token_error(decoder, at, "invalid number");
        return;
    }
    token->kind = TOKEN_NUMBER;
    decoder->at = end;
}

/* ---- Tokens -----------------------------------------------------------------------------------
 */

static void single(struct decoder *decoder, enum token_kind kind) {
    decoder->token.kind = kind;
    decoder->at++;
}

static bool word(struct decoder *decoder, const char *text, size_t length, enum token_kind kind) {
    if (strncmp(decoder->at, text, length) != 0) {
        return false;
    }
    decoder->token.kind = kind;
    decoder->token.truth = *text == 't';
    decoder->at += length;
    return true;
}

/* A number of the processor's that is a word, or anything else that nobody understands. */
static void other_token(struct decoder *decoder) {
    if (decoder->cjson->decode_invalid && is_foreign_number(decoder->at)) {
        number_token(decoder);
    } else {
        token_error(decoder, decoder->at, "invalid token");
    }
}

static void next_token(struct decoder *decoder) {
    while (*decoder->at == ' ' || *decoder->at == '\t' || *decoder->at == '\n' ||
           *decoder->at == '\r') {
        decoder->at++;
    }
    decoder->token.offset = (size_t)(decoder->at - decoder->text);
    switch (*decoder->at) {
    case '{':
        single(decoder, TOKEN_OBJECT_BEGIN);
        return;
    case '}':
        single(decoder, TOKEN_OBJECT_END);
        return;
    case '[':
        single(decoder, TOKEN_ARRAY_BEGIN);
        return;
    case ']':
        single(decoder, TOKEN_ARRAY_END);
        return;
    case ':':
        single(decoder, TOKEN_COLON);
        return;
    case ',':
        single(decoder, TOKEN_COMMA);
        return;
    case '\0':
        decoder->token.kind = TOKEN_END;
        return;
    case '"':
        string_token(decoder);
        return;
    case '-':
    case '0' ... '9':
        if (!decoder->cjson->decode_invalid && is_foreign_number(decoder->at)) {
            token_error(decoder, decoder->at, "invalid number");
        } else {
            number_token(decoder);
        }
        return;
    case 't':
        if (!word(decoder, "true", 4, TOKEN_BOOLEAN)) {
            other_token(decoder);
        }
        return;
    case 'f':
        if (!word(decoder, "false", 5, TOKEN_BOOLEAN)) {
            other_token(decoder);
        }
        return;
    case 'n':
        if (!word(decoder, "null", 4, TOKEN_NULL)) {
            other_token(decoder);
        }
        return;
    case '+':
    case 'i':
    case 'I':
    case 'N':
        other_token(decoder);
        return;
    default:
        token_error(decoder, decoder->at, "invalid token");
    }
}

/* ---- Values -----------------------------------------------------------------------------------
 */

static void descend(struct decoder *decoder, int slots) {
    decoder->depth++;
    if (decoder->depth > decoder->cjson->decode_depth_max || !lua_checkstack(decoder->lua, slots)) {
        luaL_error(decoder->lua, "Found too many nested data structures (%d) at character %d",
                   decoder->depth, (int)(decoder->at - decoder->text));
    }
    lua_newtable(decoder->lua);
}

static void push_value(struct decoder *decoder);

/* After an element: is there another? Then its first token is there. */
static bool goes_on(struct decoder *decoder, enum token_kind end, const char *wanted) {
    next_token(decoder);
    if (decoder->token.kind == end) {
        return false;
    }
    if (decoder->token.kind != TOKEN_COMMA) {
        refuse(decoder, wanted);
    }
    next_token(decoder);
    return true;
}

static void push_object(struct decoder *decoder) {
    descend(decoder, 3); // the table, a key, its value
    next_token(decoder);
    bool more = decoder->token.kind != TOKEN_OBJECT_END;
    while (more) {
        if (decoder->token.kind != TOKEN_STRING) {
            refuse(decoder, "object key string");
        }
        push_string(decoder->lua, &decoder->token);
        next_token(decoder);
        if (decoder->token.kind != TOKEN_COLON) {
            refuse(decoder, "colon");
        }
        next_token(decoder);
        push_value(decoder);
        lua_rawset(decoder->lua, -3);
        more = goes_on(decoder, TOKEN_OBJECT_END, "comma or object end");
    }
    decoder->depth--;
}

static void push_array(struct decoder *decoder) {
    descend(decoder, 2); // the table, an element
    next_token(decoder);
    bool more = decoder->token.kind != TOKEN_ARRAY_END;
    for (int i = 1; more; i++) {
        push_value(decoder);
        lua_rawseti(decoder->lua, -2, i);
        more = goes_on(decoder, TOKEN_ARRAY_END, "comma or array end");
    }
    decoder->depth--;
}

/* The value that begins with the token. */
static void push_value(struct decoder *decoder) {
    lua_State *lua = decoder->lua;
    switch (decoder->token.kind) {
    case TOKEN_STRING:
        push_string(lua, &decoder->token);
        break;
    case TOKEN_NUMBER:
        lua_pushnumber(lua, decoder->token.number);
        break;
    case TOKEN_BOOLEAN:
        lua_pushboolean(lua, decoder->token.truth);
        break;
    case TOKEN_NULL:
        lua_pushlightuserdata(lua, NULL);
        break;
    case TOKEN_OBJECT_BEGIN:
        push_object(decoder);
        break;
    case TOKEN_ARRAY_BEGIN:
        push_array(decoder);
        break;
    default:
        refuse(decoder, "value");
    }
}

int cjson_decode(lua_State *lua) {
    luaL_argcheck(lua, lua_gettop(lua) == 1, 1, "expected 1 argument");
    struct decoder decoder = {.cjson = cjson_of(lua), .lua = lua};
    size_t length;
    decoder.text = decoder.at = luaL_checklstring(lua, 1, &length);
    if (length >= 2 && (!decoder.text[0] || !decoder.text[1])) {
        luaL_error(lua, "JSON parser does not support UTF-16 or UTF-32");
    }
    next_token(&decoder);
    push_value(&decoder);
    next_token(&decoder);
    if (decoder.token.kind != TOKEN_END) {
        refuse(&decoder, "the end");
    }
    return 1;
}
