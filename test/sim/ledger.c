/* SPDX-License-Identifier: BSD-3-Clause */
/* ledger: see the header. */
#include "test/sim/ledger.h"

#include "base/check.h"
#include "base/must.h"
#include "base/num.h"
#include "test/sim/steps.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_BYTES 8 /* in a text */
#define SHARES_MAX  4

enum kind { KIND_TEXT, KIND_LIST, KIND_COUNTER, KIND_HASH, KIND_SET, KIND_SCORES, KIND_REGISTER };
#define KINDS 7

enum presence { MAYBE, THERE, NOT_THERE };

/* In one key. */
struct share {
    unsigned key;
    uint64_t place;         /* from 1, as its reply said; 0: not known */
    enum presence presence; /* while something is judged */
};

struct entry {
    struct share shares[SHARES_MAX];
    unsigned shares_count;
    uint64_t asked_ns, known_ns; /* 0: nobody was told */
    bool single;                 /* one command, no transaction */
    bool flushes;                /* all that was there before */
    bool gone, promised;
    enum presence presence; /* while something is judged */
    bool open;              /* the same: was it before a flush, or behind it? */
};

struct ledger {
    struct entry *entries; /* by number - 1 */
    uint64_t count, capacity;
    uint64_t pool; /* the write that has filled it, or 0 */
    struct ledger_counts counts;
};

struct ledger *ledger_new(void) {
    return must_calloc(1, sizeof(struct ledger));
}

void ledger_free(struct ledger *ledger) {
    free(ledger->entries);
    free(ledger);
}

static enum kind kind_of(unsigned key) {
    return (enum kind)(key % KINDS);
}

static const char *const kind_names[KINDS] = {"text", "list",   "counter", "hash",
                                              "set",  "scores", "register"};

static void key_name(unsigned key, char name[24]) {
    snprintf(name, 24, "%s:%u", kind_names[kind_of(key)], key);
}

/* ---- Requests ---- */

static void put_share(struct text *out, unsigned key, uint64_t number) {
    char name[24], request[80];
    key_name(key, name);
    switch (kind_of(key)) {
    case KIND_TEXT:
        snprintf(request, sizeof request, "APPEND %s %07" PRIu64 ";", name, number);
        break;
    case KIND_LIST:
        snprintf(request, sizeof request, "RPUSH %s %" PRIu64, name, number);
        break;
    case KIND_COUNTER:
        snprintf(request, sizeof request, "INCR %s", name);
        break;
    case KIND_HASH:
        snprintf(request, sizeof request, "HSET %s %" PRIu64 " value-of-it", name, number);
        break;
    case KIND_SET:
        snprintf(request, sizeof request, "SADD %s %" PRIu64, name, number);
        break;
    case KIND_SCORES:
        snprintf(request, sizeof request, "ZADD %s %" PRIu64 " %" PRIu64, name, number % 10,
                 number);
        break;
    case KIND_REGISTER:
        snprintf(request, sizeof request, "SET %s %" PRIu64, name, number);
        break;
    }
    wire_requestf(out, "%s", request);
}

static struct entry *begin(struct ledger *ledger, uint64_t now_ns) {
    if (ledger->count == ledger->capacity) {
        ledger->capacity = ledger->capacity > 0 ? 2 * ledger->capacity : 256;
        ledger->entries = must_realloc(ledger->entries, ledger->capacity * sizeof *ledger->entries);
    }
    struct entry *entry = &ledger->entries[ledger->count++];
    *entry = (struct entry){.asked_ns = now_ns};
    ledger->counts.writes++;
    return entry;
}

static bool has_share(const struct entry *entry, unsigned key) {
    for (unsigned i = 0; i < entry->shares_count; i++) {
        if (entry->shares[i].key == key) {
            return true;
        }
    }
    return false;
}

/* A text of its own for some writes at a time: a server knows nothing of it, then that it looks for
 * what it declares, and then that it does not. */
