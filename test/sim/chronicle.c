/* SPDX-License-Identifier: BSD-3-Clause */
/* chronicle: see the header. Lists are few and grow by a few hundred numbers in a run, so a state
 * is always read and judged as a whole. */
#include "test/sim/chronicle.h"

#include "base/check.h"
#include "base/must.h"
#include "base/num.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DBS       3
#define KEYS      5 /* of each database */
#define CELLS     (DBS * KEYS)
#define CELLS_MAX 4 /* of a write */
#define NEVER     UINT64_MAX

struct written {
    uint64_t asked_ns, known_ns;
    unsigned cells[CELLS_MAX];
    int64_t places[CELLS_MAX]; /* as replies said; 0: none has */
    unsigned count;
    bool selects; /* a reply to SELECT is before each place in the last one */
    bool lost;
};

struct chronicle {
    struct written *writes; /* by their number - 1 */
    uint64_t count, capacity;
};

/* A state: the numbers of each list, and which lists a write was found in. */
struct state {
    uint64_t *lists[CELLS];
    size_t counts[CELLS];
    unsigned char *found; /* bits of its cells, of each write */
};

struct chronicle *chronicle_new(void) {
    return must_calloc(1, sizeof(struct chronicle));
}

void chronicle_free(struct chronicle *chronicle) {
    free(chronicle->writes);
    free(chronicle);
}

/* ---- Requests ---- */

static unsigned db_of(unsigned cell) {
    return cell / KEYS;
}

static void draw_cells(struct written *write, struct rng *rng, unsigned dbs) {
    unsigned first_db = (unsigned)rng_below(rng, DBS);
    while (write->count < CELLS_MAX && (write->count == 0 || rng_below(rng, 3) > 0)) {
        unsigned db = dbs == 1 ? first_db : (unsigned)rng_below(rng, DBS);
        unsigned cell = db * KEYS + (unsigned)rng_below(rng, KEYS);
        bool there = false;
        for (unsigned i = 0; i < write->count; i++) {
            there |= write->cells[i] == cell;
        }
        if (!there) {
            write->cells[write->count++] = cell;
        }
    }
}

/* In the order in which keys are drawn, which is not that of shards. */
static void put_script(const struct written *write, uint64_t number, struct text *out) {
    text_appendf(out, "*%u\r\n", 4 + write->count);
    wire_bulk(out, BYTES("EVAL"));
    wire_bulk(out, BYTES("local r = {} for i, k in ipairs(KEYS) do "
                         "r[i] = redis.call('RPUSH', k, ARGV[1]) end return r"));
    char text[NUM_I64_BYTES + 1];
    wire_bulk(out, bytes_make(text, num_format_u64(text, write->count)));
    for (unsigned i = 0; i < write->count; i++) {
        char key[8];
        snprintf(key, sizeof key, "l:%u", write->cells[i] % KEYS);
        wire_bulk(out, bytes_of_text(key));
    }
    wire_bulk(out, bytes_make(text, num_format_u64(text, number)));
}

static struct written *add(struct chronicle *chronicle) {
    if (chronicle->count == chronicle->capacity) {
        chronicle->capacity = chronicle->capacity > 0 ? 2 * chronicle->capacity : 256;
        chronicle->writes =
            must_realloc(chronicle->writes, chronicle->capacity * sizeof *chronicle->writes);
    }
    struct written *write = &chronicle->writes[chronicle->count++];
    memset(write, 0, sizeof *write);
    return write;
}

uint64_t chronicle_write(struct chronicle *chronicle, struct rng *rng, uint64_t now_ns,
                         struct text *out, unsigned *ret_replies) {
    struct written *write = add(chronicle);
    uint64_t number = chronicle->count;
    write->asked_ns = now_ns;
    write->known_ns = NEVER;
    bool script = rng_below(rng, 4) == 0;
    draw_cells(write, rng, script ? 1 : DBS);
    if (script) {
        wire_requestf(out, "SELECT %u", db_of(write->cells[0]));
        put_script(write, number, out);
        *ret_replies = 2;
        return number;
    }
    if (write->count == 1) {
        wire_requestf(out, "SELECT %u", db_of(write->cells[0]));
        wire_requestf(out, "RPUSH l:%u %llu", write->cells[0] % KEYS, (unsigned long long)number);
        *ret_replies = 2;
        return number;
    }
    write->selects = true;
    wire_requestf(out, "MULTI");
    for (unsigned i = 0; i < write->count; i++) {
        wire_requestf(out, "SELECT %u", db_of(write->cells[i]));
        wire_requestf(out, "RPUSH l:%u %llu", write->cells[i] % KEYS, (unsigned long long)number);
    }
    wire_requestf(out, "EXEC");
    *ret_replies = 2 + 2 * write->count;
    return number;
}

