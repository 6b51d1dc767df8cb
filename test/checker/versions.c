/* SPDX-License-Identifier: BSD-3-Clause */
/* Sorted arrays instead of maps: everything is built once, searched by halving, and thrown away.
 * Of the reads of a list only the longest is looked at token by token; the others must be its
 * beginning, which is one memcmp. So the work stays near the size of the history.
 *
 * An operation whose outcome is unknown counts as committed when anyone saw what it wrote, and as
 * never having happened otherwise; its reads are not known.
 */
#include "test/checker/versions.h"

#include "test/checker/grow.h"

#include <inttypes.h>

#define OPS(...)  (const size_t[]){__VA_ARGS__}, sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t)
#define NAME(key) history_key_name(versions->history, key)

static const struct op *op_of(const struct versions *versions, uint32_t op) {
    return &versions->history->ops[op];
}

static const struct step *step_of(const struct versions *versions, uint32_t step) {
    return &versions->history->steps[step];
}

/* ---- Who wrote what ------------------------------------------------------------------------ */

static bool step_writes(enum step_kind kind) {
    return kind == STEP_WRITE || kind == STEP_APPEND || kind == STEP_INCR;
}

/* True if no later step of the operation writes the key. */
static bool last_write_of_op(const struct versions *versions, uint32_t step) {
    const struct op *op = op_of(versions, versions->step_ops[step]);
    for (size_t i = step + 1; i < op->step_first + op->step_count; i++) {
        const struct step *later = step_of(versions, (uint32_t)i);
        if (later->key == step_of(versions, step)->key && step_writes(later->kind)) {
            return false;
        }
    }
    return true;
}

static int by_value(const void *a, const void *b) {
    const struct write *x = a, *y = b;
    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    if (x->value != y->value) {
        return x->value < y->value ? -1 : 1;
    }
    return x->step < y->step ? -1 : x->step > y->step;
}

static void collect_writes(struct versions *versions, struct verdict *verdict) {
    const struct history *history = versions->history;
    for (uint32_t i = 0; i < history->step_count; i++) {
        const struct step *step = &history->steps[i];
        if (step->kind != STEP_WRITE && step->kind != STEP_APPEND) {
            continue;
        }
        if (versions->write_count == versions->write_cap) {
            versions->writes =
                grow(versions->writes, &versions->write_cap, sizeof(*versions->writes));
        }
        versions->writes[versions->write_count++] = (struct write){
            .key = step->key, .op = versions->step_ops[i], .value = step->value, .step = i};
    }
    if (versions->write_count > 0) {
        qsort(versions->writes, versions->write_count, sizeof(*versions->writes), by_value);
    }
    for (size_t i = 1; i < versions->write_count; i++) {
        const struct write *x = &versions->writes[i - 1], *y = &versions->writes[i];
        if (x->key == y->key && x->value == y->value) {
            verdict_add(verdict, "unusable history", history, OPS(x->op, y->op),
                        "clients wrote %" PRIu64 " to %s twice", x->value, NAME(x->key));
        }
    }
}

uint32_t versions_find(const struct versions *versions, uint32_t key, uint64_t value) {
    size_t low = 0, high = versions->write_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct write *write = &versions->writes[middle];
        if (write->key < key || (write->key == key && write->value < value)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == versions->write_count || versions->writes[low].key != key ||
        versions->writes[low].value != value) {
        return VERSION_NONE;
    }
    return (uint32_t)low;
}

/* The write that a read shows, told and VERSION_NONE when there is none that could be shown. */
static uint32_t show(struct versions *versions, struct verdict *verdict, uint32_t reader,
                     uint32_t key, uint64_t value) {
    uint32_t found = versions_find(versions, key, value);
    if (found == VERSION_NONE) {
        verdict_add(verdict, "unwritten value", versions->history, OPS(reader),
                    "%s was read with %" PRIu64 ", which nobody wrote", NAME(key), value);
        return VERSION_NONE;
    }
    struct write *write = &versions->writes[found];
    const struct op *writer = op_of(versions, write->op);
    if (writer->outcome == OP_FAIL) {
        verdict_add(verdict, "aborted read", versions->history, OPS(write->op, reader),
                    "%s was read with %" PRIu64 " of an operation that failed", NAME(key), value);
        return VERSION_NONE;
    }
    if (op_of(versions, reader)->return_ns < writer->call_ns) {
        verdict_add(verdict, "future read", versions->history, OPS(write->op, reader),
                    "%s was read with %" PRIu64 " before it was written", NAME(key), value);
    }
    write->seen = true;
    versions->committed[write->op] = true;
    return found;
}

