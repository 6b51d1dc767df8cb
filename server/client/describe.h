/* SPDX-License-Identifier: BSD-3-Clause */
/* describe: a client in words, as CLIENT LIST and the log have it.
 *
 * Thread: the client's home.
 */
#ifndef SHOAL_SERVER_CLIENT_DESCRIBE_H
#define SHOAL_SERVER_CLIENT_DESCRIBE_H

#include "base/text.h"
#include "server/client/client.h"
#include "server/observe/line.h"

/* Letters of the flags field. */
#define CLIENT_FLAGS_TEXT_BYTES 24
void client_flags_text(const struct client *client, char ret[CLIENT_FLAGS_TEXT_BYTES]);
/* Bytes of its input that are not parsed yet, without those of a large value. */
size_t client_input_unparsed(const struct client *client);
/* The line of CLIENT LIST and CLIENT INFO, without a line end; `redacted` keeps names to ourselves,
 * for a log. input_bytes: client_input_unparsed, or what is behind the command that it runs now;
 * argv_bytes: of that, 0 if it runs none. */
void client_describe(struct text *text, const struct client *client, bool redacted,
                     size_t input_bytes, size_t argv_bytes, int64_t now_ms);
/* What of it says who the client is. */
void client_describe_short(struct text *text, const struct client *client, bool redacted);
/* As Valkey has it, whose clock of this is one of whole seconds: they are counted by their turns.
 */
static inline int64_t client_seconds_since(int64_t then_ms, int64_t now_ms) {
    return now_ms / 1000 - then_ms / 1000;
}

/* ---- In the log ---- */

/* Says what CLIENT LIST says of a client between two texts. */
void log_client(struct worker *worker, enum log_level level, const char *before,
                const struct client *client, const char *after);
/* A client broke the protocol; `rest` is its input from there on. */
void log_protocol_error(struct worker *worker, const struct client *client, struct bytes error,
                        struct bytes rest);
/* Somebody speaks HTTP to us: said at most once a minute a worker, the connection is closed by the
 * caller. */
void log_http(struct worker *worker, const struct client *client);

#endif
