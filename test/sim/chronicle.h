/* SPDX-License-Identifier: BSD-3-Clause */
/* chronicle: what was written to a primary and its replicas, and whether what one of them shows can
 * be.
 *
 * A write has a number and leaves it at the end of one to four lists, in several databases, by one
 * command, one transaction or one script. So each list is an order of writes, and all of them
 * together are a state. Of a state:
 *
 *     no write that nobody asked for, in a list that it was not for, twice, or that was lost before
 *     no write in some of its lists only
 *     where a reply said a write stands there it stands; what was answered before another was asked
 *       for stands before it; no two lists contradict each other
 *     what must be there is there
 *     at rest: it is a prefix: with a write all that was known before that was asked for
 *
 * Thread: the world's. Ownership: chronicle_new gives, chronicle_free takes.
 */
#ifndef SHOAL_TEST_SIM_CHRONICLE_H
#define SHOAL_TEST_SIM_CHRONICLE_H

#include "base/random.h"
#include "base/text.h"
#include "test/sim/wire.h"

struct chronicle;

struct chronicle *chronicle_new(void);
void chronicle_free(struct chronicle *chronicle);

/* Begins a write: its requests are appended to `out`. Returns its number; *ret_replies will come.
 */
uint64_t chronicle_write(struct chronicle *chronicle, struct rng *rng, uint64_t now_ns,
                         struct text *out, unsigned *ret_replies);
/* The last of its replies; an error is no news. False, and *why: it cannot be. */
bool chronicle_written(struct chronicle *chronicle, uint64_t number, uint64_t now_ns,
                       const struct wire_value *value, struct text *why);
/* A read of all there is: the last of *ret_replies is what is judged, an array if it went well. */
void chronicle_read(struct text *out, unsigned *ret_replies);

/* What a state that was read must be. */
struct chronicle_claim {
    bool at_rest;     /* nothing moved while it was read */
    uint64_t must_ns; /* what was known by then is there; 0: nothing must */
};
bool chronicle_judge(const struct chronicle *chronicle, const struct chronicle_claim *claim,
                     const struct wire_value *value, struct text *why);
/* The state is the truth from now on: what is not there will never be. Returns how many of those
 * were known. */
uint64_t chronicle_settle(struct chronicle *chronicle, const struct wire_value *value);
/* Known and not lost. */
uint64_t chronicle_known(const struct chronicle *chronicle);

#endif
