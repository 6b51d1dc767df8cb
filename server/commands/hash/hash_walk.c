/* SPDX-License-Identifier: BSD-3-Clause */
/* hash_walk: HSCAN, which shows a hash bit by bit, and HRANDFIELD, which draws of it.
 *
 * Several different fields are drawn in one of two ways. Few of many: at random, until enough
 * different ones have come up. Else all are gone through, each taken with the chance that is left
 * to it.
 */
#include "base/glob.h"
#include "base/must.h"
#include "base/random.h"
#include "server/call/errors.h"
#include "server/commands/hash/hash.h"

#include <stdlib.h>

/* ---- HSCAN ---- */

struct scan_options {
    struct bytes pattern;
    bool all_names;
    int64_t count;
    bool no_values;
};

static bool scan_option(const struct exec *x, uint32_t *i, struct scan_options *ret) {
    struct bytes word = x->argv[*i];
    bool more = *i + 1 < x->argc;
    if (bytes_is(word, "count") && more) {
        if (!exec_arg_i64(x, ++*i, &ret->count)) {
            return false;
        }
        if (ret->count >= 1) {
            return true;
        }
    } else if (bytes_is(word, "match") && more) {
        ret->pattern = x->argv[++*i];
        ret->all_names = bytes_equal(ret->pattern, BYTES("*"));
        return true;
    } else if (bytes_is(word, "novalues")) {
        ret->no_values = true;
        return true;
    } else if (bytes_is(word, "noscores")) {
        reply_error(x->reply, "ERR NOSCORES option can only be used in ZSCAN");
        return false;
    }
    reply_error(x->reply, ERR_SYNTAX);
    return false;
}

/* Elements that were found, written before it is known how many there are. */
struct scanned {
    const struct scan_options *options;
    struct reply reply;
    uint64_t words;
};

static void scan_visit(void *arg, const struct value_element *element) {
    struct scanned *scanned = arg;
    const struct scan_options *options = scanned->options;
    if (!options->all_names && !glob_match(options->pattern, element->first, false)) {
        return;
    }
    reply_bulk(&scanned->reply, element->first);
    scanned->words++;
    if (!options->no_values) {
        reply_bulk(&scanned->reply, element->second);
        scanned->words++;
    }
}

static void scan_reply(struct exec *x, uint64_t cursor, struct scanned *scanned) {
    char text[NUM_I64_BYTES];
    reply_array(x->reply, 2);
    reply_bulk(x->reply, bytes_make(text, num_format_u64(text, cursor)));
    reply_array(x->reply, scanned->words);
    outbuf_splice(x->reply->out, scanned->reply.out);
}

void command_hscan(struct exec *x) {
    uint64_t cursor;
    struct entry *entry;
    if (!num_parse_u64(x->argv[2], &cursor)) {
        reply_error(x->reply, "ERR invalid cursor");
        return;
    }
    if (!exec_find(x, &x->key, TYPE_HASH, LOOKUP_READ, &entry)) {
        return;
    }
    struct scan_options options = {.all_names = true, .count = 10};
    for (uint32_t i = 3; entry != NULL && i < x->argc; i++) {
        if (!scan_option(x, &i, &options)) {
            return;
        }
    }
    struct outbuf out;
    outbuf_init(&out);
    struct scanned scanned = {.options = &options};
    reply_init(&scanned.reply, &out, x->reply->resp);
    cursor = entry != NULL ? cursor : 0;
    if (entry != NULL) {
        struct hash_look look = hash_look_begin(x, entry);
        cursor = hash_scan(&look, cursor, (uint64_t)options.count, scan_visit, &scanned);
        hash_look_end(x, &look);
    }
    scan_reply(x, cursor, &scanned);
    outbuf_fini(&out);
}

/* ---- HRANDFIELD ---- */

struct drawing {
    struct exec *x;
    struct hash_look look;
    uint64_t seen;  /* fields that there are to draw from */
    uint64_t there; /* and with the hidden ones */
    bool with_values;
};

static struct rng *rng_of(const struct drawing *drawing) {
    return exec_rng(drawing->x);
}

static void draw_visit(void *arg, const struct value_element *element) {
    const struct drawing *drawing = arg;
    struct reply *reply = drawing->x->reply;
    if (drawing->with_values && reply->resp > 2) {
        reply_array(reply, 2);
    }
    reply_bulk(reply, element->first);
    if (drawing->with_values) {
        reply_bulk(reply, element->second);
    }
}

static void draw_header(const struct drawing *drawing, uint64_t fields) {
    bool flat = drawing->with_values && drawing->x->reply->resp == 2;
    reply_array(drawing->x->reply, flat ? fields * 2 : fields);
}

/* A choice of some of those that are seen, in their order. */
struct choosing {
    struct drawing *drawing;
    uint64_t wanted, left;
};

static void choose_visit(void *arg, const struct value_element *element) {
    struct choosing *choosing = arg;
    if (rng_below(rng_of(choosing->drawing), choosing->left) < choosing->wanted) {
        choosing->wanted--;
        draw_visit(choosing->drawing, element);
    }
    choosing->left--;
}

static void draw_by_walk(struct drawing *drawing, uint64_t count) {
    struct choosing choosing = {drawing, count, drawing->seen};
    hash_each(&drawing->look, choose_visit, &choosing);
}

