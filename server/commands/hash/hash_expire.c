/* SPDX-License-Identifier: BSD-3-Clause */
/* hash_expire: deadlines of fields: given, taken away, asked for, and together with their values.
 *
 * All of these commands name their fields alike: FIELDS, how many, and the fields. What stands
 * before FIELDS are options; the order of checks is Valkey's: options, then the number of fields,
 * then times and keys.
 *
 * A deadline that lies in the past takes the field out at once.
 */
#include "base/must.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/commands/hash/hash.h"

#include <stdlib.h>
#include <string.h>

#define ERR_NUMFIELDS                                                                              \
    "ERR numfields should be greater than 0 and match the provided number of fields"

/* ---- FIELDS ---- */

/* Where the fields are that a command names. */
struct field_args {
    uint32_t word;  /* FIELDS; 0: it is missing */
    uint32_t first; /* the first field */
    int64_t count;
};

/* The first word FIELDS from an argument on that something stands behind. */
static uint32_t find_word(const struct exec *x, uint32_t from) {
    for (uint32_t i = from; i + 1 < x->argc; i++) {
        if (bytes_is(x->argv[i], "fields")) {
            return i;
        }
    }
    return 0;
}

/* Reads how many there are of `each` words a field; false if an error was written. */
static bool read_count(const struct exec *x, uint32_t word, uint32_t each, const char *error,
                       struct field_args *ret) {
    *ret = (struct field_args){.word = word, .first = word + 2};
    if (word != 0 && !exec_arg_i64(x, word + 1, &ret->count)) {
        return false;
    }
    /* As in Valkey's arithmetic, half of 2^64 too much makes no difference to twice the number. */
    uint64_t words = (uint64_t)ret->count * each;
    if (ret->count == 0 || words != x->argc - (uint64_t)ret->first) {
        reply_error(x->reply, error);
        return false;
    }
    ret->count = (int64_t)(words / each);
    return true;
}

/* Of a command that has nothing but fields. */
static bool read_fields(const struct exec *x, const char *error, struct field_args *ret) {
    if (!bytes_is(x->argv[2], "fields")) {
        reply_error(x->reply, ERR_SYNTAX);
        return false;
    }
    return read_count(x, 2, 1, error, ret);
}

/* ---- Times ---- */

/* A time is 0 or later, in a unit and from an origin. False, and the error is written, for others.
 */
static bool read_deadline(const struct exec *x, uint32_t index, bool ms, bool absolute,
                          int64_t *ret_ms) {
    int64_t value;
    if (!exec_arg_i64(x, index, &value)) {
        return false;
    }
    bool bad = value < 0;
    bad |= !ms && __builtin_mul_overflow(value, 1000, &value);
    bad |= !absolute && __builtin_add_overflow(value, x->now_ms, &value);
    if (bad) {
        reply_errorf(x->reply, ERR_EXPIRE_TIME, x->command->name);
        return false;
    }
    *ret_ms = value;
    return true;
}

static bool find_hash(const struct exec *x, unsigned lookup_flags, struct entry **ret_entry) {
    return exec_find(x, &x->key, TYPE_HASH, lookup_flags, ret_entry);
}

/* A field of a hash that is being changed. *hid (or NULL) becomes true if it is only hidden. */
static bool find_field(const struct exec *x, const struct hash_change *c, struct bytes name,
                       struct hash_found *ret, bool *hid) {
    struct hash_look look = hash_look(c->change.value, c->edit.alive_ms);
    bool found = hash_find(&look, name, ret);
    hash_look_end(x, &look);
    if (UNLIKELY(look.hidden_to > 0) && hid != NULL) {
        *hid = true;
    }
    return found;
}

/* Names, as a command that is stated says them. */
struct names {
    struct bytes *argv; /* malloc; the first words are the caller's */
    uint32_t words, argc;
};

