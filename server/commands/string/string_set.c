/* SPDX-License-Identifier: BSD-3-Clause */
/* string_set: commands that store whole strings: SET, its older relatives, GETEX and the MSET
 * family.
 *
 * SET, GETEX and MSETEX take words from one vocabulary; each knows which of them it understands,
 * and which words exclude each other is the same for all. The order of the checks is Valkey's:
 * words, then the deadline, then the key.
 */
#include "base/check.h"
#include "base/must.h"
#include "base/num.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/commands/string/string.h"

#include <stdlib.h>

/* ---- Options ---- */

enum set_option {
    SET_NX = 1 << 0,
    SET_XX = 1 << 1,
    SET_IFEQ = 1 << 2,
    SET_GET = 1 << 3,
    SET_KEEPTTL = 1 << 4,
    SET_PERSIST = 1 << 5,
    SET_EX = 1 << 6,
    SET_PX = 1 << 7,
    SET_EXAT = 1 << 8,
    SET_PXAT = 1 << 9,
};
#define SET_CONDITIONS (SET_NX | SET_XX | SET_IFEQ)
#define SET_DEADLINES  (SET_EX | SET_PX | SET_EXAT | SET_PXAT)
#define SET_TTLS       (SET_DEADLINES | SET_KEEPTTL | SET_PERSIST)

struct set_word {
    struct bytes word;
    unsigned option;
    unsigned excludes;
    bool takes_value;
};

#define WORD(text) .word = {text, sizeof(text) - 1}

/* A word may be said twice (the last value counts) unless it excludes itself. */
static const struct set_word set_words[] = {
    {WORD("nx"), SET_NX, SET_XX | SET_IFEQ, false},
    {WORD("xx"), SET_XX, SET_NX | SET_IFEQ, false},
    {WORD("ifeq"), SET_IFEQ, SET_CONDITIONS, true},
    {WORD("get"), SET_GET, 0, false},
    {WORD("keepttl"), SET_KEEPTTL, SET_TTLS & ~SET_KEEPTTL, false},
    {WORD("persist"), SET_PERSIST, SET_TTLS & ~SET_PERSIST, false},
    {WORD("ex"), SET_EX, SET_TTLS & ~SET_EX, true},
    {WORD("px"), SET_PX, SET_TTLS & ~SET_PX, true},
    {WORD("exat"), SET_EXAT, SET_TTLS & ~SET_EXAT, true},
    {WORD("pxat"), SET_PXAT, SET_TTLS & ~SET_PXAT, true},
};
#define SET_WORDS (sizeof(set_words) / sizeof(set_words[0]))

#define SET_UNDERSTANDS    (SET_CONDITIONS | SET_GET | SET_KEEPTTL | SET_DEADLINES)
#define GETEX_UNDERSTANDS  (SET_PERSIST | SET_DEADLINES)
#define MSETEX_UNDERSTANDS (SET_NX | SET_XX | SET_KEEPTTL | SET_DEADLINES)

struct set_options {
    unsigned options;
    struct bytes compare; /* SET_IFEQ */
    uint32_t when_index;  /* SET_DEADLINES: argument that says when */
    int64_t expires_at;   /* what to store: a deadline, NO_EXPIRY or KEEP_TTL */
    bool past;            /* the deadline has gone by: nothing is left to store */
};

static const struct set_word *word_find(struct bytes word) {
    for (size_t i = 0; i < SET_WORDS; i++) {
        if (bytes_equal_nocase(word, set_words[i].word)) {
            return &set_words[i];
        }
    }
    return NULL;
}

static bool words_read(const struct exec *x, uint32_t i, unsigned understood,
                       struct set_options *ret) {
    for (; i < x->argc; i++) {
        const struct set_word *word = word_find(x->argv[i]);
        if (word == NULL || !(word->option & understood) || (ret->options & word->excludes) ||
            (word->takes_value && i + 1 >= x->argc)) {
            return false;
        }
        ret->options |= word->option;
        if (word->takes_value) {
            i++;
            if (word->option == SET_IFEQ) {
                ret->compare = x->argv[i];
            } else {
                ret->when_index = i;
            }
        }
    }
    return true;
}

