/* SPDX-License-Identifier: BSD-3-Clause */
/* command_table: rows found by name in a few nanoseconds.
 *
 * A name is looked up for every request, so the table is open addressed and its entries carry the
 * whole name up to 16 bytes as two words. Case is ignored by setting bit 5 of the asked name
 * wherever the entry's name has a letter: a byte that then equals a lower-case letter was that
 * letter in either case and nothing else, so two compares of words and one of lengths are exact.
 * Longer names end with one more compare.
 *
 * What follows from a row is derived here once: whether it fences, the categories that flags imply,
 * the first/last/step triple that COMMAND has shown since before key specs existed, and whether
 * routing may trust that triple.
 */
#include "server/call/command_table.h"

#include "base/check.h"
#include "base/must.h"
#include "base/num.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#define BUCKETS_BITS 11
#define BUCKETS      (1u << BUCKETS_BITS)

/* A name's first and last eight bytes, lower case, and bit 5 of those that are letters; tail is 0
 * up to 8 bytes. */
struct bucket {
    uint64_t head, head_letters;
    uint64_t tail, tail_letters;
    const struct command_ref *ref;
    size_t len;
};

struct command_table {
    struct bucket buckets[BUCKETS];
    struct command_ref *refs; /* by id: top-level commands first, then all subcommands */
    unsigned count;
    unsigned top_count;
    char *names; /* storage of full names and new names */
};

const char *const command_category_names[] = {
    "keyspace", "read",        "write",      "set",         "sortedset", "list",  "hash", "string",
    "bitmap",   "hyperloglog", "geo",        "stream",      "pubsub",    "admin", "fast", "slow",
    "blocking", "dangerous",   "connection", "transaction", "scripting", NULL,
};

/* ---- Lookup ---- */

static inline uint64_t word_load(const char *ptr) {
    uint64_t word;
    memcpy(&word, ptr, sizeof(word));
    return word;
}

/* One to eight bytes, without reading beyond them; the rest of the word is zero. Parts overlap
 * instead of being counted off: a loop over the length would be mispredicted whenever lengths
 * change. */
static inline uint64_t word_load_short(const char *ptr, size_t len) {
    const unsigned char *p = (const unsigned char *)ptr;
    if (len >= 4) {
        uint32_t low, high;
        memcpy(&low, p, 4);
        memcpy(&high, p + len - 4, 4);
        return low | (uint64_t)high << (8 * (len - 4));
    }
    if (len == 0) {
        return 0;
    }
    return p[0] | (uint64_t)p[len / 2] << (8 * (len / 2)) | (uint64_t)p[len - 1] << (8 * (len - 1));
}

struct packed {
    uint64_t head, tail;
    unsigned bucket;
};

#define CASE_BITS UINT64_C(0x2020202020202020)

static inline struct packed name_pack(struct bytes name) {
    struct packed p = {0};
    if (name.len <= 8) {
        p.head = word_load_short(name.ptr, name.len);
    } else {
        p.head = word_load(name.ptr);
        p.tail = word_load(name.ptr + name.len - 8);
    }
    uint64_t tail = p.tail | CASE_BITS;
    uint64_t mixed =
        ((p.head | CASE_BITS) ^ (tail << 7 | tail >> 57)) * UINT64_C(0x9E3779B97F4A7C15);
    p.bucket = (unsigned)(mixed >> (64 - BUCKETS_BITS));
    return p;
}

const struct command_ref *command_table_find(const struct command_table *table, struct bytes name) {
    struct packed p = name_pack(name);
    for (unsigned i = p.bucket;; i = (i + 1) & (BUCKETS - 1)) {
        const struct bucket *b = &table->buckets[i];
        if (LIKELY((p.head | b->head_letters) == b->head && (p.tail | b->tail_letters) == b->tail &&
                   b->len == name.len) &&
            (name.len <= 16 ||
             bytes_equal_nocase(name, bytes_make(b->ref->served_name, name.len)))) {
            return b->ref;
        }
        if (b->ref == NULL) {
            return NULL;
        }
    }
}

