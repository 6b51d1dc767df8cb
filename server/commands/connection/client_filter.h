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

#include "server/client/describe.h"

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

#endif
