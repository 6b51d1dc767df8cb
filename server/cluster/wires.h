/* SPDX-License-Identifier: BSD-3-Clause */
/* wires: the sockets of the bus: who connected to the bus port, whom this node connected to, and
 * whole packets in both directions. Knows how long a packet is (cluster/bus), not what it says.
 *
 * What is sent in a turn of the runtime leaves at its end, in one piece per wire. What is received
 * is kept until a packet is whole; no memory is taken for what has not come.
 *
 * Thread: the cluster's. No function of the user is called from inside a call of his but for
 * wires_turn.
 */
#ifndef SHOAL_SERVER_CLUSTER_WIRES_H
#define SHOAL_SERVER_CLUSTER_WIRES_H

#include "base/text.h"
#include "net/rt.h"
#include "server/config/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls;
struct wire;
struct wires;

struct wires_user {
    /* How many bytes the packet has that begins with these WIRES_HEAD_BYTES; 0: it is none, and the
     * wire is lost. */
    size_t (*packet_bytes)(const struct wire *wire, const void *head);
    void (*accepted)(void *arg, struct wire *wire, const char *peer_ip, const char *local_ip);
    void (*connected)(void *arg, struct wire *wire, const char *peer_ip, const char *local_ip);
    void (*packet)(void *arg, struct wire *wire, const void *packet, size_t bytes);
    /* Its TLS has failed: about to be lost. It was accepted, or connected to, at that address. */
    void (*unsafe)(void *arg, const char *peer_ip, bool accepted, const char *why);
    /* It has ended, or could not be made; it is gone. Not after wire_close. */
    void (*lost)(void *arg, struct wire *wire);
};
#define WIRES_HEAD_BYTES 16

struct wires *wires_new(struct rt *rt, const struct wires_user *user, void *arg);
void wires_free(struct wires *wires); /* after its runtime */
/* Within TLS, whoever connects, from now on; NULL: plainly. */
void wires_use_tls(struct wires *wires, struct tls *tls);

/* Listens on the bus port at all addresses of `bind`. 0, or -1 with the reason. */
int wires_listen(struct wires *wires, const struct config *config, uint16_t port, struct text *err);
/* The end begins: no wire is served any more. May be called again; true: all are gone. */
bool wires_stop(struct wires *wires);

/* To an address or a name (of several addresses each time another one), from bind-source-addr. */
struct wire *wire_connect(struct wires *wires, const struct config *config, const char *host,
                          uint16_t port, void *link);
/* What the user knows it by. */
void wire_set_link(struct wire *wire, void *link);
void *wire_link(const struct wire *wire);
/* Copied. */
void wire_send(struct wire *wire, const void *packet, size_t bytes);
/* Bytes that wait to be sent. */
size_t wire_queued(const struct wire *wire);
/* What it takes, with what has come in part and what waits to be sent. */
size_t wire_memory(const struct wire *wire);
void wire_close(struct wire *wire);

/* At the end of a turn: what was sent leaves. */
void wires_turn(struct wires *wires);
/* Those that are not closed; each may be in its turn. */
void wires_each(struct wires *wires, void (*each)(void *arg, struct wire *wire), void *arg);

#endif