static void put_script(struct ledger *ledger, struct rng *rng, enum ledger_manner manner,
                       struct bytes requests, struct text *out) {
    struct arena arena;
    arena_init(&arena, 4096);
    struct steps_words keys = {.count = 0}, args = {.count = 0};
    steps_split(requests, &arena, &keys, &args);
    size_t declared = manner == LEDGER_DIRTY_SCRIPT ? 1 : rng_below(rng, 3) > 0 ? keys.count : 0;
    char body[sizeof STEPS_SCRIPT + 32];
    snprintf(body, sizeof body, STEPS_SCRIPT "-- %" PRIu64, ledger->count / 8);
    wire_array(out, 3 + declared + args.count);
    wire_bulk(out, BYTES("EVAL"));
    wire_bulk(out, bytes_of_text(body));
    wire_bulk(out, steps_number(&arena, declared));
    for (size_t i = 0; i < declared; i++) {
        wire_bulk(out, keys.list[i]);
    }
    for (size_t i = 0; i < args.count; i++) {
        wire_bulk(out, args.list[i]);
    }
    arena_fini(&arena);
}

uint64_t ledger_write(struct ledger *ledger, struct rng *rng, uint64_t now_ns,
                      enum ledger_manner manner, struct text *out, unsigned *ret_replies) {
    struct entry *entry = begin(ledger, now_ns);
    unsigned shares = 1 + (unsigned)rng_below(rng, SHARES_MAX);
    while (entry->shares_count < shares) {
        unsigned key = (unsigned)rng_below(rng, LEDGER_KEYS);
        if (!has_share(entry, key)) {
            entry->shares[entry->shares_count++].key = key;
        }
    }
    if (manner != LEDGER_COMMANDS) {
        struct text requests;
        text_init(&requests);
        for (unsigned i = 0; i < shares; i++) {
            put_share(&requests, entry->shares[i].key, ledger->count);
        }
        put_script(ledger, rng, manner, text_bytes(&requests), out);
        text_fini(&requests);
        *ret_replies = 1;
        return ledger->count;
    }
    entry->single = shares == 1 && rng_below(rng, 4) > 0;
    *ret_replies = entry->single ? 1 : shares + 2;
    if (!entry->single) {
        wire_requestf(out, "MULTI");
    }
    for (unsigned i = 0; i < shares; i++) {
        put_share(out, entry->shares[i].key, ledger->count);
    }
    if (!entry->single) {
        wire_requestf(out, "EXEC");
    }
    return ledger->count;
}

uint64_t ledger_flush(struct ledger *ledger, struct rng *rng, uint64_t now_ns, struct text *out,
                      unsigned *ret_replies) {
    static const char *const words[] = {"FLUSHALL", "FLUSHALL ASYNC", "FLUSHALL SYNC", "FLUSHDB",
                                        "FLUSHDB ASYNC"};
    struct entry *entry = begin(ledger, now_ns);
    entry->flushes = true;
    unsigned shares = 1 + (unsigned)rng_below(rng, SHARES_MAX);
    while (entry->shares_count < shares) { /* in keys that show all that they have */
        unsigned key = (unsigned)rng_below(rng, LEDGER_KEYS);
        if (!has_share(entry, key) && kind_of(key) != KIND_COUNTER &&
            kind_of(key) != KIND_REGISTER) {
            entry->shares[entry->shares_count++].key = key;
        }
    }
    wire_requestf(out, "MULTI");
    wire_requestf(out, "%s", words[rng_below(rng, sizeof words / sizeof *words)]);
    for (unsigned i = 0; i < shares; i++) {
        put_share(out, entry->shares[i].key, ledger->count);
    }
    wire_requestf(out, "EXEC");
    *ret_replies = shares + 3;
    return ledger->count;
}

/* ---- Pools: a list, a set and a whole value that go from key to key ---- */

uint64_t ledger_fill(struct ledger *ledger, uint64_t now_ns, struct text *out,
                     unsigned *ret_replies) {
    if (ledger->pool != 0) {
        return 0;
    }
    struct entry *entry = begin(ledger, now_ns);
    entry->shares[entry->shares_count++].key = KIND_LIST;
    ledger->pool = ledger->count;
    wire_requestf(out, "MULTI");
    put_share(out, KIND_LIST, ledger->count);
    for (unsigned i = 0; i < LEDGER_ELEMENTS; i++) {
        wire_requestf(out, "RPUSH line:%u %u", i % LEDGER_POOLS, i);
        wire_requestf(out, "SADD bag:%u %u", i % LEDGER_POOLS, i);
        wire_requestf(out, "RPUSH box:0 %u", i);
    }
    wire_requestf(out, "EXEC");
    *ret_replies = 3 + 3 * LEDGER_ELEMENTS;
    return ledger->count;
}