/* Bit 5 of every byte of a lower-case word that is a letter. */
static uint64_t letters_of(uint64_t word) {
    uint64_t letters = 0;
    for (int i = 0; i < 64; i += 8) {
        uint64_t c = word >> i & 0xff;
        letters |= c >= 'a' && c <= 'z' ? UINT64_C(0x20) << i : 0;
    }
    return letters;
}

static void bucket_add(struct command_table *table, const struct command_ref *ref) {
    char lower[16] = {0};
    size_t len = strlen(ref->served_name);
    struct packed p = name_pack(bytes_make(ref->served_name, len));
    memcpy(lower, &p.head, 8);
    memcpy(lower + 8, &p.tail, 8);
    for (size_t i = 0; i < sizeof(lower); i++) {
        lower[i] = byte_lower(lower[i]);
    }
    unsigned i = p.bucket;
    while (table->buckets[i].ref != NULL) {
        i = (i + 1) & (BUCKETS - 1);
    }
    uint64_t head = word_load(lower), tail = word_load(lower + 8);
    table->buckets[i] = (struct bucket){head, letters_of(head), tail, letters_of(tail), ref, len};
}

const struct command_ref *command_ref_find_sub(const struct command_ref *container,
                                               struct bytes name) {
    for (unsigned i = 0; i < container->subcommands_count; i++) {
        const struct command_ref *sub = &container->subcommands[i];
        if (bytes_equal_nocase(name, bytes_of_text(sub->row->name))) {
            return sub;
        }
    }
    return NULL;
}

/* ---- What follows from a row ---- */

static unsigned categories_of(const struct command *row) {
    unsigned categories = row->categories;
    if (row->flags & CMD_WRITE) {
        categories |= ACL_WRITE;
    }
    /* A script that only reads may still do anything its text says, so it is not "read". */
    if ((row->flags & CMD_READONLY) && !(categories & ACL_SCRIPTING)) {
        categories |= ACL_READ;
    }
    if (row->flags & CMD_ADMIN) {
        categories |= ACL_ADMIN | ACL_DANGEROUS;
    }
    if (row->flags & CMD_PUBSUB) {
        categories |= ACL_PUBSUB;
    }
    if (row->flags & CMD_BLOCKING) {
        categories |= ACL_BLOCKING;
    }
    return categories | (row->flags & CMD_FAST ? ACL_FAST : ACL_SLOW);
}

/* Folds the key specs into the one old triple. Specs that do not fit (not a plain range, a step, a
 * gap, incomplete) are left out of it and make the keys movable. */
static void fold_key_specs(struct command_ref *ref) {
    const struct key_spec *specs = ref->row->keys;
    bool single = specs[0].begin != BEGIN_NONE && specs[1].begin == BEGIN_NONE;
    int first = INT_MAX, step = 1, previous = 0;
    unsigned last = 0;
    for (int i = 0; i < KEY_SPECS_MAX && specs[i].begin != BEGIN_NONE; i++) {
        const struct key_spec *spec = &specs[i];
        bool plain = spec->begin == BEGIN_INDEX && spec->find == FIND_RANGE;
        if (!plain || (!single && spec->step != 1) ||
            (previous != 0 && previous != spec->index - 1)) {
            ref->flags |= CMD_MOVABLE_KEYS;
            continue;
        }
        if (spec->flags & KEY_INCOMPLETE) {
            ref->flags |= CMD_MOVABLE_KEYS;
        }
        first = spec->index < first ? spec->index : first;
        step = spec->step;
        int end = spec->last >= 0 ? spec->index + spec->last : spec->last;
        last = (unsigned)end > last ? (unsigned)end
                                    : last; /* unsigned: "from the end" is the furthest */
        previous = (int)last;
    }
    if (first == INT_MAX) {
        return;
    }
    ref->shown_first = first;
    ref->shown_last = (int)last;
    ref->shown_step = step;
}

