/* SPDX-License-Identifier: BSD-3-Clause */
/* debug_effects: DEBUG EFFECTS and DEBUG EVENTS: what writes did, as a log or a replica would get
 * it, and what keyspace notifications would say.
 *
 * Every shard gathers its own (effects.h); home puts them into the one order: by the numbers of
 * their units, a transaction's where its greatest is, and within one by the order of its commands.
 * Effects come as a replica would read them: SELECT where the database changes, MULTI and EXEC
 * around what belongs together.
 */
#include "server/commands/server/debug_effects.h"

#include "base/must.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/call/help.h"
#include "server/call/scatter.h"

#include <stdlib.h>

/* ---- ON, OFF ---- */

struct want_args {
    enum effects_kind kind;
    bool wanted;
};

static bool want_part(struct worker *worker, const void *args, void *result) {
    const struct want_args *want = args;
    effects_want(worker, want->kind, want->wanted);
    return true;
}

/* ---- READ ---- */

/* One of the gathered ones, with its place. */
struct placed {
    uint64_t number;
    const struct effect *effect;
    const char *text; /* of its shard */
    unsigned shard;
};

struct placed_list {
    struct placed *list;
    size_t count;
};

/* What a number of a transaction says, of it and of the greatest. */
struct txn_number {
    uint64_t txn, number;
};

static int by_txn(const void *a_ptr, const void *b_ptr) {
    const struct txn_number *a = a_ptr, *b = b_ptr;
    if (a->txn != b->txn) {
        return a->txn < b->txn ? -1 : 1;
    }
    return (a->number > b->number) - (a->number < b->number);
}

static int by_place(const void *a_ptr, const void *b_ptr) {
    const struct placed *a = a_ptr, *b = b_ptr;
    if (a->number != b->number) {
        return a->number < b->number ? -1 : 1;
    }
    if (a->effect->order != b->effect->order) {
        return a->effect->order < b->effect->order ? -1 : 1;
    }
    if (a->shard != b->shard) {
        return a->shard < b->shard ? -1 : 1;
    }
    return (a->effect > b->effect) - (a->effect < b->effect);
}

/* The place of a transaction: the greatest number that a shard has drawn for it; its own, if it
 * asked none for locks. `numbers` are sorted. */
static uint64_t number_of(const struct txn_number *numbers, size_t count, uint64_t txn) {
    uint64_t number = (txn & EFFECTS_TXN_UNNUMBERED) == 0 ? txn : 0;
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (numbers[middle].txn <= txn) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low > 0 && numbers[low - 1].txn == txn && numbers[low - 1].number > number) {
        number = numbers[low - 1].number;
    }
    return number;
}

static size_t count_all(const struct scatter_result *result) {
    size_t count = 0;
    for (unsigned i = 0; i < result->parts_count; i++) {
        count += ((const struct effects_list *)result->parts[i])->count;
    }
    return count;
}

static struct placed_list place_all(const struct scatter_result *result) {
    size_t all = count_all(result), numbers_count = 0;
    struct placed_list placed = {must_calloc(all + 1, sizeof *placed.list), 0};
    struct txn_number *numbers = must_calloc(all + 1, sizeof *numbers);
    for (unsigned i = 0; i < result->parts_count; i++) {
        const struct effects_list *effects = result->parts[i];
        for (uint32_t j = 0; j < effects->count; j++) {
            const struct effect *effect = &effects->list[j];
            if (effect->argc == 0) {
                numbers[numbers_count++] = (struct txn_number){effect->txn, effect->number};
            } else {
                placed.list[placed.count++] =
                    (struct placed){effect->number, effect, effects->text, i};
            }
        }
    }
    qsort(numbers, numbers_count, sizeof *numbers, by_txn);
    for (size_t i = 0; i < placed.count; i++) {
        struct placed *at = &placed.list[i];
        if (at->effect->txn > 0) {
            at->number = number_of(numbers, numbers_count, at->effect->txn);
        }
    }
    free(numbers);
    qsort(placed.list, placed.count, sizeof *placed.list, by_place);
    return placed;
}