/* What a start must do once, and in its place: done twice or in part, or to another database, it
 * shows in all keys. */
static void put_whole_databases(struct rng *rng, struct text *out, unsigned *ret_replies) {
    wire_requestf(out, "MULTI");
    wire_requestf(out, "SELECT 1");
    wire_requestf(out, "SET there:%u 1", (unsigned)rng_below(rng, 10));
    wire_requestf(out, rng_below(rng, 2) == 0 ? "FLUSHDB" : "FLUSHDB ASYNC");
    wire_requestf(out, "RPUSH there:%u 1", (unsigned)rng_below(rng, 10));
    wire_requestf(out, "SELECT 0");
    wire_requestf(out, "SWAPDB 0 1");
    wire_requestf(out, "SWAPDB 1 0");
    wire_requestf(out, "EXEC");
    *ret_replies = 9;
}

static void put_large(struct rng *rng, struct text *out) {
    static char value[50000];
    memset(value, 'v', sizeof value);
    wire_requestf(out, "SETRANGE large:%u %u %.*s", (unsigned)rng_below(rng, 3),
                  (unsigned)rng_below(rng, 100), 1 + (int)rng_below(rng, sizeof value), value);
}

void ledger_move(struct rng *rng, struct text *out, unsigned *ret_replies) {
    *ret_replies = 1;
    unsigned from = (unsigned)rng_below(rng, LEDGER_POOLS);
    unsigned to = (from + 1 + (unsigned)rng_below(rng, LEDGER_POOLS - 1)) % LEDGER_POOLS;
    unsigned kind = (unsigned)rng_below(rng, 32);
    if (kind < 2) {
        put_whole_databases(rng, out, ret_replies);
    } else if (kind < 3) {
        put_large(rng, out);
    } else if (kind < 6) {
        wire_requestf(out, "SET mortal:%u 1 PX %u", (unsigned)rng_below(rng, 8),
                      1 + (unsigned)rng_below(rng, 30));
    } else if (kind < 9) {
        wire_requestf(out, "BLMOVE line:%u line:%u RIGHT LEFT 0.0%u", from, to,
                      1 + (unsigned)rng_below(rng, 9));
    } else if (kind < 16) {
        wire_requestf(out, "LMOVE line:%u line:%u LEFT RIGHT", from, to);
    } else if (kind < 24) {
        wire_requestf(out, "SMOVE bag:%u bag:%u %u", from, to,
                      (unsigned)rng_below(rng, LEDGER_ELEMENTS));
    } else {
        wire_requestf(out, "RENAMENX box:%u box:%u", from, to);
    }
}

/* ---- Reads ---- */

void ledger_read(unsigned mask, struct text *out, unsigned *ret_replies) {
    static const char *const formats[KINDS] = {
        [KIND_TEXT] = "GET %s",     [KIND_LIST] = "LRANGE %s 0 -1",
        [KIND_COUNTER] = "GET %s",  [KIND_HASH] = "HKEYS %s",
        [KIND_SET] = "SMEMBERS %s", [KIND_SCORES] = "ZRANGE %s 0 -1",
        [KIND_REGISTER] = "GET %s",
    };
    unsigned replies = 2;
    wire_requestf(out, "MULTI");
    for (unsigned key = 0; key < LEDGER_KEYS; key++) {
        if (mask >> key & 1) {
            char name[24], request[64];
            key_name(key, name);
            const char *format = formats[kind_of(key)], *s = strstr(format, "%s");
            snprintf(request, sizeof request, "%.*s%s%s", (int)(s - format), format, name, s + 2);
            wire_requestf(out, "%s", request);
            replies++;
        }
    }
    for (unsigned i = 0; i < LEDGER_POOLS && mask == LEDGER_ALL; i++) {
        wire_requestf(out, "LRANGE line:%u 0 -1", i);
        wire_requestf(out, "SMEMBERS bag:%u", i);
        wire_requestf(out, "LRANGE box:%u 0 -1", i);
        replies += 3;
    }
    wire_requestf(out, "EXEC");
    *ret_replies = replies;
}