/* Reads the deadline of an argument, in the unit and from the origin that `option` says. */
static bool deadline_read(const struct exec *x, uint32_t index, unsigned option,
                          int64_t *ret_expires_at) {
    int64_t value;
    bool ms = (option & (SET_PX | SET_PXAT)) != 0;
    bool absolute = (option & (SET_EXAT | SET_PXAT)) != 0;
    return exec_arg_i64(x, index, &value) && exec_deadline(x, value, ms, absolute, ret_expires_at);
}

/* Reads all from argument i on; false if an error was written. */
static bool options_read(const struct exec *x, uint32_t i, unsigned understood,
                         struct set_options *ret) {
    *ret = (struct set_options){.expires_at = NO_EXPIRY};
    if (!words_read(x, i, understood, ret)) {
        reply_error(x->reply, ERR_SYNTAX);
        return false;
    }
    if (ret->options & SET_KEEPTTL) {
        ret->expires_at = KEEP_TTL;
    } else if (ret->options & SET_DEADLINES) {
        if (!deadline_read(x, ret->when_index, ret->options, &ret->expires_at)) {
            return false;
        }
        ret->past = exec_is_past(x, ret->expires_at);
    }
    return true;
}

static void say_set(const struct exec *x, uint32_t value_index, int64_t expires_at) {
    char scratch[EFFECT_INT_BYTES];
    struct bytes value = x->argv[value_index];
    if (expires_at == NO_EXPIRY) {
        EFFECT(x, BYTES("SET"), x->key.name, value);
    } else if (expires_at == KEEP_TTL) {
        EFFECT(x, BYTES("SET"), x->key.name, value, BYTES("KEEPTTL"));
    } else {
        struct bytes when = effect_int(scratch, expires_at);
        EFFECT(x, BYTES("SET"), x->key.name, value, BYTES("PXAT"), when);
    }
}

/* Stores the value of a SET, or deletes the key if the value's time is over before it began. */
static void store(const struct exec *x, const struct set_options *options) {
    if (UNLIKELY(options->past)) {
        exec_run_out(x, &x->key);
        return;
    }
    exec_store_argument(x, &x->key, 2, options->expires_at, EVENT_SET);
    if (effects_wanted(x) && (options->options & (SET_GET | SET_DEADLINES))) {
        say_set(x, 2, options->expires_at);
    }
}

/* ---- SET ---- */

int set_find_keys(const struct command *command, const struct bytes *argv, uint32_t argc,
                  struct key_ref *ret, int max) {
    (void)command;
    unsigned flags = KEY_OW | KEY_UPDATE;
    for (uint32_t i = 3; i < argc; i++) {
        if (bytes_is(argv[i], "get")) {
            flags = KEY_RW | KEY_ACCESS | KEY_UPDATE;
        }
    }
    if (max > 0) {
        ret[0] = (struct key_ref){.index = 1, .flags = flags, .db = KEY_DB_SELECTED};
    }
    return 1;
}

/* Whether the condition of SET lets it store over `entry`. */
static bool condition_holds(const struct set_options *options, const struct entry *entry) {
    if (options->options & SET_IFEQ) {
        char scratch[NUMBER_TEXT_BYTES];
        return entry != NULL && bytes_equal(string_bytes(entry, scratch), options->compare);
    }
    return !((options->options & SET_NX) && entry != NULL) &&
           !((options->options & SET_XX) && entry == NULL);
}

