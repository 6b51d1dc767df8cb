/* SPDX-License-Identifier: BSD-3-Clause */
/* tls_stand_in: instead of OpenSSL: records that hide and number what is in them, and a handshake
 * of two round trips' worth of steps, with nothing drawn by anybody. A run over it repeats exactly.
 * net/tls_stream.c is the real one.
 *
 * It takes the place of net/tls.c and of those functions of OpenSSL that a stream calls: a program
 * of the simulator that is linked with it has no other TLS. Users of the simulation speak it by
 * struct secure.
 *
 *     client   'H' hello                  'F' finished, 'D' data ...
 *     server             'S' hello                         'T' ticket, 'D' data ... 'E' end
 *
 * A record: its type, the length of what is in it (two bytes), a check of both and of its number
 * (two bytes), and the content, masked. One that is lost, doubled or out of its place does not
 * pass.
 *
 * Thread: one at a time. Ownership: secure_init, secure_fini.
 */
#ifndef SHOAL_TEST_SIM_TLS_STAND_IN_H
#define SHOAL_TEST_SIM_TLS_STAND_IN_H

#include "base/bytes.h"
#include "base/text.h"

#include <sys/types.h>

#define SECURE_HEAD_BYTES  5
#define SECURE_PLAIN_BYTES (16 * 1024) /* of a record, at most */

enum secure_type {
    SECURE_CLIENT_HELLO = 'H',
    SECURE_SERVER_HELLO = 'S',
    SECURE_FINISHED = 'F',
    SECURE_TICKET = 'T',
    SECURE_DATA = 'D',
    SECURE_END = 'E',
};

/* One side of a connection: how many records it has sent and received. */
struct secure {
    uint32_t sent, received;
};

/* Appends a record. */
void secure_seal(struct secure *secure, enum secure_type type, struct bytes plain, struct text *to);
/* The record at the start of `input`, whose content is appended: its bytes, 0 when it is not all
 * there, -1 when it is none. */
ssize_t secure_open(struct secure *secure, struct bytes input, enum secure_type *ret_type,
                    struct text *plain);

/* Calls fn at each step of a server's handshake: it takes a while. NULL: none does. */
void tls_stand_in_on_step(void (*fn)(void *arg), void *arg);
/* Records that servers have not taken, since the last tls_stand_in_on_step: what users send is in
 * order. */
unsigned tls_stand_in_refusals(void);

#endif