/* ---- The order of lists -------------------------------------------------------------------- */

static const uint64_t *tokens_of(const struct versions *versions, const struct step *step) {
    return versions->history->tokens + step->token_first;
}

static void find_longest_reads(struct versions *versions) {
    const struct history *history = versions->history;
    for (uint32_t i = 0; i < history->step_count; i++) {
        const struct step *step = &history->steps[i];
        struct places *places = &versions->places[step->key];
        if (step->kind == STEP_READ_LIST &&
            op_of(versions, versions->step_ops[i])->outcome == OP_OK &&
            (places->longest_step == VERSION_NONE || step->token_count > places->longest)) {
            places->longest = (uint32_t)step->token_count;
            places->longest_step = i;
            places->longest_op = versions->step_ops[i];
        }
    }
}

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Tells of a token that is in the list twice. */
static void check_duplicates(struct versions *versions, struct verdict *verdict, uint32_t number) {
    const struct step *step = step_of(versions, number);
    if (step->token_count < 2) {
        return;
    }
    uint64_t *sorted = zeroed(step->token_count, sizeof(*sorted));
    memcpy(sorted, tokens_of(versions, step), step->token_count * sizeof(*sorted));
    qsort(sorted, step->token_count, sizeof(*sorted), by_number);
    for (size_t i = 1; i < step->token_count; i++) {
        if (sorted[i] == sorted[i - 1]) {
            uint32_t found = versions_find(versions, step->key, sorted[i]);
            uint32_t reader = versions->step_ops[number];
            verdict_add(verdict, "duplicate", versions->history,
                        OPS(found != VERSION_NONE ? versions->writes[found].op : reader, reader),
                        "%s was read with %" PRIu64 " twice, which was appended once",
                        NAME(step->key), sorted[i]);
            break;
        }
    }
    free(sorted);
}

/* Every token of a list that was read must have been appended. */
static void show_tokens(struct versions *versions, struct verdict *verdict, uint32_t number,
                        bool places) {
    const struct step *step = step_of(versions, number);
    for (size_t i = 0; i < step->token_count; i++) {
        uint32_t found = show(versions, verdict, versions->step_ops[number], step->key,
                              tokens_of(versions, step)[i]);
        if (places && found != VERSION_NONE && versions->writes[found].place == 0) {
            versions->writes[found].place = (uint32_t)i + 1;
        }
    }
    check_duplicates(versions, verdict, number);
}

static void read_lists(struct versions *versions, struct verdict *verdict) {
    const struct history *history = versions->history;
    find_longest_reads(versions);
    for (uint32_t i = 0; i < history->step_count; i++) {
        const struct step *step = &history->steps[i];
        uint32_t op = versions->step_ops[i];
        if (step->kind != STEP_READ_LIST || op_of(versions, op)->outcome != OP_OK) {
            continue;
        }
        const struct places *places = &versions->places[step->key];
        if (places->longest_step == i) {
            show_tokens(versions, verdict, i, true);
        } else if (step->token_count > 0 &&
                   memcmp(tokens_of(versions, step),
                          tokens_of(versions, step_of(versions, places->longest_step)),
                          step->token_count * sizeof(uint64_t)) != 0) {
            verdict_add(verdict, "incompatible order", history, OPS(places->longest_op, op),
                        "two reads of %s, neither of which is the beginning of the other",
                        NAME(step->key));
            show_tokens(versions, verdict, i, false);
        }
    }
}