/* SET whose options ask what is there before it stores. */
static void set_with_look(struct exec *x, const struct set_options *options) {
    bool get = (options->options & SET_GET) != 0;
    /* To look is one use of the key, to read before that another. To store counts by itself. */
    struct entry *entry =
        keyspace_find(x->keyspace, x->db, &x->key, x->now_ms,
                      get ? exec_lookup_flags(x, LOOKUP_READ) : LOOKUP_WRITE | LOOKUP_NOTOUCH);
    if (entry != NULL && entry_type(entry) != TYPE_STRING &&
        (options->options & (SET_GET | SET_IFEQ))) {
        reply_error(x->reply, ERR_WRONG_TYPE);
        return;
    }
    bool holds = condition_holds(options, entry);
    if (get && entry != NULL) {
        exec_reply_string(x, entry);
    } else if (get || !holds) {
        reply_null(x->reply);
    } else {
        reply_ok(x->reply);
    }
    if (holds) {
        store(x, options);
    } else {
        keyspace_find(x->keyspace, x->db, &x->key, x->now_ms, exec_lookup_flags(x, LOOKUP_WRITE));
    }
}

void command_set(struct exec *x) {
    if (LIKELY(x->argc == 3)) {
        exec_store_argument(x, &x->key, 2, NO_EXPIRY, EVENT_SET);
        reply_ok(x->reply);
        return;
    }
    struct set_options options;
    if (!options_read(x, 3, SET_UNDERSTANDS, &options)) {
        return;
    }
    if (options.options & (SET_CONDITIONS | SET_GET)) {
        set_with_look(x, &options);
        return;
    }
    store(x, &options);
    reply_ok(x->reply);
}

void command_setnx(struct exec *x) {
    bool missing = keyspace_find(x->keyspace, x->db, &x->key, x->now_ms,
                                 exec_lookup_flags(x, LOOKUP_WRITE)) == NULL;
    if (missing) {
        exec_store_argument(x, &x->key, 2, NO_EXPIRY, EVENT_SET);
    }
    reply_int(x->reply, missing);
}

static void set_for_a_while(struct exec *x, unsigned option) {
    int64_t expires_at;
    if (!deadline_read(x, 2, option, &expires_at)) {
        return;
    }
    exec_store_argument(x, &x->key, 3, expires_at, EVENT_SET);
    say_set(x, 3, expires_at);
    reply_ok(x->reply);
}

void command_setex(struct exec *x) {
    set_for_a_while(x, SET_EX);
}

void command_psetex(struct exec *x) {
    set_for_a_while(x, SET_PX);
}

void command_getset(struct exec *x) {
    struct entry *entry;
    if (!exec_find_string(x, &x->key, LOOKUP_READ, &entry)) {
        return;
    }
    if (entry == NULL) {
        reply_null(x->reply);
    } else {
        exec_reply_string(x, entry);
    }
    exec_store_argument(x, &x->key, 2, NO_EXPIRY, EVENT_SET);
    say_set(x, 2, NO_EXPIRY);
}

static void say_deadline(const struct exec *x, int64_t expires_at) {
    char scratch[EFFECT_INT_BYTES];
    if (expires_at == NO_EXPIRY) {
        EFFECT(x, BYTES("PERSIST"), x->key.name);
    } else {
        EFFECT(x, BYTES("PEXPIREAT"), x->key.name, effect_int(scratch, expires_at));
    }
}

void command_getex(struct exec *x) {
    struct set_options options;
    struct entry *entry;
    if (!options_read(x, 2, GETEX_UNDERSTANDS, &options) ||
        !exec_find_string(x, &x->key, LOOKUP_READ, &entry)) {
        return;
    }
    if (entry == NULL) {
        reply_null(x->reply);
        return;
    }
    exec_reply_string(x, entry);
    if (options.past) {
        exec_run_out(x, &x->key);
    } else if ((options.options & SET_DEADLINES) ||
               ((options.options & SET_PERSIST) && entry_expires_at(entry) != NO_EXPIRY)) {
        keyspace_set_expiry(x->keyspace, x->db, &x->key, entry, options.expires_at);
        say_deadline(x, options.expires_at);
    }
}

