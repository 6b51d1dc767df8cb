/* SPDX-License-Identifier: BSD-3-Clause */
/* help: the reply of a container's HELP.
 *
 * Clients and people look for the header and for the word HELP at the end; what is between is each
 * container's own.
 */
#include "server/help.h"

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

void reply_subcommand_error(struct exec *x) {
    struct text text;
    text_init(&text);
    size_t n = x->argv[1].len < 128 ? x->argv[1].len : 128;
    text_appendf(&text, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try ",
                 (int)n, x->argv[1].ptr);
    name_append(&text, x->argv[0]);
    text_append_text(&text, " HELP.");
    reply_error_bytes(x->reply, text_bytes(&text));
    text_fini(&text);
}
