/* SPDX-License-Identifier: BSD-3-Clause */
/* versions: which write each read saw, and the order of the versions of lists and counters.
 *
 * Thread: one at a time. Belongs to the history it was made of, which must not change meanwhile.
 *
 * Values are unique, so a read names its writer; a list that was read names the order of all its
 * appends, and so does the length that an append was answered with: the observations that K.
 * Kingsbury and P. Alvaro build on in "Elle: inferring isolation anomalies from experimental
 * observations", VLDB 2021. What is wrong without any graph is told here: values that nobody wrote,
 * aborted, intermediate and torn reads, duplicates, reads of one key that disagree, lost updates.
 * The names are Elle's, and Adya's ("Weak consistency", 1999) behind them.
 */
#ifndef SHOAL_TEST_CHECKER_VERSIONS_H
#define SHOAL_TEST_CHECKER_VERSIONS_H

#include "test/checker/verdict.h"

#define VERSION_NONE UINT32_MAX       /* nothing is known */
#define VERSION_NIL  (UINT32_MAX - 1) /* a register before its first write */
#define OP_NONE      UINT32_MAX

/* A value that was written to a register or appended to a list, by whatever outcome. */
struct write {
    uint32_t key;
    uint32_t op;
    uint64_t value;
    uint32_t step;
    uint32_t place; /* in the list's order, 0 when not known */
    bool seen;      /* some read shows it */
};

/* What a committed operation did to one key, all its steps on it taken together. A version of a
 * register is the number of its write, of a list or counter the number of appends before it. */
struct access {
    uint32_t op;
    uint32_t key;
    bool reads;      /* what was there before it, known as `before` */
    bool writes;     /* leaves `after` */
    uint32_t before; /* VERSION_NONE when the read makes no sense (and was told) */
    uint32_t after;  /* of lists and counters 0 when the place is not known */
};

/* The appends of one list or the increments of one counter, by place. */
struct places {
    uint32_t *steps;  /* [place], VERSION_NONE where nobody is known; place 0 is not used */
    uint32_t max;     /* the last place that is known */
    uint32_t cap;     /* places there is room for */
    uint32_t longest; /* length of the longest list that was read */
    uint32_t longest_step;
    uint32_t longest_op;
};

struct versions {
    const struct history *history;
    struct write *writes; /* by key and value */
    size_t write_count;
    size_t write_cap;
    struct access *accesses; /* by operation */
    size_t access_count;
    size_t access_cap;
    size_t *access_first;  /* [op], and one more at the end */
    uint32_t *step_ops;    /* [step]: its operation */
    bool *committed;       /* [op]: ok, or unknown and seen */
    struct places *places; /* [key] */
};

/* Tells the verdict what is wrong at sight. */
void versions_init(struct versions *versions, const struct history *history,
                   struct verdict *verdict);
void versions_fini(struct versions *versions);

/* The number of the write of a value, or VERSION_NONE. */
uint32_t versions_find(const struct versions *versions, uint32_t key, uint64_t value);
/* What a committed operation did to a key, or NULL. */
const struct access *versions_access(const struct versions *versions, uint32_t op, uint32_t key);
/* Who made a version; OP_NONE for the one before all writes and for an increment that nobody knows.
 */
uint32_t versions_writer(const struct versions *versions, uint32_t key, uint32_t version);

#endif
