/* SPDX-License-Identifier: BSD-3-Clause */
/* stock: how many things of a kind a worker keeps for use again, and how many it can do without.
 *
 * A burst must not be remembered for ever. Of what is in stock, as many were not needed since the
 * last look as there were at the least: those go.
 *
 * Thread: owner worker only.
 */
#ifndef SHOAL_SERVER_WORKER_STOCK_H
#define SHOAL_SERVER_WORKER_STOCK_H

struct stock {
    unsigned count;
    unsigned least; /* since the last look */
};

static inline void stock_put(struct stock *stock) {
    stock->count++;
}

static inline void stock_take(struct stock *stock) {
    stock->count--;
    stock->least = stock->least < stock->count ? stock->least : stock->count;
}

/* The look, once a second or so: takes those out that nobody needed; the caller frees as many. */
static inline unsigned stock_surplus(struct stock *stock) {
    unsigned surplus = stock->least;
    stock->count -= surplus;
    stock->least = stock->count;
    return surplus;
}

#endif