static bool fences(const struct command *row) {
    if (row->fence == FENCE_BY_PLACE) {
        return row->place != PLACE_KEY && row->place != PLACE_PURE;
    }
    return row->fence == FENCE_YES;
}

static void ref_derive(struct command_ref *ref) {
    const struct command *row = ref->row;
    ref->fences = fences(row);
    ref->flags = row->flags;
    ref->categories = categories_of(row);
    fold_key_specs(ref);
    bool simple = !(ref->flags & CMD_MOVABLE_KEYS);
    for (int i = 0; i < KEY_SPECS_MAX && row->keys[i].begin != BEGIN_NONE; i++) {
        if ((row->keys[i].flags & KEY_NOT_KEY) || row->keys[i].limit > 1) {
            simple = false;
        }
    }
    if (simple) {
        ref->first_key = ref->shown_first;
        ref->simple = ref->first_key > 0 && ref->shown_last == ref->first_key &&
                      row->place == PLACE_KEY && row->name_dbs == NULL;
    }
    ref->repeats = ref->container == NULL && row->subcommands == NULL;
    ref->plain = ref->simple && ref->repeats && row->ready == NULL && !row->copies &&
                 !(ref->flags & CMD_PROTECTED);
    ref->element = ref->simple ? row->element : 0;
    bool is_fast = row->brief || (ref->flags & CMD_FAST);
    ref->brief = is_fast && (ref->simple || row->place == PLACE_PURE);
}

/* ---- Making the table ---- */

static unsigned rows_count(const struct command *rows) {
    unsigned n = 0;
    while (rows != NULL && rows[n].name != NULL) {
        n++;
    }
    return n;
}

static void ref_init(struct command_ref *ref, unsigned id, const struct command *row,
                     const struct command_ref *container, char **names) {
    ref->row = row;
    ref->container = container;
    ref->id = id;
    ref->full_name = *names;
    ref->served_name = container ? row->name : *names;
    if (container != NULL) {
        size_t n = strlen(container->full_name);
        memcpy(*names, container->full_name, n);
        (*names)[n] = '|';
        *names += n + 1;
    }
    strcpy(*names, row->name);
    *names += strlen(row->name) + 1;
    ref_derive(ref);
}

/* Slots, names and their storage; names are as in the rows. */
static void slots_fill(struct command_table *table, const struct command *const *families,
                       size_t renames_bytes) {
    unsigned top = 0, subs = 0;
    size_t text = 0;
    for (size_t f = 0; families[f] != NULL; f++) {
        for (const struct command *row = families[f]; row->name != NULL; row++) {
            top++;
            text += strlen(row->name) + 1;
            for (unsigned s = 0; s < rows_count(row->subcommands); s++) {
                subs++;
                text += strlen(row->name) + strlen(row->subcommands[s].name) + 2;
            }
        }
    }
    check(top * 2 < BUCKETS);
    table->top_count = top;
    table->count = top + subs;
    table->refs = must_calloc(table->count, sizeof(*table->refs));
    table->names = must_malloc(text + renames_bytes);
    char *names = table->names + renames_bytes;
    unsigned id = 0, sub_id = top;
    for (size_t f = 0; families[f] != NULL; f++) {
        for (const struct command *row = families[f]; row->name != NULL; row++, id++) {
            struct command_ref *ref = &table->refs[id];
            ref_init(ref, id, row, NULL, &names);
            ref->subcommands = &table->refs[sub_id];
            ref->subcommands_count = rows_count(row->subcommands);
            for (unsigned s = 0; s < ref->subcommands_count; s++, sub_id++) {
                ref_init(&table->refs[sub_id], sub_id, &row->subcommands[s], ref, &names);
            }
        }
    }
}

static struct command_ref *served_as(struct command_table *table, struct bytes name) {
    for (unsigned i = 0; i < table->top_count; i++) {
        if (name.len > 0 && bytes_equal_nocase(name, bytes_of_text(table->refs[i].served_name))) {
            return &table->refs[i];
        }
    }
    return NULL;
}

