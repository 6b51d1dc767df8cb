/* SPDX-License-Identifier: BSD-3-Clause */
/* logs: SLOWLOG and COMMANDLOG: what users say of the command logs (observe/commandlog.h). The
 * first is the second as it was when there was one log.
 */
#include "base/num.h"
#include "server/call/help.h"
#include "server/commands/observe/observe_commands.h"
#include "server/observe/commandlog.h"

#define GET_DEFAULT 10

static bool count_at(const struct exec *x, uint32_t i, int64_t *ret) {
    if (!num_parse_i64(x->argv[i], ret) || *ret < -1 || *ret > INT64_MAX / 2) {
        reply_error(x->reply, "ERR count should be greater than or equal to -1");
        return false;
    }
    return true;
}

static bool kind_at(const struct exec *x, uint32_t i, enum commandlog_kind *ret) {
    static const char *const names[COMMANDLOG_KINDS] = {
        [COMMANDLOG_SLOW] = "slow",
        [COMMANDLOG_LARGE_REQUEST] = "large-request",
        [COMMANDLOG_LARGE_REPLY] = "large-reply",
    };
    for (int kind = 0; kind < COMMANDLOG_KINDS; kind++) {
        if (bytes_equal_nocase(x->argv[i], bytes_of_text(names[kind]))) {
            *ret = (enum commandlog_kind)kind;
            return true;
        }
    }
    reply_error(x->reply,
                "ERR type should be one of the following: slow, large-request, large-reply");
    return false;
}

void command_slowlog_get(struct exec *x) {
    int64_t count = GET_DEFAULT;
    if (x->argc > 3) {
        reply_subcommand_error(x);
    } else if (x->argc == 2 || count_at(x, 2, &count)) {
        commandlog_get(x, COMMANDLOG_SLOW, count);
    }
}

void command_slowlog_len(struct exec *x) {
    commandlog_len(x, COMMANDLOG_SLOW);
}

void command_slowlog_reset(struct exec *x) {
    commandlog_reset(x, COMMANDLOG_SLOW);
}

void command_commandlog_get(struct exec *x) {
    int64_t count;
    enum commandlog_kind kind;
    if (count_at(x, 2, &count) && kind_at(x, 3, &kind)) {
        commandlog_get(x, kind, count);
    }
}

void command_commandlog_len(struct exec *x) {
    enum commandlog_kind kind;
    if (kind_at(x, 2, &kind)) {
        commandlog_len(x, kind);
    }
}

void command_commandlog_reset(struct exec *x) {
    enum commandlog_kind kind;
    if (kind_at(x, 2, &kind)) {
        commandlog_reset(x, kind);
    }
}

static const char *const slowlog_help[] = {
    "GET [<count>]",
    "    Show the newest entries, 10 unless told; -1: all. Each is its number, when it",
    "    was, how many microseconds it took, its words, the client's address and name.",
    "LEN",
    "    Tell how many entries there are.",
    "RESET",
    "    Forget all entries.",
    NULL,
};

void command_slowlog_help(struct exec *x) {
    reply_help(x, slowlog_help);
}

static const char *const commandlog_help[] = {
    "GET <count> <type>",
    "    Show so many of the newest entries of a log; -1: all. The types are slow,",
    "    large-request and large-reply. An entry is its number, when it was, the",
    "    microseconds or bytes, the words, the client's address and name.",
    "LEN <type>",
    "    Tell how many entries a log has.",
    "RESET <type>",
    "    Forget the entries of a log.",
    NULL,
};

void command_commandlog_help(struct exec *x) {
    reply_help(x, commandlog_help);
}
