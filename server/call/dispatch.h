/* SPDX-License-Identifier: BSD-3-Clause */
/* dispatch: from bytes to commands: parse, look up, check, route, run.
 *
 * Thread: home worker.
 */
#ifndef SHOAL_SERVER_CALL_DISPATCH_H
#define SHOAL_SERVER_CALL_DISPATCH_H

struct client;

/* So many requests of a client are looked at together. */
#define DISPATCH_WINDOW 32

/* Works off the client's input until it is used up or must wait. */
void client_process(struct client *client);

#endif
