/* SPDX-License-Identifier: BSD-3-Clause */
/* history: what clients asked of a server, when, and what they were told.
 *
 * Thread: one at a time. The history owns all that is added; pointers into it are good until the
 * next addition.
 *
 * An operation is a transaction: one or more steps that are claimed to happen at one moment between
 * call and return. A plain SET is an operation of one step, GETSET one of two (read, then write),
 * EXEC one of as many as were queued. A key is a register, a list or a counter, by the steps that
 * name it, and is never deleted:
 *   register  written with values that no one else writes to that key; 0 is "no value yet"
 *   list      appended to with tokens that no one else appends to that key, read whole
 *   counter   incremented by one, from zero
 * A process is one connection: its operations are added in the order in which it sent them. After
 * an operation whose outcome is unknown a client goes on as another process.
 *
 * Times are nanoseconds of one clock that never goes back (or of a simulation); an operation that
 * returns at the very time at which another is called counts as concurrent with it.
 *
 * The text form has a line per call and a line per return, so that a client that dies has told what
 * it was about to do, and the files of many clients may be joined with cat:
 *   > 7 1000 GETSET w:k1=55           process 7 sends at 1000; the label is for people
 *   < 7 1900 ok r:k1=54 w:k1=55       the oldest open call of 7 is answered; its steps, anew
 *   < 7 2000 fail                     surely did nothing (an error, EXEC's nil)
 *   < 7 2000 unknown                  may have happened, then or later
 * What is never answered is unknown too. Steps:
 *   w:key=value, r:key=value|nil, a:key=token, a:key=token@place, l:key=token,token,...
 *   i:key=result|?, c:key=value
 * A place counts appends, the first is 1. A line with # is a comment; "! writes" or "! strict"
 * anywhere is the field `order`.
 */
#ifndef SHOAL_TEST_CHECKER_HISTORY_H
#define SHOAL_TEST_CHECKER_HISTORY_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum op_outcome {
    OP_OK,
    OP_FAIL,   /* did not happen */
    OP_UNKNOWN /* happened at some time after its call, or never */
};

enum step_kind {
    STEP_WRITE,
    STEP_READ,
    STEP_APPEND,
    STEP_READ_LIST,
    STEP_INCR,
    STEP_READ_COUNTER,
};

enum key_kind { KEY_UNUSED, KEY_REGISTER, KEY_LIST, KEY_COUNTER, KEY_MIXED };

struct step {
    enum step_kind kind;
    uint32_t key;
    uint64_t value;     /* what was written, read, appended; what INCR answered, 0 if not known */
    uint64_t place;     /* of an append that was answered with the new length in tokens, else 0 */
    size_t token_first; /* of a list that was read: history->tokens[token_first ...] */
    size_t token_count;
};

#define OP_LABEL_BYTES  16
#define OP_NEVER_RETURN INT64_MAX

struct op {
    uint64_t process;
    int64_t call_ns;
    int64_t return_ns; /* OP_NEVER_RETURN when the outcome is unknown */
    enum op_outcome outcome;
    char label[OP_LABEL_BYTES];
    size_t step_first;
    size_t step_count;
};

/* What one process sent happens in that order: what is about one key; beside that, all that
 * writes, whatever keys it is about; or everything. As pipeline-order of the server says. */
enum history_order { HISTORY_RELAXED, HISTORY_WRITES, HISTORY_STRICT };

struct history {
    enum history_order order; /* for the caller to set; history_clear leaves it */
    struct op *ops;
    size_t op_count;
    size_t op_cap;
    struct step *steps;
    size_t step_count;
    size_t step_cap;
    uint64_t *tokens;
    size_t token_count;
    size_t token_cap;
    struct history_keys *keys;
};

void history_init(struct history *history);
void history_fini(struct history *history);
/* Empty again, its memory kept: for one history after the other. */
void history_clear(struct history *history);

/* The number of a key by name; the same name has the same number. */
uint32_t history_key(struct history *history, struct bytes name);
const char *history_key_name(const struct history *history, uint32_t key);
size_t history_key_count(const struct history *history);
enum key_kind history_key_kind(const struct history *history, uint32_t key);

/* Adds an operation; the steps that are added next are its own. return_ns is read when the outcome
 * is not unknown. */
void history_op(struct history *history, uint64_t process, const char *label, int64_t call_ns,
                int64_t return_ns, enum op_outcome outcome);
/* A step other than an append or the read of a list. */
void history_step(struct history *history, enum step_kind kind, uint32_t key, uint64_t value);
void history_append(struct history *history, uint32_t key, uint64_t token, uint64_t place);
void history_read_list(struct history *history, uint32_t key, const uint64_t *tokens, size_t count);

/* Writes the text form. */
void history_print(const struct history *history, FILE *out);
/* Adds what a text says. Returns 0, or -EINVAL with the number of the line that is wrong. */
int history_parse(struct history *history, struct bytes text, size_t *ret_line);

#endif
