/* SPDX-License-Identifier: BSD-3-Clause */
/* client_filter: which connections CLIENT LIST and CLIENT KILL mean, and how a connection is
 * described in a line.
 *
 * Thread: a filter is made at home and read by all workers while a scatter runs; a client is looked
 * at by its own worker only. Ownership: client_filter_new copies what it needs; whoever made it
 * frees it.
 */
#ifndef SHOAL_SERVER_COMMANDS_CONNECTION_CLIENT_FILTER_H
#define SHOAL_SERVER_COMMANDS_CONNECTION_CLIENT_FILTER_H

#include "base/text.h"
#include "server/client/client.h"

struct client_filter;

/* Reads options from argv[first] on. NULL after an error reply. kill: SKIPME is yes unless said
 * otherwise. */
struct client_filter *client_filter_new(struct exec *x, uint32_t first, bool kill);
/* The one that CLIENT KILL <address> means. */
struct client_filter *client_filter_address(struct bytes address);
void client_filter_free(struct client_filter *filter);

/* now_ms: wall. */
bool client_filter_matches(const struct client_filter *filter, const struct client *client,
                           int64_t now_ms);

/* Letters of the flags field. */
#define CLIENT_FLAGS_TEXT_BYTES 24
void client_flags_text(const struct client *client, char ret[CLIENT_FLAGS_TEXT_BYTES]);
/* The line of CLIENT LIST and CLIENT INFO, without a line end; `redacted` keeps names to ourselves,
 * for a log. input_bytes: of its input that no
 * command has taken yet; argv_bytes: of the command that it runs now, 0 if it runs none. */
void client_describe(struct text *text, const struct client *client, bool redacted,
                     size_t input_bytes, size_t argv_bytes, int64_t now_ms);
/* What of it says who the client is. */
void client_describe_short(struct text *text, const struct client *client, bool redacted);

#endif