/* Names go to the start of `names`; 0 or what command_table_new reports. */
static int renames_apply(struct command_table *table, const struct bytes *renames, size_t pairs,
                         struct bytes *ret_bad) {
    char *names = table->names;
    for (size_t i = 0; i < pairs; i++) {
        struct command_ref *ref = served_as(table, renames[2 * i]);
        struct bytes to = renames[2 * i + 1];
        if (ref == NULL) {
            *ret_bad = renames[2 * i];
            return -ENOENT;
        }
        ref->served_name = "";
        if (served_as(table, to) != NULL) {
            *ret_bad = to;
            return -EEXIST;
        }
        ref->served_name = names;
        memcpy(names, to.ptr, to.len);
        names[to.len] = 0;
        names += to.len + 1;
    }
    return 0;
}

struct command_table *command_table_new(const struct command *const *families,
                                        const struct bytes *renames, size_t pairs, int *ret_error,
                                        struct bytes *ret_bad) {
    size_t renames_bytes = 0;
    for (size_t i = 0; i < pairs; i++) {
        renames_bytes += renames[2 * i + 1].len + 1;
    }
    struct command_table *table = must_calloc(1, sizeof(*table));
    slots_fill(table, families, renames_bytes);
    *ret_error = renames_apply(table, renames, pairs, ret_bad);
    if (*ret_error != 0) {
        command_table_free(table);
        return NULL;
    }
    for (unsigned i = 0; i < table->top_count; i++) {
        if (table->refs[i].served_name[0] != 0) {
            bucket_add(table, &table->refs[i]);
        }
    }
    return table;
}

void command_table_free(struct command_table *table) {
    if (table != NULL) {
        free(table->refs);
        free(table->names);
        free(table);
    }
}

const struct command_ref *command_table_find_full(const struct command_table *table,
                                                  struct bytes name) {
    const char *bar = name.len > 0 ? memchr(name.ptr, '|', name.len) : NULL;
    if (bar == NULL) {
        return command_table_find(table, name);
    }
    struct bytes top = bytes_make(name.ptr, (size_t)(bar - name.ptr));
    const struct command_ref *ref = command_table_find(table, top);
    if (ref == NULL) {
        return NULL;
    }
    return command_ref_find_sub(ref, bytes_make(bar + 1, name.len - top.len - 1));
}

unsigned command_table_count(const struct command_table *table) {
    return table->count;
}

const struct command_ref *command_table_at(const struct command_table *table, unsigned id) {
    check(id < table->count);
    return &table->refs[id];
}

unsigned command_table_top_count(const struct command_table *table) {
    return table->top_count;
}

const struct command_ref *command_table_top(const struct command_table *table, unsigned index) {
    check(index < table->top_count);
    return &table->refs[index];
}

/* ---- Keys of a call ---- */

/* Where a spec's keys begin: index in argv, 0 if its keyword is not there. */
static int64_t spec_begin(const struct key_spec *spec, const struct bytes *argv, int64_t argc) {
    if (spec->begin == BEGIN_INDEX) {
        return spec->index;
    }
    if (spec->begin != BEGIN_KEYWORD) {
        return -1;
    }
    struct bytes keyword = bytes_of_text(spec->keyword);
    bool forward = spec->index > 0;
    int64_t end = forward ? argc - 1 : 1;
    for (int64_t i = forward ? spec->index : argc + spec->index; i > 0 && i < argc;
         i += forward ? 1 : -1) {
        if (i == end) {
            break; /* no key can follow the last argument, nor be before the name */
        }
        if (bytes_equal_nocase(argv[i], keyword)) {
            return i + 1;
        }
    }
    return 0;
}

