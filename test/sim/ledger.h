/* SPDX-License-Identifier: BSD-3-Clause */
/* ledger: what was written to a server that may end by force, and whether what is there afterwards
 * can be.
 *
 * A write has a number, and leaves it in one to four keys, by one command or one transaction: as a
 * token at the end of a text or list, as a member of a hash, set or sorted set, as one more on a
 * counter, as the value of a register. So all keys together show which writes are there. After a
 * start the ledger judges:
 *
 *     no write that nobody asked for, or that was gone after an earlier start
 *     no write in some of its keys only
 *     what is there is one moment: with a write all that was known before it was asked for
 *     tokens stand where their replies said
 *     what was promised is there
 *
 * `known` is what somebody was told: by its reply, or by a read. What is promised its caller says.
 *
 * A flush is a write too, of one transaction that empties all keys first: with it, what was known
 * before it was asked for is not there, and of what was asked for before it was known nobody can
 * say.
 *
 * Elements of a pool are put in by one write, and then moved: all of them are there, each once, if
 * that write is, and else none.
 *
 * Thread: the world's. Ownership: ledger_new gives, ledger_free takes.
 */
#ifndef SHOAL_TEST_SIM_LEDGER_H
#define SHOAL_TEST_SIM_LEDGER_H

#include "base/random.h"
#include "base/text.h"
#include "test/sim/wire.h"

#define LEDGER_KEYS     14
#define LEDGER_ELEMENTS 12 /* of each pool */
#define LEDGER_POOLS    3  /* keys of each pool */

struct ledger;

struct ledger *ledger_new(void);
void ledger_free(struct ledger *ledger);

/* A command or MULTI; or a script: one that declares what it is about, or says nothing of it; or
 * one that declares a part, and may be half done when it begins anew. */
enum ledger_manner { LEDGER_COMMANDS, LEDGER_SCRIPT, LEDGER_DIRTY_SCRIPT };
/* Begins a write: its requests are appended to `out`. Returns its number; *ret_replies will come.
 */
uint64_t ledger_write(struct ledger *ledger, struct rng *rng, uint64_t now_ns,
                      enum ledger_manner manner, struct text *out, unsigned *ret_replies);
/* A write that is the only one there when it is done. */
uint64_t ledger_flush(struct ledger *ledger, struct rng *rng, uint64_t now_ns, struct text *out,
                      unsigned *ret_replies);
/* Puts the pools' elements in; then for as long as that is there. 0: they are there. */
uint64_t ledger_fill(struct ledger *ledger, uint64_t now_ns, struct text *out,
                     unsigned *ret_replies);
/* Something of the pools goes elsewhere, or something comes and goes that leaves all keys of the
 * ledger as they are: in another database, with a deadline, large. *ret_replies will come, which
 * say nothing. */
void ledger_move(struct rng *rng, struct text *out, unsigned *ret_replies);
/* A read of the keys that `mask` names, or with all of them of the pools too: three and more
 * replies, the last of which is an array. */
#define LEDGER_ALL ((1u << LEDGER_KEYS) - 1)
void ledger_read(unsigned mask, struct text *out, unsigned *ret_replies);

/* The last reply to a write or read; false, and *why: it cannot be. Errors are no news. What a read
 * shows is known from then on, if it `counts`. */
bool ledger_written(struct ledger *ledger, uint64_t number, uint64_t now_ns,
                    const struct wire_value *value, struct text *why);
bool ledger_seen(struct ledger *ledger, unsigned mask, bool counts, uint64_t now_ns,
                 const struct wire_value *value, struct text *why);

/* All that came to be known after the one moment and before the other must be there from now on.
 * Returns how much that is. */
uint64_t ledger_promise(struct ledger *ledger, uint64_t after_ns, uint64_t before_ns);
/* The server has started anew, and `value` is a read of LEDGER_ALL: false, and *why it cannot be.
 * What is not there will never be. */
bool ledger_judge(struct ledger *ledger, uint64_t now_ns, const struct wire_value *value,
                  struct text *why);

/* So far. */
struct ledger_counts {
    uint64_t writes, known, survived, gone, known_gone, flushed;
};
const struct ledger_counts *ledger_counts(const struct ledger *ledger);

#endif