static struct names names_new(const struct exec *x, uint32_t words, int64_t count) {
    struct names names = {.words = words, .argc = words};
    if (effects_wanted(x)) {
        names.argv = must_malloc((words + (size_t)count) * sizeof *names.argv);
    }
    return names;
}

static void names_add(struct names *names, struct bytes name) {
    if (names->argv != NULL) {
        names->argv[names->argc] = name;
    }
    names->argc++;
}

static uint32_t names_count(const struct names *names) {
    return names->argc - names->words;
}

/* States `command key name ..`; two words of room before the names. */
static void names_state(const struct exec *x, struct names *names, struct bytes command) {
    if (names->argv != NULL && names_count(names) > 0) {
        struct bytes *argv = names->argv + names->words - 2;
        argv[0] = command;
        argv[1] = x->key.name;
        effect_state(x, argv, names_count(names) + 2);
    }
}

static void names_free(struct names *names) {
    free(names->argv);
}

/* ---- HEXPIRE and its relatives ---- */

enum condition { IF_NX = 1 << 0, IF_XX = 1 << 1, IF_GT = 1 << 2, IF_LT = 1 << 3 };

static bool read_conditions(const struct exec *x, uint32_t end, unsigned *ret) {
    static const char *const words[] = {"nx", "xx", "gt", "lt"};
    *ret = 0;
    for (uint32_t i = 3; i < end; i++) {
        unsigned word = 0;
        while (word < 4 && !bytes_equal_nocase(x->argv[i], bytes_of_text(words[word]))) {
            word++;
        }
        if (word == 4) {
            reply_errorf(x->reply, "ERR Unsupported option %.*s", bytes_precision(x->argv[i]),
                         x->argv[i].ptr);
            return false;
        }
        *ret |= 1u << word;
    }
    if ((*ret & IF_NX) && (*ret & ~(unsigned)IF_NX)) {
        reply_error(x->reply,
                    "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if ((*ret & IF_GT) && (*ret & IF_LT)) {
        reply_error(x->reply, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

/* A field without a deadline lives for ever. */
static bool conditions_hold(unsigned conditions, int64_t now, int64_t deadline) {
    bool none = now == NO_EXPIRY;
    return !((conditions & IF_NX) && !none) && !((conditions & IF_XX) && none) &&
           !((conditions & IF_GT) && (none || deadline <= now)) &&
           !((conditions & IF_LT) && !none && deadline >= now);
}

struct expiring {
    int64_t deadline;
    unsigned conditions;
    bool past;
};

/* What the reply says of one field: -2 missing, 0 a condition did not hold, 1 it has the deadline,
 * 2 it is gone. */
static int expire_field(const struct exec *x, struct hash_change *c,
                        const struct expiring *expiring, struct bytes name, bool *hid) {
    struct hash_found found;
    if (!find_field(x, c, name, &found, hid)) {
        return -2;
    }
    if (!conditions_hold(expiring->conditions, found.deadline, expiring->deadline)) {
        return 0;
    }
    if (expiring->past) {
        hash_remove(&c->edit, name);
        return 2;
    }
    hash_set_deadline(&c->edit, name, expiring->deadline);
    return 1;
}

/* What was done to these fields alone; five words of room before them. `when`: empty for a command
 * that says no time. */
static void say_fields(const struct exec *x, struct names *names, struct bytes command,
                       struct bytes when) {
    if (names->argv == NULL || names_count(names) == 0) {
        return;
    }
    char count[EFFECT_INT_BYTES];
    struct bytes words[5] = {command, x->key.name};
    uint32_t n = 2;
    if (when.len > 0) {
        words[n++] = when;
    }
    words[n++] = BYTES("FIELDS");
    words[n++] = effect_int(count, names_count(names));
    struct bytes *argv = names->argv + names->words - n;
    memcpy(argv, words, n * sizeof *argv);
    effect_state(x, argv, names->argc - (names->words - n));
}

/* As sent, with the absolute time in place of what was said. If fields are named that were hidden,
 * the others alone: who has those still would have them live on. */
static void say_deadline(const struct exec *x, int64_t deadline, struct names *set, bool hid) {
    char scratch[EFFECT_INT_BYTES];
    if (UNLIKELY(hid)) {
        say_fields(x, set, BYTES("HPEXPIREAT"), effect_int(scratch, deadline));
        return;
    }
    if (!effects_wanted(x) || x->command->logged != LOGGED_STATED) {
        return;
    }
    struct bytes *argv = must_malloc(x->argc * sizeof *argv);
    memcpy(argv, x->argv, x->argc * sizeof *argv);
    argv[0] = BYTES("HPEXPIREAT");
    argv[2] = effect_int(scratch, deadline);
    effect_state(x, argv, x->argc);
    free(argv);
}

static void expire_fields(struct exec *x, struct entry *entry, const struct expiring *expiring,
                          const struct field_args *fields) {
    struct hash_change c;
    bool hid = false;
    struct names gone = names_new(x, 2, fields->count), set = names_new(x, 5, fields->count);
    hash_change_begin(x, &c, entry);
    for (uint32_t i = fields->first; i < x->argc; i++) {
        int result = expire_field(x, &c, expiring, x->argv[i], &hid);
        reply_int(x->reply, result);
        if (result > 0) {
            names_add(result == 1 ? &set : &gone, x->argv[i]);
        }
    }
    keyspace_count_expired_fields(x->keyspace, names_count(&gone));
    hash_change_end(x, &c,
                    names_count(&set) > 0    ? EVENT_HEXPIRE
                    : names_count(&gone) > 0 ? EVENT_HEXPIRED
                                             : EVENT_NONE);
    keyspace_count_elements(x->keyspace, names_count(&set) + names_count(&gone));
    if (names_count(&set) > 0) {
        say_deadline(x, expiring->deadline, &set, hid);
    }
    names_state(x, &gone, BYTES("HDEL"));
    names_free(&gone);
    names_free(&set);
}

static void expire(struct exec *x, bool ms, bool absolute) {
    struct field_args fields;
    struct expiring expiring;
    struct entry *entry;
    uint32_t word = find_word(x, 3);
    if ((word != 0 && !read_conditions(x, word, &expiring.conditions)) ||
        !read_count(x, word, 1, ERR_NUMFIELDS, &fields) ||
        !read_deadline(x, 2, ms, absolute, &expiring.deadline) ||
        !find_hash(x, LOOKUP_WRITE, &entry)) {
        return;
    }
    expiring.past = exec_is_past(x, expiring.deadline);
    reply_array(x->reply, (size_t)fields.count);
    if (entry != NULL) {
        expire_fields(x, entry, &expiring, &fields);
        return;
    }
    for (int64_t i = 0; i < fields.count; i++) {
        reply_int(x->reply, -2);
    }
}

void command_hexpire(struct exec *x) {
    expire(x, false, false);
}

void command_hpexpire(struct exec *x) {
    expire(x, true, false);
}

void command_hexpireat(struct exec *x) {
    expire(x, false, true);
}

void command_hpexpireat(struct exec *x) {
    expire(x, true, true);
}

/* ---- HPERSIST ---- */

static int persist_field(const struct exec *x, struct hash_change *c, struct bytes name,
                         bool *hid) {
    struct hash_found found;
    if (!find_field(x, c, name, &found, hid)) {
        return -2;
    }
    if (found.deadline == NO_EXPIRY) {
        return -1;
    }
    hash_set_deadline(&c->edit, name, NO_EXPIRY);
    return 1;
}

void command_hpersist(struct exec *x) {
    struct field_args fields;
    struct entry *entry;
    if (!read_fields(x, ERR_NUMFIELDS, &fields) || !find_hash(x, LOOKUP_WRITE, &entry)) {
        return;
    }
    reply_array(x->reply, (size_t)fields.count);
    struct hash_change c;
    struct names changed = names_new(x, 5, fields.count);
    bool hid = false;
    if (entry != NULL) {
        hash_change_begin(x, &c, entry);
    }
    for (uint32_t i = fields.first; i < x->argc; i++) {
        int result = entry != NULL ? persist_field(x, &c, x->argv[i], &hid) : -2;
        reply_int(x->reply, result);
        if (result == 1) {
            names_add(&changed, x->argv[i]);
        }
    }
    if (entry != NULL) {
        hash_change_end(x, &c, names_count(&changed) > 0 ? EVENT_HPERSIST : EVENT_NONE);
        keyspace_count_elements(x->keyspace, names_count(&changed));
    }
    if (UNLIKELY(hid)) {
        say_fields(x, &changed, BYTES("HPERSIST"), bytes_make(NULL, 0));
    }
    names_free(&changed);
}

/* ---- HTTL and its relatives ---- */

/* To the nearest second. */
static int64_t seconds_of(int64_t ms) {
    return ms / 1000 + (ms % 1000 >= 500);
}

static void ask_deadlines(struct exec *x, bool ms, bool absolute) {
    struct field_args fields;
    struct entry *entry;
    if (!read_fields(x, ERR_SYNTAX, &fields) || !find_hash(x, LOOKUP_READ, &entry)) {
        return;
    }
    struct hash_look look = {0};
    if (entry != NULL) {
        look = hash_look_begin(x, entry);
    }
    reply_array(x->reply, (size_t)fields.count);
    for (uint32_t i = fields.first; i < x->argc; i++) {
        struct hash_found found;
        if (entry == NULL || !hash_find(&look, x->argv[i], &found)) {
            reply_int(x->reply, -2);
        } else if (found.deadline == NO_EXPIRY) {
            reply_int(x->reply, -1);
        } else {
            int64_t left = found.deadline > x->now_ms ? found.deadline - x->now_ms : 0;
            int64_t when = absolute ? found.deadline : left;
            reply_int(x->reply, ms ? when : seconds_of(when));
        }
    }
    hash_look_end(x, &look);
}

void command_httl(struct exec *x) {
    ask_deadlines(x, false, false);
}

void command_hpttl(struct exec *x) {
    ask_deadlines(x, true, false);
}

void command_hexpiretime(struct exec *x) {
    ask_deadlines(x, false, true);
}

void command_hpexpiretime(struct exec *x) {
    ask_deadlines(x, true, true);
}

/* ---- Options of HGETEX and HSETEX ---- */

enum option {
    OPTION_EX = 1 << 0,
    OPTION_PX = 1 << 1,
    OPTION_EXAT = 1 << 2,
    OPTION_PXAT = 1 << 3,
    OPTION_KEEPTTL = 1 << 4,
    OPTION_PERSIST = 1 << 5,
    OPTION_NX = 1 << 6,
    OPTION_XX = 1 << 7,
    OPTION_FNX = 1 << 8,
    OPTION_FXX = 1 << 9,
};
#define OPTION_DEADLINES  (OPTION_EX | OPTION_PX | OPTION_EXAT | OPTION_PXAT)
#define OPTION_TTLS       (OPTION_DEADLINES | OPTION_KEEPTTL | OPTION_PERSIST)
#define OPTION_CONDITIONS (OPTION_NX | OPTION_XX | OPTION_FNX | OPTION_FXX)

struct option_word {
    const char *word;
    unsigned option;
    unsigned excludes; /* beside itself, which may be said twice */
};

static const struct option_word option_words[] = {
    {"ex", OPTION_EX, OPTION_TTLS},
    {"px", OPTION_PX, OPTION_TTLS},
    {"exat", OPTION_EXAT, OPTION_TTLS},
    {"pxat", OPTION_PXAT, OPTION_TTLS},
    {"keepttl", OPTION_KEEPTTL, OPTION_TTLS},
    {"persist", OPTION_PERSIST, OPTION_TTLS},
    {"nx", OPTION_NX, OPTION_XX},
    {"xx", OPTION_XX, OPTION_NX},
    {"fnx", OPTION_FNX, OPTION_FXX},
    {"fxx", OPTION_FXX, OPTION_FNX},
};
#define OPTION_WORDS (sizeof option_words / sizeof option_words[0])

struct options {
    unsigned options;
    uint32_t when_index; /* OPTION_DEADLINES: the argument that says when */
    int64_t deadline;    /* NO_EXPIRY without */
    bool past;
};

static bool read_options(const struct exec *x, uint32_t end, unsigned understood,
                         struct options *ret) {
    for (uint32_t i = 2; i < end; i++) {
        const struct option_word *word = option_words;
        while (word < option_words + OPTION_WORDS &&
               !bytes_equal_nocase(x->argv[i], bytes_of_text(word->word))) {
            word++;
        }
        bool known = word < option_words + OPTION_WORDS && (word->option & understood);
        bool timed = known && (word->option & OPTION_DEADLINES);
        if (!known || (ret->options & word->excludes & ~word->option) || (timed && i + 1 >= end)) {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
        ret->options |= word->option;
        if (timed) {
            ret->when_index = ++i;
        }
    }
    return true;
}

/* All that stands before the fields, and how many there are. */
static bool read_all(const struct exec *x, unsigned understood, uint32_t each,
                     struct options *ret_options, struct field_args *ret_fields) {
    *ret_options = (struct options){.deadline = NO_EXPIRY};
    uint32_t word = find_word(x, 2);
    return (word == 0 || read_options(x, word, understood, ret_options)) &&
           read_count(x, word, each, ERR_NUMFIELDS, ret_fields);
}

static bool read_when(const struct exec *x, struct options *options) {
    unsigned given = options->options;
    if (!(given & OPTION_DEADLINES)) {
        return true;
    }
    bool ms = given & (OPTION_PX | OPTION_PXAT), absolute = given & (OPTION_EXAT | OPTION_PXAT);
    if (!read_deadline(x, options->when_index, ms, absolute, &options->deadline)) {
        return false;
    }
    options->past = exec_is_past(x, options->deadline);
    return true;
}

/* ---- HGETEX and HGETDEL ---- */

static void write_nulls(struct exec *x, int64_t count) {
    for (; count > 0; count--) {
        reply_null(x->reply);
    }
}

/* What becomes of one field that was read: true if it changes. */
static bool change_read(struct hash_change *c, const struct options *options, struct bytes name,
                        int64_t deadline) {
    if (options->past) {
        return hash_remove(&c->edit, name);
    }
    if (options->options & OPTION_DEADLINES) {
        hash_set_deadline(&c->edit, name, options->deadline);
        return true;
    }
    if ((options->options & OPTION_PERSIST) && deadline != NO_EXPIRY) {
        hash_set_deadline(&c->edit, name, NO_EXPIRY);
        return true;
    }
    return false;
}

static void say_read(const struct exec *x, struct names *names, const struct options *options) {
    char when[EFFECT_INT_BYTES];
    if (options->past) {
        names_state(x, names, BYTES("HDEL"));
    } else if (options->options & OPTION_PERSIST) {
        say_fields(x, names, BYTES("HPERSIST"), bytes_make(NULL, 0));
    } else {
        say_fields(x, names, BYTES("HPEXPIREAT"), effect_int(when, options->deadline));
    }
}

void command_hgetex(struct exec *x) {
    struct field_args fields;
    struct options options;
    struct entry *entry;
    if (!read_all(x, OPTION_DEADLINES | OPTION_PERSIST, 1, &options, &fields) ||
        !find_hash(x, LOOKUP_READ, &entry) || !read_when(x, &options)) {
        return;
    }
    reply_array(x->reply, (size_t)fields.count);
    if (entry == NULL) {
        write_nulls(x, fields.count);
        return;
    }
    struct hash_change c;
    struct names changed = names_new(x, 5, fields.count);
    hash_change_begin(x, &c, entry);
    for (uint32_t i = fields.first; i < x->argc; i++) {
        struct hash_found found;
        if (!find_field(x, &c, x->argv[i], &found, NULL)) {
            reply_null(x->reply);
            continue;
        }
        reply_bulk(x->reply, found.value);
        if (change_read(&c, &options, x->argv[i], found.deadline)) {
            names_add(&changed, x->argv[i]);
        }
    }
    enum key_event event = options.past                         ? EVENT_HEXPIRED
                           : options.options & OPTION_DEADLINES ? EVENT_HEXPIRE
                                                                : EVENT_HPERSIST;
    keyspace_count_expired_fields(x->keyspace, options.past ? names_count(&changed) : 0);
    hash_change_end(x, &c, names_count(&changed) > 0 ? event : EVENT_NONE);
    keyspace_count_elements(x->keyspace, names_count(&changed));
    say_read(x, &changed, &options);
    names_free(&changed);
}

void command_hgetdel(struct exec *x) {
    struct field_args fields;
    struct entry *entry;
    if (!read_fields(x, ERR_NUMFIELDS, &fields) || !find_hash(x, LOOKUP_WRITE, &entry)) {
        return;
    }
    reply_array(x->reply, (size_t)fields.count);
    if (entry == NULL) {
        write_nulls(x, fields.count);
        return;
    }
    struct hash_change c;
    uint64_t removed = 0;
    hash_change_begin(x, &c, entry);
    for (uint32_t i = fields.first; i < x->argc; i++) {
        struct hash_found found;
        if (!find_field(x, &c, x->argv[i], &found, NULL)) {
            reply_null(x->reply);
            continue;
        }
        reply_bulk(x->reply, found.value);
        removed += hash_remove(&c.edit, x->argv[i]);
    }
    hash_change_end(x, &c, removed > 0 ? EVENT_HDEL : EVENT_NONE);
    keyspace_count_elements(x->keyspace, removed);
}

/* ---- HSETEX ---- */

/* NX, XX: asked before it is read when the fields are over. */
static bool key_may_be_set(const struct entry *entry, unsigned given) {
    return !((given & OPTION_NX) && entry != NULL) && !((given & OPTION_XX) && entry == NULL);
}

/* FNX, FXX. */
static bool fields_may_be_set(const struct exec *x, const struct entry *entry, unsigned given,
                              const struct field_args *fields) {
    if (!(given & (OPTION_FNX | OPTION_FXX))) {
        return true;
    }
    bool may = true;
    struct hash_look look = {0};
    if (entry != NULL) {
        look = hash_look_begin(x, entry);
    }
    for (uint32_t i = fields->first; may && i < x->argc; i += 2) {
        struct hash_found found;
        bool there = entry != NULL && hash_find(&look, x->argv[i], &found);
        may = there == !!(given & OPTION_FXX);
    }
    hash_look_end(x, &look);
    return may;
}

/* As sent, without conditions, and with the absolute time in place of what was said. */
static void say_set(const struct exec *x, const struct options *options,
                    const struct field_args *fields) {
    char scratch[EFFECT_INT_BYTES];
    struct bytes *argv = must_malloc((x->argc + 2) * sizeof *argv);
    uint32_t argc = 2;
    memcpy(argv, x->argv, 2 * sizeof *argv);
    if (options->options & OPTION_DEADLINES) {
        argv[argc++] = BYTES("PXAT");
        argv[argc++] = effect_int(scratch, options->deadline);
    } else if (options->options & OPTION_KEEPTTL) {
        argv[argc++] = BYTES("KEEPTTL");
    }
    uint32_t rest = x->argc - fields->word;
    memcpy(argv + argc, x->argv + fields->word, rest * sizeof *argv);
    effect_state(x, argv, argc + rest);
    free(argv);
}

static void note_hash(const struct exec *x, enum key_event event) {
    keyspace_note(x->keyspace, x->db, &x->key, event, TYPE_HASH);
}

/* Sets the fields. `gone`: those that were over, and whose deadlines others would keep. */
static void set_fields(const struct exec *x, struct entry *entry, const struct options *options,
                       const struct field_args *fields, struct names *gone) {
    struct hash_change c;
    int64_t deadline = options->options & OPTION_KEEPTTL ? KEEP_TTL : options->deadline;
    hash_change_begin(x, &c, entry);
    for (uint32_t i = fields->first; i < x->argc; i += 2) {
        uint64_t expired = c.edit.expired;
        hash_put(&c.edit, x->argv[i], x->argv[i + 1], deadline);
        if (c.edit.expired > expired) {
            names_add(gone, x->argv[i]);
        }
    }
    hash_change_end(x, &c, EVENT_HSET);
    keyspace_count_elements(x->keyspace, (uint64_t)fields->count);
    if (options->options & OPTION_DEADLINES) {
        note_hash(x, EVENT_HEXPIRE);
    }
}

/* Fields whose time is over already: listeners hear that they came and went, but the hash sees
 * those go that were there, and no more: it is not made, or made larger, for the others. */
static void set_past(const struct exec *x, struct entry *entry, const struct field_args *fields) {
    struct names gone = names_new(x, 2, fields->count);
    uint64_t changes = keyspace_changes(x->keyspace);
    if (entry == NULL) {
        note_hash(x, EVENT_NEW);
    }
    note_hash(x, EVENT_HSET);
    note_hash(x, EVENT_HEXPIRE);
    keyspace_count_expired_fields(x->keyspace, (uint64_t)fields->count);
    if (entry != NULL) {
        struct hash_change c;
        hash_change_begin(x, &c, entry);
        for (uint32_t i = fields->first; i < x->argc; i += 2) {
            if (hash_remove(&c.edit, x->argv[i])) {
                names_add(&gone, x->argv[i]);
            }
        }
        hash_change_end(x, &c, names_count(&gone) > 0 ? EVENT_HEXPIRED : EVENT_NONE);
    }
    if (names_count(&gone) == 0) {
        note_hash(x, EVENT_HEXPIRED);
    }
    if (entry == NULL) {
        note_hash(x, EVENT_DEL);
    }
    keyspace_set_changes(x->keyspace, changes + names_count(&gone));
    effect_told(x);
    names_state(x, &gone, BYTES("HDEL"));
    names_free(&gone);
}

void command_hsetex(struct exec *x) {
    struct field_args fields;
    struct options options;
    struct entry *entry;
    unsigned understood = OPTION_DEADLINES | OPTION_KEEPTTL | OPTION_CONDITIONS;
    if (!read_all(x, understood, 2, &options, &fields) || !find_hash(x, LOOKUP_WRITE, &entry)) {
        return;
    }
    bool may = key_may_be_set(entry, options.options);
    if (may && !read_when(x, &options)) {
        return;
    }
    if (!may || !fields_may_be_set(x, entry, options.options, &fields)) {
        reply_int(x->reply, 0);
        return;
    }
    if (options.past) {
        set_past(x, entry, &fields);
    } else {
        struct names gone = names_new(x, 2, fields.count);
        set_fields(x, entry, &options, &fields, &gone);
        bool told = (options.options & OPTION_KEEPTTL) && names_count(&gone) > 0;
        if (told) {
            names_state(x, &gone, BYTES("HDEL"));
        }
        if (effects_wanted(x) &&
            (told || (options.options & (OPTION_CONDITIONS | OPTION_DEADLINES)))) {
            say_set(x, &options, &fields);
        }
        names_free(&gone);
    }
    reply_int(x->reply, 1);
}