/* Writes one spec's keys behind the n there are; the new n, or -1. */
static int spec_keys(const struct key_spec *spec, const struct bytes *argv, int64_t argc,
                     struct key_ref *ret, int n, int max) {
    int64_t first = spec_begin(spec, argv, argc), last, step;
    if (first == 0) {
        return n;
    }
    if (first < 0) {
        return -1;
    }
    if (spec->find == FIND_RANGE) {
        step = spec->step;
        if (spec->last >= 0) {
            last = first + spec->last;
        } else if (spec->limit > 1) {
            last = first + (argc - first) / spec->limit + spec->last;
        } else {
            last = argc + spec->last;
        }
    } else if (spec->find == FIND_KEYNUM) {
        int64_t count;
        step = spec->keynum_step;
        if (first + spec->keynum >= argc || !num_parse_i64(argv[first + spec->keynum], &count) ||
            count <= 0 || count > argc) {
            return -1;
        }
        first += spec->first;
        last = first + (count - 1) * step;
    } else {
        return -1;
    }
    if (last >= argc || last < first || first >= argc) {
        return -1;
    }
    for (int64_t i = first; i <= last; i += step, n++) {
        if (n < max) {
            ret[n] = (struct key_ref){(uint32_t)i, spec->flags, KEY_DB_SELECTED};
        }
    }
    return spec->flags & KEY_INCOMPLETE ? -1 : n;
}

/* What the key specs say; -1: one of them makes no sense. */
static int specs_keys(const struct command *command, const struct bytes *argv, uint32_t argc,
                      struct key_ref *ret, int max, bool *ret_variable) {
    bool variable = false;
    int n = 0;
    for (int i = 0; i < KEY_SPECS_MAX && command->keys[i].begin != BEGIN_NONE; i++) {
        const struct key_spec *spec = &command->keys[i];
        variable |= (spec->flags & KEY_VARIABLE_FLAGS) != 0;
        if (n >= 0 && !(spec->flags & KEY_NOT_KEY)) {
            n = spec_keys(spec, argv, argc, ret, n, max);
        }
    }
    *ret_variable = variable;
    return n;
}

int command_keys(const struct command *command, const struct bytes *argv, uint32_t argc,
                 struct key_ref *ret, int max) {
    bool variable;
    int n = specs_keys(command, argv, argc, ret, max, &variable);
    if (command->find_keys != NULL && (variable || n < 0 || command->keys[0].begin == BEGIN_NONE)) {
        return command->find_keys(command, argv, argc, ret, max);
    }
    return n;
}

/* The keys of a call whose specs make no sense, of a command that says how many keys it has: their
 * number is read loosely, nothing is said of what becomes of them, and the target comes last. -1:
 * not such a command (MSETEX, whose keys are a pair's first each, is none), or not so many keys. */
static int counted_keys(const struct command *command, const struct bytes *argv, uint32_t argc,
                        struct key_ref *ret, int max) {
    uint32_t target = 0;
    const struct key_spec *spec = command->keys;
    if (spec->find == FIND_RANGE && spec->begin == BEGIN_INDEX) {
        target = (uint32_t)spec++->index;
    }
    if (spec->begin != BEGIN_INDEX || spec->find != FIND_KEYNUM || spec->keynum_step != 1) {
        return -1;
    }
    uint32_t at = (uint32_t)(spec->index + spec->keynum);
    uint32_t first = (uint32_t)(spec->index + spec->first);
    int count = at < argc ? num_parse_loose(argv[at]) : 0;
    if (count < 1 || (uint32_t)count > argc - first) {
        return -1;
    }
    int n = 0;
    for (; n < count && n < max; n++) {
        ret[n] = (struct key_ref){first + (uint32_t)n, 0, KEY_DB_SELECTED};
    }
    if (target != 0 && n < max) {
        ret[n] = (struct key_ref){target, 0, KEY_DB_SELECTED};
    }
    return count + (target != 0);
}

int command_keys_told(const struct command_ref *ref, const struct bytes *argv, uint32_t argc,
                      struct key_ref *ret, int max) {
    bool variable;
    int n = specs_keys(ref->row, argv, argc, ret, max, &variable);
    if (n < 0 && ref->row->find_keys == NULL) {
        return counted_keys(ref->row, argv, argc, ret, max);
    }
    bool specs_alone = !(ref->flags & CMD_MOVABLE_KEYS) && !variable;
    return specs_alone ? n : command_keys(ref->row, argv, argc, ret, max);
}