static void read_registers(struct versions *versions, struct verdict *verdict) {
    const struct history *history = versions->history;
    for (uint32_t i = 0; i < history->step_count; i++) {
        const struct step *step = &history->steps[i];
        if (step->kind == STEP_READ && step->value != 0 &&
            op_of(versions, versions->step_ops[i])->outcome == OP_OK) {
            show(versions, verdict, versions->step_ops[i], step->key, step->value);
        }
    }
}

/* ---- Places -------------------------------------------------------------------------------- */

/* No place can be beyond the number of operations that may have appended. */
static void make_places(struct versions *versions) {
    const struct history *history = versions->history;
    for (uint32_t i = 0; i < history->step_count; i++) {
        const struct step *step = &history->steps[i];
        if ((step->kind == STEP_APPEND || step->kind == STEP_INCR) &&
            op_of(versions, versions->step_ops[i])->outcome != OP_FAIL) {
            versions->places[step->key].cap++;
        }
    }
    for (size_t key = 0; key < history_key_count(history); key++) {
        struct places *places = &versions->places[key];
        if (places->cap < places->longest) {
            places->cap = places->longest;
        }
        places->steps = zeroed(places->cap + 1, sizeof(*places->steps));
        for (size_t i = 0; i <= places->cap; i++) {
            places->steps[i] = VERSION_NONE;
        }
    }
}

static void set_place(struct versions *versions, struct verdict *verdict, uint32_t key,
                      uint64_t place, uint32_t step) {
    struct places *places = &versions->places[key];
    uint32_t op = versions->step_ops[step];
    if (place > places->cap) {
        verdict_add(verdict, "duplicate", versions->history, OPS(op),
                    "%s counts %" PRIu64 " although at most %u were ever made", NAME(key), place,
                    places->cap);
        return;
    }
    uint32_t other = places->steps[place];
    if (other != VERSION_NONE && other != step) {
        bool read = place <= places->longest;
        verdict_add(verdict, read ? "incompatible order" : "lost update", versions->history,
                    OPS(versions->step_ops[other], op), "%s has two at number %" PRIu64, NAME(key),
                    place);
        return;
    }
    places->steps[place] = step;
    if (place > places->max) {
        places->max = (uint32_t)place;
    }
}

static void fill_places(struct versions *versions, struct verdict *verdict) {
    const struct history *history = versions->history;
    for (size_t i = 0; i < versions->write_count; i++) {
        const struct write *write = &versions->writes[i];
        if (write->place != 0) {
            set_place(versions, verdict, write->key, write->place, write->step);
        }
    }
    for (uint32_t i = 0; i < history->step_count; i++) {
        const struct step *step = &history->steps[i];
        if (op_of(versions, versions->step_ops[i])->outcome != OP_OK) {
            continue;
        }
        if (step->kind == STEP_INCR && step->value != 0) {
            set_place(versions, verdict, step->key, step->value, i);
        } else if (step->kind == STEP_APPEND && step->place != 0) {
            uint32_t found = versions_find(versions, step->key, step->value);
            struct write *write = &versions->writes[found];
            if (write->place != 0 && write->place != step->place) {
                const struct places *places = &versions->places[step->key];
                verdict_add(verdict, "incompatible order", history,
                            OPS(write->op, places->longest_op),
                            "%" PRIu64 " was appended to %s as its number %" PRIu64
                            " and read as its number %u",
                            step->value, NAME(step->key), step->place, write->place);
            } else {
                set_place(versions, verdict, step->key, step->place, i);
                write->place = step->place <= UINT32_MAX ? (uint32_t)step->place : 0;
            }
        }
    }
}

uint32_t versions_writer(const struct versions *versions, uint32_t key, uint32_t version) {
    if (version >= VERSION_NIL) {
        return OP_NONE;
    }
    if (history_key_kind(versions->history, key) == KEY_REGISTER) {
        return versions->writes[version].op;
    }
    const struct places *places = &versions->places[key];
    if (version == 0 || version > places->max || places->steps[version] == VERSION_NONE) {
        return OP_NONE;
    }
    return versions->step_ops[places->steps[version]];
}

