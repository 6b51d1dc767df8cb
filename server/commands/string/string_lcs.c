/* SPDX-License-Identifier: BSD-3-Clause */
/* string_lcs: LCS, the longest common subsequence of two strings.
 *
 * The textbook dynamic programme: cell (i, j) is the length for the first i bytes of a and the
 * first j of b. To say which bytes match, or where, the way is walked back through the whole table,
 * so that takes 4 * (i + 1) * (j + 1) bytes, bounded by proto-max-bulk-len as in Valkey. LEN alone
 * is held to the same bound, for the same answers, but keeps only two rows.
 *
 * Several ways back can be equally long: this one goes to the smaller j on a tie, because clients
 * see which one it is.
 */
#include "base/check.h"
#include "base/outbuf.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/commands/string/string.h"

#include <stdlib.h>

#define ERR_LCS_MEMORY "ERR Insufficient memory, failed allocating transient memory for LCS"

struct lcs {
    struct bytes a, b;
    bool only_length, indexes, with_length;
    int64_t length_min; /* of a run of matches that is told */
    uint32_t *cells;    /* rows of b.len + 1, all or two of them */
    uint32_t length;
};

/* ---- The call ---- */

static bool options_read(const struct exec *x, struct lcs *lcs) {
    for (uint32_t i = 3; i < x->argc; i++) {
        if (bytes_is(x->argv[i], "idx")) {
            lcs->indexes = true;
        } else if (bytes_is(x->argv[i], "len")) {
            lcs->only_length = true;
        } else if (bytes_is(x->argv[i], "withmatchlen")) {
            lcs->with_length = true;
        } else if (bytes_is(x->argv[i], "minmatchlen") && i + 1 < x->argc) {
            if (!exec_arg_i64(x, ++i, &lcs->length_min)) {
                return false;
            }
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    if (lcs->indexes && lcs->only_length) {
        reply_error(x->reply, "ERR If you want both the length and indexes, please just use IDX.");
        return false;
    }
    return true;
}

static bool cells_alloc(const struct exec *x, struct lcs *lcs) {
    if (lcs->a.len >= UINT32_MAX - 1 || lcs->b.len >= UINT32_MAX - 1) {
        reply_error(x->reply, "ERR String too long for LCS");
        return false;
    }
    uint64_t row = lcs->b.len + 1, rows = lcs->a.len + 1, bytes;
    if (__builtin_mul_overflow(row * sizeof(uint32_t), rows, &bytes) ||
        bytes > (uint64_t)exec_bulk_len_max(x)) {
        reply_error(x->reply, "ERR Insufficient memory, transient memory for LCS exceeds "
                              "proto-max-bulk-len");
        return false;
    }
    if (lcs->only_length) {
        bytes = row * sizeof(uint32_t) * 2;
    }
    lcs->cells = malloc(bytes);
    if (lcs->cells == NULL) {
        reply_error(x->reply, ERR_LCS_MEMORY);
        return false;
    }
    return true;
}

/* ---- The table ---- */

static uint32_t *cells_row(const struct lcs *lcs, size_t i) {
    return lcs->cells + (lcs->only_length ? i % 2 : i) * (lcs->b.len + 1);
}

static void cells_fill(struct lcs *lcs) {
    size_t n = lcs->b.len;
    memset(cells_row(lcs, 0), 0, (n + 1) * sizeof(uint32_t));
    for (size_t i = 1; i <= lcs->a.len; i++) {
        const uint32_t *above = cells_row(lcs, i - 1);
        uint32_t *row = cells_row(lcs, i);
        char byte = lcs->a.ptr[i - 1];
        uint32_t left = row[0] = 0;
        for (size_t j = 1; j <= n; j++) {
            if (byte == lcs->b.ptr[j - 1]) {
                left = above[j - 1] + 1;
            } else if (above[j] > left) {
                left = above[j];
            }
            row[j] = left;
        }
    }
    lcs->length = cells_row(lcs, lcs->a.len)[n];
}

/* One step of the way back from (i, j): true if the last bytes of both match. */
static bool step_back(const struct lcs *lcs, size_t *i, size_t *j) {
    if (lcs->a.ptr[*i - 1] == lcs->b.ptr[*j - 1]) {
        --*i;
        --*j;
        return true;
    }
    if (cells_row(lcs, *i - 1)[*j] > cells_row(lcs, *i)[*j - 1]) {
        --*i;
    } else {
        --*j;
    }
    return false;
}

/* ---- Replies ---- */

static void reply_subsequence(const struct exec *x, const struct lcs *lcs) {
    char *text = malloc((size_t)lcs->length + 1);
    if (text == NULL) {
        reply_error(x->reply, ERR_LCS_MEMORY);
        return;
    }
    size_t at = lcs->length;
    for (size_t i = lcs->a.len, j = lcs->b.len; i > 0 && j > 0;) {
        if (step_back(lcs, &i, &j)) {
            text[--at] = lcs->a.ptr[i];
        }
    }
    check(at == 0);
    reply_bulk(x->reply, bytes_make(text, lcs->length));
    free(text);
}

/* `length` bytes that match side by side, from a and b on. */
static void reply_run(struct reply *reply, const struct lcs *lcs, size_t a, size_t b,
                      size_t length) {
    reply_array(reply, lcs->with_length ? 3 : 2);
    reply_array(reply, 2);
    reply_int(reply, (int64_t)a);
    reply_int(reply, (int64_t)(a + length - 1));
    reply_array(reply, 2);
    reply_int(reply, (int64_t)b);
    reply_int(reply, (int64_t)(b + length - 1));
    if (lcs->with_length) {
        reply_int(reply, (int64_t)length);
    }
}

/* Writes all runs that are long enough, the last one of the strings first, and counts them. */
static size_t reply_runs(struct reply *reply, const struct lcs *lcs) {
    size_t count = 0, run = 0;
    size_t i = lcs->a.len, j = lcs->b.len;
    while (i > 0 && j > 0) {
        size_t a = i, b = j; /* where the run began, if this step does not go on with it */
        bool matched = step_back(lcs, &i, &j);
        if (matched) {
            run++;
            a = i;
            b = j;
        }
        bool over = !matched || i == 0 || j == 0;
        if (over && run > 0) {
            if ((int64_t)run >= lcs->length_min) {
                reply_run(reply, lcs, a, b, run);
                count++;
            }
            run = 0;
        }
    }
    return count;
}

/* How many runs there are is known at the end only, so they are gathered aside. */
static void reply_indexes(const struct exec *x, const struct lcs *lcs) {
    struct outbuf runs;
    struct reply reply;
    outbuf_init(&runs);
    reply_init(&reply, &runs, x->reply->resp);
    size_t count = reply_runs(&reply, lcs);
    reply_map(x->reply, 2);
    reply_bulk_text(x->reply, "matches");
    reply_array(x->reply, count);
    outbuf_splice(x->reply->out, &runs);
    outbuf_fini(&runs);
    reply_bulk_text(x->reply, "len");
    reply_int(x->reply, lcs->length);
}

static bool strings_find(const struct exec *x, struct lcs *lcs,
                         char scratch[2][NUMBER_TEXT_BYTES]) {
    struct bytes *values[2] = {&lcs->a, &lcs->b};
    bool strings = true;
    for (uint32_t i = 0; i < 2; i++) {
        struct loan loan;
        if (!exec_input(x, i + 1, LOOKUP_READ, &loan)) {
            *values[i] = BYTES("");
        } else if (loan.value.type == TYPE_STRING) {
            *values[i] = string_value_bytes(&loan.value, scratch[i]);
        } else {
            strings = false;
        }
    }
    if (!strings) {
        reply_error(x->reply, "ERR The specified keys must contain string values");
    }
    return strings;
}

void command_lcs(struct exec *x) {
    struct lcs lcs = {0};
    char scratch[2][NUMBER_TEXT_BYTES];
    if (!strings_find(x, &lcs, scratch) || !options_read(x, &lcs) || !cells_alloc(x, &lcs)) {
        return;
    }
    cells_fill(&lcs);
    if (lcs.indexes) {
        reply_indexes(x, &lcs);
    } else if (lcs.only_length) {
        reply_int(x->reply, lcs.length);
    } else {
        reply_subsequence(x, &lcs);
    }
    free(lcs.cells);
}