static void reply_words(struct reply *reply, const struct placed *placed) {
    const struct effect *effect = placed->effect;
    reply_array(reply, effect->argc);
    reply_raw(reply, bytes_make(placed->text + effect->at, effect->bytes));
}

static void reply_one_word(struct reply *reply, const char *word) {
    reply_array(reply, 1);
    reply_bulk_text(reply, word);
}

struct telling {
    struct reply *reply; /* NULL: they are only counted */
    uint64_t count;
    uint32_t db; /* UINT32_MAX: not said yet */
};

static void stream_word(struct telling *stream, const char *word) {
    stream->count++;
    if (stream->reply != NULL) {
        reply_one_word(stream->reply, word);
    }
}

static void stream_command(struct telling *stream, const struct placed *placed) {
    if (placed->effect->db != stream->db) {
        stream->db = placed->effect->db;
        stream->count++;
        if (stream->reply != NULL) {
            reply_array(stream->reply, 2);
            reply_bulk_text(stream->reply, "SELECT");
            reply_bulk_int(stream->reply, stream->db);
        }
    }
    stream->count++;
    if (stream->reply != NULL) {
        reply_words(stream->reply, placed);
    }
}

static uint64_t stream_all(struct telling stream, const struct placed_list *placed) {
    for (size_t i = 0, end; i < placed->count; i = end) {
        for (end = i + 1; end < placed->count && placed->list[end].number == placed->list[i].number;
             end++) {
        }
        bool together = end - i > 1;
        if (together) {
            stream_word(&stream, "MULTI");
        }
        for (size_t j = i; j < end; j++) {
            stream_command(&stream, &placed->list[j]);
        }
        if (together) {
            stream_word(&stream, "EXEC");
        }
    }
    return stream.count;
}

static void reply_commands(struct reply *reply, const struct placed_list *placed) {
    reply_array(reply, stream_all((struct telling){.db = UINT32_MAX}, placed));
    stream_all((struct telling){.reply = reply, .db = UINT32_MAX}, placed);
}

static void reply_events(struct reply *reply, const struct placed_list *placed) {
    reply_array(reply, placed->count);
    for (size_t i = 0; i < placed->count; i++) {
        reply_array(reply, 2);
        reply_int(reply, placed->list[i].effect->db);
        reply_words(reply, &placed->list[i]);
    }
}

static bool read_part(struct worker *worker, const void *args, void *result) {
    *(struct effects_list *)result = effects_take(worker, *(const enum effects_kind *)args);
    return true;
}

static void read_done(struct exec *x, const struct scatter_result *result) {
    struct placed_list placed = place_all(result);
    if (*(const enum effects_kind *)result->args == EFFECTS_EVENTS) {
        reply_events(x->reply, &placed);
    } else {
        reply_commands(x->reply, &placed);
    }
    free(placed.list);
    for (unsigned i = 0; i < result->parts_count; i++) {
        effects_list_free(result->parts[i]);
    }
}

/* ---- The subcommands ---- */

static void debug_view(struct exec *x, enum effects_kind kind) {
    struct bytes word = x->argv[2];
    if (bytes_is(word, "read")) {
        scatter_all(x, read_part, sizeof(struct effects_list), &kind, sizeof(kind), read_done);
    } else if (bytes_is(word, "on") || bytes_is(word, "off")) {
        struct want_args args = {kind, bytes_is(word, "on")};
        scatter_all(x, want_part, 0, &args, sizeof(args), scatter_ok);
    } else {
        reply_subcommand_error(x);
    }
}

void debug_effects(struct exec *x) {
    debug_view(x, EFFECTS_COMMANDS);
}

void debug_events(struct exec *x) {
    debug_view(x, EFFECTS_EVENTS);
}