/* ---- What an operation did to a key -------------------------------------------------------- */

/* While the steps of one operation on one key are walked. */
struct walk {
    struct access access;
    uint32_t own;      /* writes of its own so far */
    uint64_t own_last; /* what the last of them left: value, token or count; 0 if not known */
};

static void walk_read(struct versions *versions, struct verdict *verdict, struct walk *walk,
                      uint32_t before) {
    struct access *access = &walk->access;
    if (access->reads && access->before != before) {
        verdict_add(verdict, "unrepeatable read", versions->history, OPS(access->op),
                    "one operation read %s twice and saw two states", NAME(access->key));
        return;
    }
    access->reads = true;
    access->before = before;
}

static void internal(struct versions *versions, struct verdict *verdict, const struct walk *walk) {
    verdict_add(verdict, "internal inconsistency", versions->history, OPS(walk->access.op),
                "a read of %s does not show what the same operation wrote before it",
                NAME(walk->access.key));
}

static void walk_register(struct versions *versions, struct verdict *verdict, struct walk *walk,
                          const struct step *step) {
    if (step->kind == STEP_WRITE) {
        walk->own++;
        walk->own_last = step->value;
        walk->access.after = versions_find(versions, step->key, step->value);
    } else if (walk->own > 0) {
        if (step->value != walk->own_last) {
            internal(versions, verdict, walk);
        }
    } else {
        uint32_t before =
            step->value ? versions_find(versions, step->key, step->value) : VERSION_NIL;
        if (before < VERSION_NIL &&
            op_of(versions, versions->writes[before].op)->outcome == OP_FAIL) {
            before = VERSION_NONE;
        }
        walk_read(versions, verdict, walk, before);
    }
}

/* The list must end with the operation's own appends; what is before them was there before it. */
static void walk_list(struct versions *versions, struct verdict *verdict, struct walk *walk,
                      const struct step *step) {
    if (step->kind == STEP_APPEND) {
        walk->own++;
        walk->own_last = step->value;
        walk->access.after =
            versions->writes[versions_find(versions, step->key, step->value)].place;
        return;
    }
    if (step->token_count < walk->own ||
        (walk->own > 0 && tokens_of(versions, step)[step->token_count - 1] != walk->own_last)) {
        internal(versions, verdict, walk);
        return;
    }
    walk_read(versions, verdict, walk, (uint32_t)step->token_count - walk->own);
}

static void walk_counter(struct versions *versions, struct verdict *verdict, struct walk *walk,
                         const struct step *step) {
    const struct places *places = &versions->places[step->key];
    if (step->kind == STEP_INCR) {
        walk->own++;
        walk->own_last = step->value;
        walk->access.after = step->value <= places->cap ? (uint32_t)step->value : 0;
        return;
    }
    if (walk->own > 0) {
        if (walk->own_last != 0 && walk->own_last != step->value) {
            internal(versions, verdict, walk);
        }
        return;
    }
    if (step->value > places->cap) {
        verdict_add(verdict, "duplicate", versions->history, OPS(walk->access.op),
                    "%s was read as %" PRIu64 " although at most %u increments were made",
                    NAME(step->key), step->value, places->cap);
        return;
    }
    walk_read(versions, verdict, walk, (uint32_t)step->value);
}

/* A state that its writer went on to change before it was done. */
static void check_intermediate(struct versions *versions, struct verdict *verdict,
                               const struct access *access) {
    uint32_t writer = versions_writer(versions, access->key, access->before);
    if (writer == OP_NONE || writer == access->op) {
        return;
    }
    uint32_t step = history_key_kind(versions->history, access->key) == KEY_REGISTER
                        ? versions->writes[access->before].step
                        : versions->places[access->key].steps[access->before];
    if (!last_write_of_op(versions, step)) {
        verdict_add(verdict, "intermediate read", versions->history, OPS(writer, access->op),
                    "T2 read %s as it was in the middle of T1", NAME(access->key));
    }
}