void chronicle_read(struct text *out, unsigned *ret_replies) {
    wire_requestf(out, "MULTI");
    for (unsigned db = 0; db < DBS; db++) {
        wire_requestf(out, "SELECT %u", db);
        for (unsigned key = 0; key < KEYS; key++) {
            wire_requestf(out, "LRANGE l:%u 0 -1", key);
        }
    }
    wire_requestf(out, "EXEC");
    *ret_replies = 2 + DBS * (1 + KEYS);
}

/* ---- Replies ---- */

static bool note_place(struct written *write, uint64_t number, unsigned i,
                       const struct wire_value *value, struct text *why) {
    if (value->type != ':' || value->integer <= 0) {
        text_appendf(why,
                     "write %llu is answered by what is no place: ", (unsigned long long)number);
        value_print(value, why);
        return false;
    }
    write->places[i] = value->integer;
    return true;
}

bool chronicle_written(struct chronicle *chronicle, uint64_t number, uint64_t now_ns,
                       const struct wire_value *value, struct text *why) {
    struct written *write = &chronicle->writes[number - 1];
    if (value->type == '-' || write->lost) {
        return true;
    }
    write->known_ns = now_ns;
    if (value->type == ':') {
        return note_place(write, number, 0, value, why);
    }
    unsigned step = write->selects ? 2 : 1;
    if (value->type != '*' || value->count != step * write->count) {
        text_appendf(why, "write %llu is answered by ", (unsigned long long)number);
        value_print(value, why);
        return false;
    }
    for (unsigned i = 0; i < write->count; i++) {
        if (!note_place(write, number, i, &value->items[step * i + step - 1], why)) {
            return false;
        }
    }
    return true;
}

/* ---- States ---- */

static void state_fini(struct state *state) {
    for (unsigned cell = 0; cell < CELLS; cell++) {
        free(state->lists[cell]);
    }
    free(state->found);
}

/* Which of its lists that is; -1: none. */
static int index_of(const struct written *write, unsigned cell) {
    for (unsigned i = 0; i < write->count; i++) {
        if (write->cells[i] == cell) {
            return (int)i;
        }
    }
    return -1;
}

static bool read_number(const struct chronicle *chronicle, struct state *state, unsigned cell,
                        const struct wire_value *item, struct text *why) {
    int64_t number = 0;
    size_t place = state->counts[cell] + 1;
    bool one =
        num_parse_i64(item->text, &number) && number > 0 && (uint64_t)number <= chronicle->count;
    if (!one) {
        text_appendf(why, "database %u, list %u has what nobody has written: %.*s", db_of(cell),
                     cell % KEYS, bytes_precision(item->text), item->text.ptr);
        return false;
    }
    const struct written *write = &chronicle->writes[number - 1];
    int i = index_of(write, cell);
    const char *wrong = i < 0                               ? "which is not for that list"
                        : write->lost                       ? "which was lost before"
                        : state->found[number - 1] >> i & 1 ? "twice"
                        : write->places[i] != 0 && (size_t)write->places[i] != place
                            ? "which was answered with another place"
                            : NULL;
    if (wrong != NULL) {
        text_appendf(why, "database %u, list %u, place %zu: write %lld, %s", db_of(cell),
                     cell % KEYS, place, (long long)number, wrong);
        return false;
    }
    state->found[number - 1] |= (unsigned char)(1u << i);
    state->lists[cell][state->counts[cell]++] = (uint64_t)number;
    return true;
}