/* So few of those that are there that it takes long to come upon one by chance. */
static bool few_are_seen(const struct drawing *drawing) {
    return drawing->seen < drawing->there / 8;
}

/* One of those that are seen. */
static void draw_one(struct drawing *drawing) {
    if (few_are_seen(drawing)) {
        draw_by_walk(drawing, 1);
        return;
    }
    while (!hash_visit_at(&drawing->look, rng_below(rng_of(drawing), drawing->there), draw_visit,
                          drawing)) {
    }
}

/* Numbers that have come up, in a table with empty places. */
struct drawn {
    uint64_t *places; /* number + 1, or 0 */
    uint64_t mask;
};

static bool drawn_add(struct drawn *drawn, uint64_t number) {
    uint64_t at = number * UINT64_C(0x9E3779B97F4A7C15) >> 20;
    for (;; at++) {
        uint64_t *place = &drawn->places[at & drawn->mask];
        if (*place == number + 1) {
            return false;
        }
        if (*place == 0) {
            *place = number + 1;
            return true;
        }
    }
}

static void draw_by_chance(struct drawing *drawing, uint64_t count) {
    uint64_t room = 16;
    while (room < count * 2) {
        room *= 2;
    }
    struct drawn drawn = {must_calloc(room, sizeof *drawn.places), room - 1};
    for (uint64_t done = 0; done < count;) {
        uint64_t number = rng_below(rng_of(drawing), drawing->there);
        if (drawn_add(&drawn, number)) {
            done += hash_visit_at(&drawing->look, number, draw_visit, drawing);
        }
    }
    free(drawn.places);
}

static void draw_different(struct drawing *drawing, uint64_t count) {
    count = count < drawing->seen ? count : drawing->seen;
    draw_header(drawing, count);
    if (count == 0) {
        return; /* there may be no hash */
    }
    if (count == drawing->seen) {
        hash_each(&drawing->look, draw_visit, drawing);
    } else if (count < drawing->seen / 8 && drawing->seen > drawing->there / 2) {
        draw_by_chance(drawing, count);
    } else {
        draw_by_walk(drawing, count);
    }
}

/* Those that are seen. Only a table hides fields, and its pairs stay where they are while nothing
 * changes. */
struct noted {
    struct value_element *list;
    uint64_t count;
};

static void note_visit(void *arg, const struct value_element *element) {
    struct noted *noted = arg;
    noted->list[noted->count++] = *element;
}

/* As often as `count`, but with one walk. */
static void draw_of_few(struct drawing *drawing, uint64_t count) {
    struct noted noted = {.list = must_malloc(drawing->seen * sizeof *noted.list)};
    hash_each(&drawing->look, note_visit, &noted);
    for (; count > 0; count--) {
        draw_visit(drawing, &noted.list[rng_below(rng_of(drawing), noted.count)]);
    }
    free(noted.list);
}

/* With repetition. */
static void draw_any(struct drawing *drawing, uint64_t count) {
    count = drawing->seen > 0 ? count : 0;
    draw_header(drawing, count);
    if (count > 0 && few_are_seen(drawing)) {
        draw_of_few(drawing, count);
        return;
    }
    for (; count > 0; count--) {
        draw_one(drawing);
    }
}

static bool draw_begin(struct exec *x, struct drawing *ret) {
    struct entry *entry;
    if (!exec_find(x, &x->key, TYPE_HASH, LOOKUP_READ, &entry)) {
        return false;
    }
    *ret = (struct drawing){.x = x};
    if (entry != NULL) {
        ret->look = hash_look_begin(x, entry);
        ret->seen = hash_count_seen(&ret->look);
        ret->there = hash_count(&ret->look.value);
    }
    return true;
}

/* How many; negative: the same may come up again. */
static bool draw_count(const struct exec *x, int64_t *ret_count, bool *ret_with_values) {
    if (!exec_arg_draws(x, 2, ret_count)) {
        return false;
    }
    *ret_with_values = x->argc == 4;
    if (x->argc > 4 || (x->argc == 4 && !bytes_is(x->argv[3], "withvalues"))) {
        reply_error(x->reply, ERR_SYNTAX);
        return false;
    }
    if (x->argc == 4 && (*ret_count > INT64_MAX / 2 || *ret_count < -INT64_MAX / 2)) {
        reply_error(x->reply, ERR_VALUE_RANGE);
        return false;
    }
    return true;
}

void command_hrandfield(struct exec *x) {
    struct drawing drawing;
    int64_t count = 0;
    bool with_values = false;
    if (x->argc >= 3 && !draw_count(x, &count, &with_values)) {
        return;
    }
    if (!draw_begin(x, &drawing)) {
        return;
    }
    drawing.with_values = with_values;
    if (x->argc >= 3 && count >= 0) {
        draw_different(&drawing, (uint64_t)count);
    } else if (x->argc >= 3) {
        if (drawing.seen == 0 || exec_draws_fit(x, count)) {
            draw_any(&drawing, 0 - (uint64_t)count);
        }
    } else if (drawing.seen > 0) {
        draw_one(&drawing);
    } else {
        reply_null(x->reply);
    }
    hash_look_end(x, &drawing.look);
}