static void add_access(struct versions *versions, struct verdict *verdict, uint32_t op_number,
                       uint32_t key) {
    const struct op *op = op_of(versions, op_number);
    enum key_kind kind = history_key_kind(versions->history, key);
    struct walk walk = {.access = {.op = op_number, .key = key, .before = VERSION_NONE}};
    for (size_t i = op->step_first; i < op->step_first + op->step_count; i++) {
        const struct step *step = step_of(versions, (uint32_t)i);
        if (step->key != key || (!step_writes(step->kind) && op->outcome != OP_OK)) {
            continue;
        }
        if (kind == KEY_REGISTER) {
            walk_register(versions, verdict, &walk, step);
        } else if (kind == KEY_LIST) {
            walk_list(versions, verdict, &walk, step);
        } else {
            walk_counter(versions, verdict, &walk, step);
        }
    }
    walk.access.writes = walk.own > 0;
    if (!walk.access.reads && !walk.access.writes) {
        return;
    }
    check_intermediate(versions, verdict, &walk.access);
    if (versions->access_count == versions->access_cap) {
        versions->accesses =
            grow(versions->accesses, &versions->access_cap, sizeof(*versions->accesses));
    }
    versions->accesses[versions->access_count++] = walk.access;
}

static void collect_accesses(struct versions *versions, struct verdict *verdict) {
    const struct history *history = versions->history;
    for (uint32_t i = 0; i < history->op_count; i++) {
        const struct op *op = &history->ops[i];
        versions->access_first[i] = versions->access_count;
        for (size_t j = 0; versions->committed[i] && j < op->step_count; j++) {
            uint32_t key = history->steps[op->step_first + j].key;
            bool first = history_key_kind(history, key) != KEY_MIXED;
            for (size_t k = 0; k < j; k++) {
                first &= history->steps[op->step_first + k].key != key;
            }
            if (first) {
                add_access(versions, verdict, i, key);
            }
        }
    }
    versions->access_first[history->op_count] = versions->access_count;
}

const struct access *versions_access(const struct versions *versions, uint32_t op, uint32_t key) {
    for (size_t i = versions->access_first[op]; i < versions->access_first[op + 1]; i++) {
        if (versions->accesses[i].key == key) {
            return &versions->accesses[i];
        }
    }
    return NULL;
}

/* ---- Lost updates -------------------------------------------------------------------------- */

static int by_before(const void *a, const void *b) {
    const struct access *x = *(const struct access *const *)a;
    const struct access *y = *(const struct access *const *)b;
    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    if (x->before != y->before) {
        return x->before < y->before ? -1 : 1;
    }
    return x->op < y->op ? -1 : x->op > y->op;
}

/* Two that read one version and both wrote on top of it: one of them has not seen the other. */
static void check_lost_updates(struct versions *versions, struct verdict *verdict) {
    const struct access **updates = zeroed(versions->access_count, sizeof(*updates));
    size_t count = 0;
    for (size_t i = 0; i < versions->access_count; i++) {
        const struct access *access = &versions->accesses[i];
        if (access->reads && access->writes && access->before != VERSION_NONE) {
            updates[count++] = access;
        }
    }
    qsort(updates, count, sizeof(*updates), by_before);
    for (size_t i = 1; i < count; i++) {
        const struct access *x = updates[i - 1], *y = updates[i];
        if (x->key == y->key && x->before == y->before) {
            verdict_add(verdict, "lost update", versions->history, OPS(x->op, y->op),
                        "T1 and T2 both read the same state of %s and both wrote on top of it",
                        NAME(x->key));
        }
    }
    free(updates);
}

/* ---- Torn reads ---------------------------------------------------------------------------- */

/* True if `read`, of an operation that saw another write of `writer`, does not show what it wrote
 * here. `seen` is the key where it does. */