static bool state_read(const struct chronicle *chronicle, const struct wire_value *value,
                       struct state *state, struct text *why) {
    memset(state, 0, sizeof *state);
    state->found = must_calloc(chronicle->count + 1, 1);
    if (value->type != '*' || value->count != DBS * (1 + KEYS)) {
        text_append_text(why, "a read of all is answered by ");
        value_print(value, why);
        return false;
    }
    for (unsigned cell = 0; cell < CELLS; cell++) {
        const struct wire_value *list = &value->items[db_of(cell) * (1 + KEYS) + 1 + cell % KEYS];
        if (list->type != '*') {
            text_append_text(why, "a list is answered as ");
            value_print(list, why);
            return false;
        }
        state->lists[cell] = must_calloc(list->count + 1, sizeof(uint64_t));
        for (size_t i = 0; i < list->count; i++) {
            if (!read_number(chronicle, state, cell, &list->items[i], why)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- What it must be ---- */

static bool are_whole(const struct chronicle *chronicle, const struct state *state,
                      struct text *why) {
    for (uint64_t i = 0; i < chronicle->count; i++) {
        unsigned all = (1u << chronicle->writes[i].count) - 1;
        if (state->found[i] != 0 && state->found[i] != all) {
            text_appendf(why, "write %llu is there in part (%x of %x)", (unsigned long long)i + 1,
                         state->found[i], all);
            return false;
        }
    }
    return true;
}

/* From behind: what stands later must not have been known before one was asked for. */
static bool stand_in_time(const struct chronicle *chronicle, const struct state *state,
                          struct text *why) {
    for (unsigned cell = 0; cell < CELLS; cell++) {
        uint64_t first = 0, first_ns = NEVER;
        for (size_t i = state->counts[cell]; i-- > 0;) {
            uint64_t number = state->lists[cell][i];
            const struct written *write = &chronicle->writes[number - 1];
            if (write->asked_ns > first_ns) {
                text_appendf(why,
                             "write %llu stands before %llu, which was answered before it was "
                             "asked for",
                             (unsigned long long)number, (unsigned long long)first);
                return false;
            }
            if (write->known_ns < first_ns) {
                first_ns = write->known_ns;
                first = number;
            }
        }
    }
    return true;
}

/* Takes what stands first in all its lists, until nothing is left. */
static bool agree(const struct chronicle *chronicle, const struct state *state, struct text *why) {
    size_t at[CELLS] = {0};
    unsigned char *firsts = must_calloc(chronicle->count + 1, 1);
    bool moves = true, left = false;
    while (moves) {
        moves = left = false;
        for (unsigned cell = 0; cell < CELLS; cell++) {
            while (at[cell] < state->counts[cell]) {
                uint64_t number = state->lists[cell][at[cell]];
                const struct written *write = &chronicle->writes[number - 1];
                firsts[number - 1] |= (unsigned char)(1u << index_of(write, cell));
                if (firsts[number - 1] != state->found[number - 1]) {
                    left = true;
                    break;
                }
                for (unsigned i = 0; i < write->count; i++) {
                    at[write->cells[i]] += state->found[number - 1] >> i & 1;
                }
                moves = true;
            }
        }
    }
    free(firsts);
    if (left) {
        text_append_text(why, "two lists have the same writes in another order");
    }
    return !left;
}

static bool has_all(const struct chronicle *chronicle, const struct state *state,
                    const struct chronicle_claim *claim, struct text *why) {
    uint64_t missing = 0, missing_ns = NEVER;
    for (uint64_t i = 0; i < chronicle->count; i++) {
        const struct written *write = &chronicle->writes[i];
        if (write->lost || state->found[i] != 0 || write->known_ns >= missing_ns) {
            continue;
        }
        missing = i + 1;
        missing_ns = write->known_ns;
    }
    if (missing_ns <= claim->must_ns && missing > 0) {
        text_appendf(why, "write %llu is not there, though it was promised",
                     (unsigned long long)missing);
        return false;
    }
    for (uint64_t i = 0; claim->at_rest && i < chronicle->count; i++) {
        if (state->found[i] != 0 && chronicle->writes[i].asked_ns > missing_ns) {
            text_appendf(why, "write %llu is there, and %llu is not, which was answered before",
                         (unsigned long long)i + 1, (unsigned long long)missing);
            return false;
        }
    }
    return true;
}

bool chronicle_judge(const struct chronicle *chronicle, const struct chronicle_claim *claim,
                     const struct wire_value *value, struct text *why) {
    struct state state;
    bool good = state_read(chronicle, value, &state, why) && are_whole(chronicle, &state, why) &&
                stand_in_time(chronicle, &state, why) && agree(chronicle, &state, why) &&
                has_all(chronicle, &state, claim, why);
    state_fini(&state);
    return good;
}

uint64_t chronicle_settle(struct chronicle *chronicle, const struct wire_value *value) {
    struct state state;
    struct text why;
    text_init(&why);
    check(state_read(chronicle, value, &state, &why));
    uint64_t known = 0;
    for (uint64_t i = 0; i < chronicle->count; i++) {
        struct written *write = &chronicle->writes[i];
        if (state.found[i] == 0 && !write->lost) {
            write->lost = true;
            known += write->known_ns != NEVER;
        }
    }
    state_fini(&state);
    text_fini(&why);
    return known;
}

uint64_t chronicle_known(const struct chronicle *chronicle) {
    uint64_t known = 0;
    for (uint64_t i = 0; i < chronicle->count; i++) {
        known += !chronicle->writes[i].lost && chronicle->writes[i].known_ns != NEVER;
    }
    return known;
}