static bool wrong(struct text *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool wrong(struct text *why, const char *format, ...) {
    va_list args;
    char line[300];
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    text_append_text(why, line);
    return false;
}

static bool learn(struct ledger *ledger, struct entry *entry, uint64_t now_ns) {
    if (entry->known_ns == 0) {
        entry->known_ns = now_ns;
        ledger->counts.known++;
    }
    return true;
}

/* Its share in a key in which it stands, at this place, or 0. */
static struct share *find_share(struct ledger *ledger, unsigned key, uint64_t number,
                                uint64_t place, struct text *why) {
    char name[24];
    key_name(key, name);
    struct entry *entry =
        number > 0 && number <= ledger->count ? &ledger->entries[number - 1] : NULL;
    for (unsigned i = 0; entry != NULL && i < entry->shares_count; i++) {
        struct share *share = &entry->shares[i];
        if (share->key != key) {
            continue;
        }
        if (entry->gone) {
            wrong(why, "%s has write %" PRIu64 ", which was gone after an earlier start", name,
                  number);
            return NULL;
        }
        if (place > 0 && share->place > 0 && share->place != place) {
            wrong(why, "%s has write %" PRIu64 " at place %" PRIu64 ", and it was at %" PRIu64,
                  name, number, place, share->place);
            return NULL;
        }
        return share;
    }
    wrong(why, "%s has %" PRIu64 ", which nobody wrote", name, number);
    return NULL;
}

/* Calls each(arg, number, place) for the writes that a key shows. */
typedef bool each_fn(void *arg, unsigned key, uint64_t number, uint64_t place, struct text *why);

static bool each_of(unsigned key, const struct wire_value *value, each_fn *each, void *arg,
                    struct text *why) {
    enum kind kind = kind_of(key);
    uint64_t number;
    if (value->type == '_' || kind == KIND_COUNTER) {
        return true;
    }
    if (kind == KIND_TEXT || kind == KIND_REGISTER) {
        struct bytes rest = value->text;
        size_t token = kind == KIND_TEXT ? TOKEN_BYTES : rest.len;
        if (value->type != '$' || rest.len % token != 0) {
            return wrong(why, "key %u: it is no text of tokens", key);
        }
        for (uint64_t place = 1; rest.len > 0; place++) {
            struct bytes digits = bytes_make(rest.ptr, token - (kind == KIND_TEXT));
            while (digits.len > 1 && digits.ptr[0] == '0') {
                digits.ptr++, digits.len--;
            }
            if (!num_parse_u64(digits, &number)) {
                return wrong(why, "key %u: a token that is none", key);
            }
            if (!each(arg, key, number, kind == KIND_TEXT ? place : 0, why)) {
                return false;
            }
            rest.ptr += token, rest.len -= token;
        }
        return true;
    }
    if (value->type != '*') {
        return wrong(why, "key %u: no array", key);
    }
    for (size_t i = 0; i < value->count; i++) {
        if (!num_parse_u64(value->items[i].text, &number)) {
            return wrong(why, "key %u: an element that is no number", key);
        }
        if (!each(arg, key, number, kind == KIND_LIST ? i + 1 : 0, why)) {
            return false;
        }
    }
    return true;
}

bool ledger_written(struct ledger *ledger, uint64_t number, uint64_t now_ns,
                    const struct wire_value *value, struct text *why) {
    struct entry *entry = &ledger->entries[number - 1];
    if (value->type == '-') {
        return true;
    }
    bool pool = number == ledger->pool;
    if (!entry->single &&
        (value->type != '*' || (!pool && value->count != entry->shares_count + entry->flushes))) {
        return wrong(why, "write %" PRIu64 ": all of it answers otherwise", number);
    }
    for (unsigned i = 0; i < entry->shares_count; i++) {
        const struct wire_value *item = entry->single ? value : &value->items[i + entry->flushes];
        struct share *share = &entry->shares[i];
        enum kind kind = kind_of(share->key);
        if (item->type == '-') {
            return wrong(why, "write %" PRIu64 ": %.*s", number, (int)item->text.len,
                         item->text.ptr);
        }
        if (kind <= KIND_COUNTER) {
            uint64_t place = (uint64_t)item->integer / (kind == KIND_TEXT ? TOKEN_BYTES : 1);
            if (item->type != ':' || place == 0 || (share->place > 0 && share->place != place)) {
                return wrong(why, "write %" PRIu64 ": its place is told otherwise", number);
            }
            share->place = place;
        }
    }
    return learn(ledger, entry, now_ns);
}

struct seen {
    struct ledger *ledger;
    bool counts;
    uint64_t now_ns;
};

static bool see_one(void *arg, unsigned key, uint64_t number, uint64_t place, struct text *why) {
    const struct seen *seen = arg;
    struct share *share = find_share(seen->ledger, key, number, place, why);
    if (share == NULL) {
        return false;
    }
    share->place = place > 0 ? place : share->place;
    return !seen->counts || learn(seen->ledger, &seen->ledger->entries[number - 1], seen->now_ns);
}

bool ledger_seen(struct ledger *ledger, unsigned mask, bool counts, uint64_t now_ns,
                 const struct wire_value *value, struct text *why) {
    struct seen seen = {ledger, counts, now_ns};
    if (value->type != '*') {
        return true;
    }
    const struct wire_value *item = value->items;
    for (unsigned key = 0; key < LEDGER_KEYS; key++) {
        if ((mask >> key & 1) && !each_of(key, item++, see_one, &seen, why)) {
            return false;
        }
    }
    return true;
}

uint64_t ledger_promise(struct ledger *ledger, uint64_t after_ns, uint64_t before_ns) {
    uint64_t n = 0;
    for (uint64_t i = 0; i < ledger->count; i++) {
        struct entry *entry = &ledger->entries[i];
        if (!entry->gone && entry->known_ns > after_ns && entry->known_ns < before_ns) {
            entry->promised = true;
            n++;
        }
    }
    return n;
}

const struct ledger_counts *ledger_counts(const struct ledger *ledger) {
    return &ledger->counts;
}

/* ---- Judging ---- */

static bool find_one(void *arg, unsigned key, uint64_t number, uint64_t place, struct text *why) {
    struct share *share = find_share(arg, key, number, place, why);
    if (share == NULL) {
        return false;
    }
    if (share->presence == THERE) {
        return wrong(why, "key %u has write %" PRIu64 " twice", key, number);
    }
    share->presence = THERE;
    share->place = place > 0 ? place : share->place;
    return true;
}

static bool is_there(const struct entry *entry) {
    for (unsigned i = 0; i < entry->shares_count; i++) {
        if (entry->shares[i].presence == THERE) {
            return true;
        }
    }
    return false;
}

/* The flush that is there: no other one can be. */
static const struct entry *find_flush(const struct ledger *ledger) {
    for (uint64_t i = ledger->count; i-- > 0;) {
        const struct entry *entry = &ledger->entries[i];
        if (entry->flushes && !entry->gone && is_there(entry)) {
            return entry;
        }
    }
    return NULL;
}

/* A flush was lost: what counters said behind it, they said of other writes. */
static void forget_counts(struct ledger *ledger, const struct entry *flush) {
    for (uint64_t i = 0; i < ledger->count; i++) {
        struct entry *entry = &ledger->entries[i];
        for (unsigned j = 0; j < entry->shares_count && entry->known_ns >= flush->asked_ns; j++) {
            struct share *share = &entry->shares[j];
            share->place = kind_of(share->key) == KIND_COUNTER ? 0 : share->place;
        }
    }
}

/* With a flush what was before it has gone. */
static bool drop_flushed(struct ledger *ledger, struct text *why) {
    const struct entry *flush = find_flush(ledger);
    for (uint64_t i = 0; i < ledger->count; i++) {
        struct entry *entry = &ledger->entries[i];
        entry->open = false;
        if (entry->flushes && !entry->gone && !is_there(entry)) {
            forget_counts(ledger, entry);
        }
        if (flush == NULL || entry == flush || entry->gone) {
            continue;
        }
        if (entry->known_ns == 0 || entry->known_ns >= flush->asked_ns) {
            entry->open = flush->known_ns == 0 || entry->asked_ns <= flush->known_ns;
            continue;
        }
        if (is_there(entry)) {
            return wrong(why, "write %" PRIu64 " is there, and flush %" PRIu64 " behind it", i + 1,
                         (uint64_t)(flush - ledger->entries) + 1);
        }
        entry->gone = true;
        ledger->counts.flushed++;
    }
    return true;
}

/* A register shows its last write only: what was written before that may be there or not. */
static enum presence of_register(const struct ledger *ledger, const struct entry *entry,
                                 uint64_t shown) {
    if (shown == 0) {
        return NOT_THERE;
    }
    uint64_t known_ns = ledger->entries[shown - 1].known_ns;
    return known_ns != 0 && known_ns < entry->asked_ns ? NOT_THERE : MAYBE;
}

static bool shown_number(const struct wire_value *value, uint64_t *ret) {
    *ret = 0;
    return value->type == '_' || (value->type == '$' && num_parse_u64(value->text, ret));
}

/* What a key says of the writes that it does not show. */
static bool infer(struct ledger *ledger, unsigned key, const struct wire_value *value,
                  struct text *why) {
    enum kind kind = kind_of(key);
    uint64_t shown = 0;
    if ((kind == KIND_COUNTER || kind == KIND_REGISTER) && !shown_number(value, &shown)) {
        return wrong(why, "key %u shows no number", key);
    }
    for (uint64_t i = 0; i < ledger->count; i++) {
        struct entry *entry = &ledger->entries[i];
        for (unsigned j = 0; j < entry->shares_count && !entry->gone; j++) {
            struct share *share = &entry->shares[j];
            if (share->key != key || share->presence == THERE) {
                continue;
            }
            if (entry->open && (kind == KIND_COUNTER || kind == KIND_REGISTER)) {
                share->presence = MAYBE;
            } else if (kind == KIND_COUNTER) {
                share->presence = share->place == 0       ? MAYBE
                                  : share->place <= shown ? THERE
                                                          : NOT_THERE;
            } else {
                share->presence =
                    kind == KIND_REGISTER ? of_register(ledger, entry, shown) : NOT_THERE;
            }
        }
    }
    return true;
}

/* Of each write as a whole. */
static bool join(struct ledger *ledger, struct text *why) {
    for (uint64_t i = 0; i < ledger->count; i++) {
        struct entry *entry = &ledger->entries[i];
        entry->presence = MAYBE;
        for (unsigned j = 0; j < entry->shares_count && !entry->gone; j++) {
            enum presence presence = entry->shares[j].presence;
            if (presence != MAYBE && entry->presence != MAYBE && presence != entry->presence) {
                char here[24], there[24];
                key_name(entry->shares[j].key, here);
                key_name(entry->shares[0].key, there);
                return wrong(why, "half a transaction: write %" PRIu64 ", as %s and %s say", i + 1,
                             there, here);
            }
            entry->presence = presence != MAYBE ? presence : entry->presence;
        }
    }
    return true;
}

/* With a write all that was known before it was asked for. */
static bool one_moment(struct ledger *ledger, struct text *why) {
    uint64_t last_ns = 0, last = 0;
    for (uint64_t i = 0; i < ledger->count; i++) {
        const struct entry *entry = &ledger->entries[i];
        if (!entry->gone && entry->presence == THERE && entry->asked_ns > last_ns) {
            last_ns = entry->asked_ns;
            last = i + 1;
        }
    }
    for (uint64_t i = 0; i < ledger->count; i++) {
        const struct entry *entry = &ledger->entries[i];
        if (entry->gone || entry->open || entry->presence != NOT_THERE) {
            continue;
        }
        if (entry->promised) {
            return wrong(why, "write %" PRIu64 " is gone, which was promised", i + 1);
        }
        if (entry->known_ns != 0 && entry->known_ns < last_ns) {
            return wrong(why,
                         "not one moment: write %" PRIu64 " is gone, and %" PRIu64
                         " is there, which was asked for when that was known",
                         i + 1, last);
        }
    }
    return true;
}

/* What is there as the counter counts. */
static bool count_agrees(const struct ledger *ledger, unsigned key, const struct wire_value *value,
                         struct text *why) {
    uint64_t shown, least = 0, most = 0;
    shown_number(value, &shown);
    for (uint64_t i = 0; i < ledger->count; i++) {
        const struct entry *entry = &ledger->entries[i];
        if (!entry->gone && has_share(entry, key)) {
            least += entry->presence == THERE;
            most += entry->presence != NOT_THERE;
        }
    }
    return (shown >= least && shown <= most) ||
           wrong(why, "key %u counts %" PRIu64 ", and it is %" PRIu64 " to %" PRIu64, key, shown,
                 least, most);
}

/* What a register shows is the last of what is there. */
static bool register_agrees(const struct ledger *ledger, unsigned key,
                            const struct wire_value *value, struct text *why) {
    uint64_t shown;
    shown_number(value, &shown);
    for (uint64_t i = 0; i < ledger->count; i++) {
        const struct entry *entry = &ledger->entries[i];
        if (entry->gone || entry->presence != THERE || !has_share(entry, key) || i + 1 == shown) {
            continue;
        }
        if (shown == 0 || (ledger->entries[shown - 1].known_ns != 0 &&
                           ledger->entries[shown - 1].known_ns < entry->asked_ns)) {
            return wrong(why,
                         "key %u shows %" PRIu64 ", and %" PRIu64 ", which is there, was later",
                         key, shown, i + 1);
        }
    }
    return true;
}

/* Each element once, or none: three keys' values, which stand `every` apart. */
static bool pool_agrees(const struct ledger *ledger, const struct wire_value *values,
                        const char *name, struct text *why) {
    uint64_t seen = 0, n;
    for (unsigned i = 0; i < LEDGER_POOLS; i++) {
        const struct wire_value *value = &values[3 * i];
        for (size_t j = 0; j < value->count; j++) {
            if (!num_parse_u64(value->items[j].text, &n) || n >= LEDGER_ELEMENTS ||
                (seen >> n & 1)) {
                return wrong(why, "%s has %.*s, which is there twice", name,
                             (int)value->items[j].text.len, value->items[j].text.ptr);
            }
            seen |= UINT64_C(1) << n;
        }
    }
    bool is = ledger->pool != 0 && ledger->entries[ledger->pool - 1].presence == THERE;
    uint64_t wanted = is ? (UINT64_C(1) << LEDGER_ELEMENTS) - 1 : 0;
    return seen == wanted ||
           wrong(why, "%s has elements %" PRIx64 ", and it should be %" PRIx64, name, seen, wanted);
}

static void settle(struct ledger *ledger, uint64_t now_ns) {
    for (uint64_t i = 0; i < ledger->count; i++) {
        struct entry *entry = &ledger->entries[i];
        if (entry->gone) {
            continue;
        }
        if (entry->presence == THERE) {
            learn(ledger, entry, now_ns);
            ledger->counts.survived++;
        } else if (entry->presence == NOT_THERE) {
            entry->gone = true;
            ledger->counts.gone++;
            ledger->counts.known_gone += entry->known_ns != 0;
        }
    }
    if (ledger->pool != 0 && ledger->entries[ledger->pool - 1].gone) {
        ledger->pool = 0;
    }
}

bool ledger_judge(struct ledger *ledger, uint64_t now_ns, const struct wire_value *value,
                  struct text *why) {
    if (value->type != '*' || value->count != LEDGER_KEYS + 3 * LEDGER_POOLS) {
        return wrong(why, "the read of all keys is answered otherwise: %.*s", (int)value->text.len,
                     value->text.ptr);
    }
    for (uint64_t i = 0; i < ledger->count; i++) {
        for (unsigned j = 0; j < SHARES_MAX; j++) {
            ledger->entries[i].shares[j].presence = MAYBE;
        }
    }
    for (unsigned key = 0; key < LEDGER_KEYS; key++) {
        if (!each_of(key, &value->items[key], find_one, ledger, why)) {
            return false;
        }
    }
    if (!drop_flushed(ledger, why)) {
        return false;
    }
    for (unsigned key = 0; key < LEDGER_KEYS; key++) {
        if (!infer(ledger, key, &value->items[key], why)) {
            return false;
        }
    }
    if (!join(ledger, why) || !one_moment(ledger, why)) {
        return false;
    }
    for (unsigned key = 0; key < LEDGER_KEYS; key++) {
        const struct wire_value *item = &value->items[key];
        if ((kind_of(key) == KIND_COUNTER && !count_agrees(ledger, key, item, why)) ||
            (kind_of(key) == KIND_REGISTER && !register_agrees(ledger, key, item, why))) {
            return false;
        }
    }
    const struct wire_value *pools = &value->items[LEDGER_KEYS];
    if (!pool_agrees(ledger, pools, "line", why) || !pool_agrees(ledger, pools + 1, "bag", why) ||
        !pool_agrees(ledger, pools + 2, "box", why)) {
        return false;
    }
    settle(ledger, now_ns);
    return true;
}