static bool is_torn(const struct versions *versions, uint32_t writer, uint32_t seen,
                    const struct access *read) {
    const struct access *wrote = versions_access(versions, writer, read->key);
    if (wrote == NULL || !wrote->writes || read->before == VERSION_NONE) {
        return false;
    }
    if (history_key_kind(versions->history, read->key) != KEY_REGISTER) {
        /* A committed append whose place is not known comes after all that was read. */
        bool list = history_key_kind(versions->history, read->key) == KEY_LIST;
        return wrote->after != 0 ? read->before < wrote->after : list;
    }
    if (read->before == wrote->after) {
        return false;
    }
    if (read->before == VERSION_NIL || (wrote->reads && wrote->before == read->before)) {
        return true;
    }
    uint32_t other = versions->writes[read->before].op;
    const struct access *other_seen = versions_access(versions, other, seen);
    return op_of(versions, other)->return_ns < op_of(versions, writer)->call_ns ||
           (other_seen != NULL && other_seen->writes);
}

static void check_torn_pair(struct versions *versions, struct verdict *verdict,
                            const struct access *shows, const struct access *hides) {
    if (!shows->reads || !hides->reads || shows->before == VERSION_NONE) {
        return;
    }
    uint32_t writer = versions_writer(versions, shows->key, shows->before);
    if (writer != OP_NONE && writer != shows->op && is_torn(versions, writer, shows->key, hides)) {
        verdict_add(verdict, "torn read", versions->history, OPS(writer, shows->op),
                    "T2 saw T1's write of %s and not its write of %s: half a transaction",
                    NAME(shows->key), NAME(hides->key));
    }
}

static void check_torn_reads(struct versions *versions, struct verdict *verdict) {
    for (size_t op = 0; op < versions->history->op_count; op++) {
        size_t first = versions->access_first[op], end = versions->access_first[op + 1];
        for (size_t i = first; i < end; i++) {
            for (size_t j = first; j < end; j++) {
                if (i != j) {
                    check_torn_pair(versions, verdict, &versions->accesses[i],
                                    &versions->accesses[j]);
                }
            }
        }
    }
}

/* ---- All of it ----------------------------------------------------------------------------- */

static void check_kinds(struct versions *versions, struct verdict *verdict) {
    for (uint32_t key = 0; key < history_key_count(versions->history); key++) {
        if (history_key_kind(versions->history, key) == KEY_MIXED) {
            verdict_add(verdict, "unusable history", versions->history, NULL, 0,
                        "%s is used as more than one of register, list and counter", NAME(key));
        }
    }
}

void versions_init(struct versions *versions, const struct history *history,
                   struct verdict *verdict) {
    check(history->op_count < OP_NONE && history->step_count < VERSION_NIL);
    *versions = (struct versions){.history = history};
    size_t keys = history_key_count(history);
    versions->step_ops = zeroed(history->step_count, sizeof(*versions->step_ops));
    versions->committed = zeroed(history->op_count, sizeof(*versions->committed));
    versions->access_first = zeroed(history->op_count + 1, sizeof(*versions->access_first));
    versions->places = zeroed(keys, sizeof(*versions->places));
    for (size_t i = 0; i < keys; i++) {
        versions->places[i].longest_step = VERSION_NONE;
        versions->places[i].longest_op = OP_NONE;
    }
    for (uint32_t i = 0; i < history->op_count; i++) {
        const struct op *op = &history->ops[i];
        versions->committed[i] = op->outcome == OP_OK;
        for (size_t j = 0; j < op->step_count; j++) {
            versions->step_ops[op->step_first + j] = i;
        }
    }
    check_kinds(versions, verdict);
    collect_writes(versions, verdict);
    read_lists(versions, verdict);
    read_registers(versions, verdict);
    make_places(versions);
    fill_places(versions, verdict);
    collect_accesses(versions, verdict);
    check_lost_updates(versions, verdict);
    check_torn_reads(versions, verdict);
}

void versions_fini(struct versions *versions) {
    for (size_t i = 0; i < history_key_count(versions->history); i++) {
        free(versions->places[i].steps);
    }
    free(versions->places);
    free(versions->access_first);
    free(versions->committed);
    free(versions->step_ops);
    free(versions->accesses);
    free(versions->writes);
    *versions = (struct versions){0};
}