/* ---- Several keys ---- */

/* Whether each, or none, of the keys at positions first, first + 2 .. below end exists. */
static bool all_are(const struct exec *x, uint32_t first, uint32_t end, bool present) {
    struct key keys[EXEC_KEYS_MAX];
    unsigned flags = exec_lookup_flags(x, LOOKUP_WRITE);
    for (uint32_t i = first, n; i < end; i += 2 * n) {
        n = exec_keys(x, i, end, 2, keys);
        for (uint32_t j = 0; j < n; j++) {
            bool found = keyspace_find(x->keyspace, x->db, &keys[j], x->now_ms, flags) != NULL;
            if (found != present) {
                return false;
            }
        }
    }
    return true;
}

/* A deadline in the past does not matter here: MSETEX stores what is dead at once. */
static void store_pairs(const struct exec *x, uint32_t first, uint32_t end, int64_t expires_at) {
    struct key keys[EXEC_KEYS_MAX];
    for (uint32_t i = first, n; i < end; i += 2 * n) {
        n = exec_keys(x, i, end, 2, keys);
        for (uint32_t j = 0; j < n; j++) {
            exec_store_argument(x, &keys[j], i + 2 * j + 1, expires_at, EVENT_SET);
        }
    }
}

void command_mset(struct exec *x) {
    if (x->argc % 2 == 0) {
        exec_arity_error(x);
        return;
    }
    store_pairs(x, 1, x->argc, NO_EXPIRY);
    reply_ok(x->reply);
}

/* The same on a condition: on several shards all are asked first. */
static void store_pairs_if(struct exec *x, bool holds, uint32_t first, uint32_t end,
                           int64_t expires_at) {
    if (holds && exec_is_asked(x)) {
        return; /* as far as the keys here go */
    }
    if (holds) {
        store_pairs(x, first, end, expires_at);
    }
    reply_int(x->reply, holds);
}

void command_msetnx(struct exec *x) {
    if (x->argc % 2 == 0) {
        exec_arity_error(x);
        return;
    }
    bool free = exec_is_agreed(x) || all_are(x, 1, x->argc, false);
    store_pairs_if(x, free, 1, x->argc, NO_EXPIRY);
}

/* As sent, with an absolute time in place of what was said. */
static void say_pairs(const struct exec *x, uint32_t end, const struct set_options *options) {
    char scratch[EFFECT_INT_BYTES];
    struct bytes *argv = must_malloc((end + 3) * sizeof *argv);
    memcpy(argv, x->argv, end * sizeof *argv);
    uint32_t argc = end;
    if (options->options & (SET_NX | SET_XX)) {
        argv[argc++] = options->options & SET_NX ? BYTES("NX") : BYTES("XX");
    }
    argv[argc++] = BYTES("PXAT");
    argv[argc++] = effect_int(scratch, options->expires_at);
    effect_state(x, argv, argc);
    free(argv);
}

void command_msetex(struct exec *x) {
    int64_t keys;
    if (!num_parse_i64(x->argv[1], &keys) || keys < 1 || keys > INT32_MAX) {
        reply_error(x->reply, "ERR invalid numkeys value or out of range");
        return;
    }
    if (keys > (x->argc - 2) / 2) {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    uint32_t end = 2 + 2 * (uint32_t)keys;
    struct set_options options;
    if (!options_read(x, end, MSETEX_UNDERSTANDS, &options)) {
        return;
    }
    bool holds = true;
    if ((options.options & (SET_NX | SET_XX)) && !exec_is_agreed(x)) {
        holds = all_are(x, 2, end, (options.options & SET_XX) != 0);
    }
    store_pairs_if(x, holds, 2, end, options.expires_at);
    bool stored = holds && !exec_is_asked(x);
    if (stored && effects_wanted(x) && (options.options & SET_DEADLINES)) {
        say_pairs(x, end, &options);
    }
}
