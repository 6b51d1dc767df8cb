/* SPDX-License-Identifier: BSD-3-Clause */
/* line: a user's end of a connection, plain or within the TLS of the simulation (tls_stand_in.h).
 *
 * Thread: the world's. Ownership: line_dial gives; line_close and line_reset take.
 */
#ifndef SHOAL_TEST_SIM_LINE_H
#define SHOAL_TEST_SIM_LINE_H

#include "net/rt_sim.h"

struct line;

/* 0 or -ECONNREFUSED. fn(arg) is called when there may be something to read, or room to write. */
int line_dial(struct sim *sim, uint16_t port, bool secure, void (*fn)(void *arg), void *arg,
              struct line **ret_line);
/* What of it was taken, perhaps 0; -errno when the connection is broken. */
ssize_t line_write(struct line *line, const void *data, size_t n);
/* Sends what was taken and did not fit. False: the connection is broken. */
bool line_flush(struct line *line);
/* How many bytes are worth asking for; there may be fewer. */
size_t line_readable(const struct line *line);
/* What there was; -errno when the connection is broken, or speaks otherwise than it should. */
ssize_t line_read(struct line *line, void *ret, size_t n);
/* There will be nothing more to read. */
bool line_over(const struct line *line);
struct sim_peer *line_peer(const struct line *line); /* to look at it */
void line_shutdown(struct line *line);               /* nothing more will be written */
void line_vanish(struct line *line);                 /* the path dies without a word */
void line_close(struct line *line);
void line_reset(struct line *line);

#endif
