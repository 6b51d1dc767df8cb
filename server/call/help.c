/* SPDX-License-Identifier: BSD-3-Clause */
/* help: the reply of a container's HELP.
 *
 * Clients and people look for the header and for the word HELP at the end; what is between is each
 * container's own.
 */
#include "server/call/help.h"

#include "base/text.h"

/* The container's name as the client wrote it, in capitals, cut to a sane length. */
static void name_append(struct text *text, struct bytes name) {
    for (size_t i = 0; i < name.len && i < 128; i++) {
        char c = name.ptr[i];
        text_append_char(text, c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c);
    }
}

void reply_help(struct exec *x, const char *const *lines) {
    size_t n = 0;
    while (lines[n] != NULL) {
        n++;
    }
    struct text header;
    text_init(&header);
    name_append(&header, x->argv[0]);
    text_append_text(&header, " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    reply_array(x->reply, n + 3);
    reply_status(x->reply, header.ptr);
    text_fini(&header);
    for (size_t i = 0; i < n; i++) {
        reply_status(x->reply, lines[i]);
    }
    reply_status(x->reply, "HELP");
    reply_status(x->reply, "    Show these lines.");
}

static void reply_try_help(struct reply *reply, const char *what, struct bytes container,
                           struct bytes name) {
    struct text text;
    text_init(&text);
    text_appendf(&text, "ERR %s '%.*s'. Try ", what, (int)(name.len < 128 ? name.len : 128),
                 name.ptr);
    name_append(&text, container);
    text_append_text(&text, " HELP.");
    reply_error_bytes(reply, text_bytes(&text));
    text_fini(&text);
}

void reply_subcommand_error(struct exec *x) {
    reply_try_help(x->reply, "unknown subcommand or wrong number of arguments for", x->argv[0],
                   x->argv[1]);
}

void reply_subcommand_unknown(struct reply *reply, struct bytes container, struct bytes name) {
    reply_try_help(reply, "unknown subcommand", container, name);
}
