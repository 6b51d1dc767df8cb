/* SPDX-License-Identifier: BSD-3-Clause */
/* effects: see the header.
 *
 * Records are gathered in the order in which things happened on this shard. Those of the unit that
 * is open have no number yet: it is drawn when the outermost call ends.
 *
 *     call begins -> (its calls begin and end) -> stated, ran out, as sent
 *       -> ends: a number for all
 */
#include "server/call/effects.h"

#include "base/arena.h"
#include "base/must.h"
#include "base/num.h"
#include "base/text.h"
#include "server/observe/slot_stats.h"
#include "server/persistence/wal.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"
#include "shard/memory/blob.h"
#include "shard/types/stream.h"
#include "shard/types/string.h"

#include <assert.h>
#include <stdlib.h>

/* EXEC, a script in it, what that calls. */
#define DEPTH_MAX 8

struct records {
    bool wanted;
    struct effect *list;
    uint32_t count, capacity;
    uint32_t open; /* where the unit that is open begins */
    struct text text;
};

/* How it was when a call began. */
struct mark {
    struct effects_origin origin;
    uint64_t changes;
    bool stated;
};

struct effects {
    struct records records[EFFECTS_KINDS];
    effects_tell_fn *told;        /* each of COMMANDS, or NULL */
    struct wal *wal;              /* which records them as well, or NULL */
    struct effects_origin origin; /* of the call that runs */
    unsigned depth;               /* calls within calls */
    struct mark marks[DEPTH_MAX]; /* of those */
    uint64_t said;                /* bytes of elements: effects_say_some */
    bool stated;                  /* the innermost said what it did */
    struct blob **kept;
    uint32_t kept_count, kept_capacity;
};

/* ---- Records ---- */

static void append_bulk(struct text *text, struct bytes word) {
    text_appendf(text, "$%zu\r\n", word.len);
    text_append_bytes(text, word);
    text_append_text(text, "\r\n");
}

static struct effect *record_add(struct records *records, struct effect effect) {
    if (records->count == records->capacity) {
        records->capacity = records->capacity > 0 ? records->capacity * 2 : 16;
        records->list = must_realloc(records->list, records->capacity * sizeof *records->list);
    }
    effect.at = records->text.len;
    records->list[records->count] = effect;
    return &records->list[records->count++];
}

static void record_words(struct records *records, struct effect effect, const struct bytes *argv) {
    size_t before = records->text.len;
    struct effect *added = record_add(records, effect);
    for (uint32_t i = 0; i < effect.argc; i++) {
        append_bulk(&records->text, argv[i]);
    }
    added->bytes = records->text.len - before;
}

static void close_unit(struct worker *worker, struct records *records) {
    uint64_t number = 0;
    for (; records->open < records->count; records->open++) {
        struct effect *effect = &records->list[records->open];
        if (effect->txn == 0) {
            number = number > 0 ? number : shared_next_number(worker->server->shared);
            effect->number = number;
        }
    }
}

/* Adds to the unit that is open, or one that consists of this alone. Returns it, for the moment;
 * NULL if it is not wanted. */
static struct effect *add(struct worker *worker, enum effects_kind kind,
                          struct effects_origin origin, uint32_t db, const struct bytes *argv,
                          uint32_t argc) {
    struct effects *effects = worker->effects;
    struct records *records = &effects->records[kind];
    if (kind == EFFECTS_COMMANDS && effects->wal != NULL) {
        wal_record(effects->wal, origin.txn, origin.order, db, argv, argc);
        if (UNLIKELY(worker->slot_stats.counts) && worker->acking_replicas > 0) {
            slot_stats_sent(worker, argv, argc);
        }
        if (effects->depth == 0) {
            wal_unit(effects->wal);
        }
    }
    if (kind == EFFECTS_COMMANDS && UNLIKELY(effects->told != NULL)) {
        effects->told(worker, db, argv, argc);
    }
    if (!records->wanted) {
        return NULL;
    }
    struct effect effect = {.txn = origin.txn, .order = origin.order, .db = db, .argc = argc};
    record_words(records, effect, argv);
    if (effects->depth == 0) {
        close_unit(worker, records);
    }
    return &records->list[records->count - 1];
}

void effects_add(struct worker *worker, struct effects_origin origin, uint32_t db,
                 const struct bytes *argv, uint32_t argc) {
    if (worker->effects != NULL) {
        add(worker, EFFECTS_COMMANDS, origin, db, argv, argc);
    }
}

/* The commands that make a value; strings are one SET. */
static void add_string(struct worker *worker, struct effects_origin origin, uint32_t db,
                       struct bytes name, const struct entry *entry) {
    char scratch[NUMBER_TEXT_BYTES], when[NUM_I64_BYTES];
    struct bytes argv[] = {BYTES("SET"), name, string_bytes(entry, scratch), BYTES("PXAT"), {0}};
    int64_t deadline = entry_expires_at(entry);
    bool has_ttl = deadline != NO_EXPIRY;
    argv[4] = bytes_make(when, has_ttl ? num_format_i64(when, deadline) : 0);
    effects_add(worker, origin, db, argv, has_ttl ? 5 : 3);
}

/* Elements that one command adds. */
#define ELEMENTS_MAX 64

/* A collection's commands, as they are made. Texts of elements are copied: they last for a visit.
 */
struct collection {
    struct worker *worker;
    struct effects_origin origin;
    uint32_t db;
    enum value_type type;
    struct bytes argv[2 + 2 * ELEMENTS_MAX];
    uint32_t argc, elements;
    struct arena *arena;
};

static void collection_flush(struct collection *c) {
    for (uint32_t i = 0; i < c->argc; i++) {
        c->worker->effects->said += c->argv[i].len;
    }
    if (c->elements > 0) {
        effects_add(c->worker, c->origin, c->db, c->argv, c->argc);
    }
    c->argc = 2;
    c->elements = 0;
    arena_reset(c->arena);
}

static void collection_add(struct collection *c, struct bytes text) {
    char *copy = arena_alloc(c->arena, text.len + 1);
    memcpy(copy, text.ptr, text.len);
    c->argv[c->argc++] = bytes_make(copy, text.len);
}

static void collection_element(void *arg, const struct value_element *element) {
    struct collection *c = arg;
    if (c->type == TYPE_ZSET) {
        char score[NUM_DOUBLE_BYTES];
        collection_add(c, bytes_make(score, num_format_double(score, element->score)));
    }
    collection_add(c, element->first);
    if (c->type == TYPE_HASH) {
        collection_add(c, element->second);
    }
    if (++c->elements == ELEMENTS_MAX || element->deadline != 0) {
        collection_flush(c);
    }
    if (element->deadline != 0) {
        char when[NUM_I64_BYTES];
        struct bytes at = bytes_make(when, num_format_i64(when, element->deadline));
        struct bytes argv[] = {BYTES("HPEXPIREAT"), c->argv[1], at,
                               BYTES("FIELDS"),     BYTES("1"), element->first};
        effects_add(c->worker, c->origin, c->db, argv, 6);
    }
}

static void stream_command(void *arg, const struct bytes *argv, uint32_t argc) {
    const struct collection *c = arg;
    for (uint32_t i = 0; i < argc; i++) {
        c->worker->effects->said += argv[i].len;
    }
    effects_add(c->worker, c->origin, c->db, argv, argc);
}

static void say_elements(struct collection *c, struct effects_saying *saying) {
    const struct form *form = forms_find(&value_forms, &saying->value);
    saying->cursor =
        form->walk(&saying->value, saying->cursor, ELEMENTS_MAX, collection_element, c);
    saying->stage += saying->cursor == 0;
}

static void say_stream(struct collection *c, struct effects_saying *saying) {
    struct stream_saying *stream = &saying->stream;
    if (stream->stream == NULL) {
        *stream = (struct stream_saying){
            .stream = stream_of(&saying->value), .name = saying->name, .say = stream_command};
    }
    stream->arg = c;
    saying->stage += stream_say_some(stream, ELEMENTS_MAX);
}

static void say_deadline(const struct collection *c, const struct effects_saying *saying) {
    if (saying->expires_at != NO_EXPIRY) {
        char when[NUM_I64_BYTES];
        struct bytes at = bytes_make(when, num_format_i64(when, saying->expires_at));
        const struct bytes argv[] = {BYTES("PEXPIREAT"), saying->name, at};
        effects_add(c->worker, c->origin, c->db, argv, 3);
    }
}

/* What is there goes, all elements are added, and the key has its deadline. */
static void say_step(struct collection *c, struct effects_saying *saying) {
    switch (saying->stage) {
    case SAYING_BEGINS:
        effects_add(c->worker, c->origin, c->db, (const struct bytes[]){BYTES("DEL"), saying->name},
                    2);
        saying->stage = SAYING_ELEMENTS;
        return;
    case SAYING_ELEMENTS:
        if (c->type == TYPE_STREAM) {
            say_stream(c, saying);
        } else {
            say_elements(c, saying);
        }
        return;
    case SAYING_DEADLINE:
        collection_flush(c);
        say_deadline(c, saying);
        saying->stage = SAYING_OVER;
        return;
    case SAYING_OVER:
        return;
    }
}

static const char *const adds[TYPE_COUNT] = {
    [TYPE_LIST] = "RPUSH", [TYPE_SET] = "SADD",    [TYPE_ZSET] = "ZADD",
    [TYPE_HASH] = "HSET",  [TYPE_STREAM] = "XADD",
};

bool effects_say_some(struct worker *worker, struct effects_saying *saying, size_t bytes) {
    const struct effects *effects = worker->effects;
    if (effects == NULL || (!effects->records[EFFECTS_COMMANDS].wanted && effects->wal == NULL &&
                            effects->told == NULL)) {
        return true;
    }
    if (saying->wants != worker->effects_wants) { /* what was said of it is not known any more */
        saying->wants = worker->effects_wants;
        saying->stage = SAYING_BEGINS;
        saying->cursor = 0;
        saying->stream = (struct stream_saying){0};
    }
    struct arena arena;
    arena_init(&arena, 4096);
    enum value_type type = saying->value.type;
    check(adds[type] != NULL);
    struct collection c = {
        .worker = worker,
        .origin = saying->origin,
        .db = saying->db,
        .type = type,
        .argv = {bytes_of_text(adds[type]), saying->name},
        .argc = 2,
        .arena = &arena,
    };
    uint64_t before = effects->said;
    do {
        say_step(&c, saying);
    } while (saying->stage != SAYING_OVER && effects->said - before < bytes);
    collection_flush(&c);
    arena_fini(&arena);
    return saying->stage == SAYING_OVER;
}

void effects_add_key(struct worker *worker, struct effects_origin origin, uint32_t db,
                     struct bytes name, const struct entry *entry) {
    if (worker->effects == NULL) {
        return;
    }
    if (entry == NULL) {
        effects_add(worker, origin, db, (const struct bytes[]){BYTES("DEL"), name}, 2);
        return;
    }
    if (entry_type(entry) == TYPE_STRING) {
        add_string(worker, origin, db, name, entry);
        return;
    }
    struct effects_saying saying = {
        .origin = origin,
        .value = entry_value_of(entry),
        .name = name,
        .db = db,
        .expires_at = entry_expires_at(entry),
    };
    effects_say_some(worker, &saying, SIZE_MAX);
}

/* ---- Transactions ---- */

uint64_t effects_txn(struct worker *worker) {
    if (worker->effects != NULL) {
        return shared_next_number(worker->server->shared);
    }
    return EFFECTS_TXN_UNNUMBERED | (uint64_t)worker->id << 48 | ++worker->effects_txns;
}

void effects_granted(struct worker *worker, uint64_t txn) {
    if (worker->effects == NULL) {
        return;
    }
    uint64_t number = shared_next_number(worker->server->shared);
    for (unsigned kind = 0; kind < EFFECTS_KINDS; kind++) {
        struct records *records = &worker->effects->records[kind];
        if (records->wanted) {
            record_add(records, (struct effect){.txn = txn, .number = number});
        }
    }
}

/* Where the transaction's locks were granted here, for the last time. */
static uint32_t granted_at(const struct records *records, uint64_t txn) {
    uint32_t begin = records->count;
    while (begin > 0) {
        const struct effect *effect = &records->list[--begin];
        if (effect->txn == txn && effect->argc == 0) {
            break;
        }
    }
    return begin;
}

void effects_unread(struct worker *worker, uint64_t txn) {
    if (worker->effects == NULL) {
        return;
    }
    check(worker->effects->depth == 0);
    struct records *records = &worker->effects->records[EFFECTS_EVENTS];
    uint32_t begin = granted_at(records, txn), kept = begin;
    for (uint32_t i = begin; i < records->count; i++) {
        if (records->list[i].txn != txn || !records->list[i].missed) {
            records->list[kept++] = records->list[i];
        }
    }
    records->count = records->open = kept;
}

void effects_cancel(struct worker *worker, uint64_t txn) {
    if (worker->effects == NULL) {
        return;
    }
    check(worker->effects->depth == 0);
    for (unsigned kind = 0; kind < EFFECTS_KINDS; kind++) {
        struct records *records = &worker->effects->records[kind];
        uint64_t number = 0;
        for (uint32_t i = granted_at(records, txn); i < records->count; i++) {
            struct effect *effect = &records->list[i];
            if (effect->txn == txn && effect->argc > 0) {
                number = number > 0 ? number : shared_next_number(worker->server->shared);
                effect->txn = 0;
                effect->number = number;
            }
        }
    }
}

/* ---- Calls ---- */

struct effects_origin effects_open(struct worker *worker, struct effects_origin origin) {
    struct effects *effects = worker->effects;
    struct effects_origin before = {0};
    if (effects != NULL) {
        before = effects->origin;
        effects->depth++;
        /* What runs inside of something is part of it, if it is not a transaction of its own. */
        effects->origin = origin.txn > 0 ? origin : before;
    }
    return before;
}

static void forget_kept(struct effects *effects) {
    while (effects->kept_count > 0) {
        blob_unref(effects->kept[--effects->kept_count]);
    }
}

static bool any_wanted(const struct effects *effects) {
    bool any = effects->wal != NULL || effects->told != NULL;
    for (unsigned kind = 0; kind < EFFECTS_KINDS; kind++) {
        any |= effects->records[kind].wanted;
    }
    return any;
}

static void records_fini(struct records *records) {
    free(records->list);
    text_fini(&records->text);
}

void effects_free(struct worker *worker) {
    struct effects *effects = worker->effects;
    if (effects == NULL) {
        return;
    }
    for (unsigned kind = 0; kind < EFFECTS_KINDS; kind++) {
        records_fini(&effects->records[kind]);
    }
    forget_kept(effects);
    free(effects->kept);
    free(effects);
    worker->effects = NULL;
}

void effects_close(struct worker *worker, struct effects_origin before) {
    struct effects *effects = worker->effects;
    if (effects == NULL) {
        return;
    }
    effects->origin = before;
    if (--effects->depth == 0) {
        if (effects->wal != NULL) {
            wal_unit(effects->wal);
        }
        for (unsigned kind = 0; kind < EFFECTS_KINDS; kind++) {
            close_unit(worker, &effects->records[kind]);
        }
        forget_kept(effects);
        if (UNLIKELY(!any_wanted(effects))) { /* any more, since it began */
            effects_free(worker);
        }
    }
}

void effects_begin(struct exec *x) {
    struct effects *effects = x->worker->effects;
    check(effects->depth < DEPTH_MAX);
    struct mark *mark = &effects->marks[effects->depth];
    mark->origin =
        effects_open(x->worker, (struct effects_origin){x->caller->txn, x->caller->order});
    mark->changes = keyspace_stats(x->keyspace)->changes;
    mark->stated = effects->stated;
    effects->stated = false;
    x->gathered = true;
    x->worker->stats.gathered++;
}

void effects_tell(struct exec *x) {
    struct effects *effects = x->worker->effects;
    const struct mark *mark = &effects->marks[effects->depth - 1];
    bool changed = keyspace_stats(x->keyspace)->changes != mark->changes;
#ifdef SHOAL_UNSAFE_LOG_SCRIPT /* for the test that crashes in the simulator show it */
    changed &= x->caller->script == NULL || x->shard == &x->worker->shard;
#endif
    if (changed && !effects->stated && x->command->logged != LOGGED_NO) {
        check(x->command->logged == LOGGED_AS_SENT); /* else it should have said what it did */
        add(x->worker, EFFECTS_COMMANDS, effects->origin, x->db, x->argv, x->argc);
    }
    effects->stated = mark->stated;
}

void effects_end(struct exec *x) {
    const struct effects *effects = x->worker->effects;
    effects_close(x->worker, effects->marks[effects->depth - 1].origin);
}

void effect_state(const struct exec *x, const struct bytes *argv, uint32_t argc) {
    struct effects *effects = x->worker->effects;
    if (effects != NULL) {
        check_slow(effects->depth > 0 && x->command->logged != LOGGED_NO);
        effects->stated = true;
        add(x->worker, EFFECTS_COMMANDS, effects->origin, x->db, argv, argc);
    }
}

void effect_state_key(const struct exec *x, uint32_t db, struct bytes name,
                      const struct entry *entry) {
    struct effects *effects = x->worker->effects;
    if (effects != NULL) {
        effects->stated = true;
        effects_add_key(x->worker, effects->origin, db, name, entry);
    }
}

struct bytes effect_int(char *scratch, int64_t number) {
    static_assert(EFFECT_INT_BYTES >= NUM_I64_BYTES, "room for any number");
    return bytes_make(scratch, num_format_i64(scratch, number));
}

void effect_told(const struct exec *x) {
    if (x->worker->effects != NULL) {
        x->worker->effects->stated = true;
    }
}

void effect_keep(const struct exec *x, struct blob *blob) {
    struct effects *effects = x->worker->effects;
    if (effects == NULL) {
        return;
    }
    if (effects->kept_count == effects->kept_capacity) {
        effects->kept_capacity = effects->kept_capacity > 0 ? effects->kept_capacity * 2 : 4;
        effects->kept = must_realloc(effects->kept, effects->kept_capacity * sizeof *effects->kept);
    }
    blob_ref(blob);
    effects->kept[effects->kept_count++] = blob;
}

/* ---- Hooks ---- */

static struct bytes gone(bool lazy) {
    return lazy ? BYTES("UNLINK") : BYTES("DEL");
}

void effects_expired(struct worker *worker, const struct key_news *news) {
    if (worker->effects == NULL) {
        return;
    }
    const struct config *config = worker->config;
    struct bytes word = gone(news->event == EVENT_EVICTED ? config->lazyfree_lazy_eviction
                                                          : config->lazyfree_lazy_expire);
    add(worker, EFFECTS_COMMANDS, worker->effects->origin, news->db,
        (const struct bytes[]){word, news->key->name}, 2);
}

void effects_elements_expired(struct worker *worker, uint32_t db, struct bytes name,
                              const struct bytes *elements, uint32_t count, bool emptied) {
    if (worker->effects == NULL) {
        return;
    }
    struct bytes argv[2 + ELEMENTS_AT_ONCE] = {BYTES("HDEL"), name};
    check(count <= ELEMENTS_AT_ONCE);
    memcpy(&argv[2], elements, count * sizeof *elements);
    struct effects_origin origin = worker->effects->origin;
    struct effects_origin before = effects_open(worker, origin);
    add(worker, EFFECTS_COMMANDS, origin, db, argv, 2 + count);
    if (emptied) {
        argv[0] = gone(worker->config->lazyfree_lazy_expire);
        add(worker, EFFECTS_COMMANDS, origin, db, argv, 2);
    }
    effects_close(worker, before);
}

void effects_heard(struct worker *worker, const struct key_news *news) {
    if (worker->effects == NULL) {
        return;
    }
    const struct event_row *row = &event_rows[news->event];
    struct bytes argv[] = {bytes_make(&row->class, 1), bytes_of_text(row->name), news->key->name};
    struct effect *added = add(worker, EFFECTS_EVENTS, worker->effects->origin, news->db, argv, 3);
    if (added != NULL) {
        added->missed = news->event == EVENT_KEYMISS;
    }
}

/* ---- Who wants to know ---- */

static void records_init(struct records *records, bool wanted) {
    *records = (struct records){.wanted = wanted};
    text_init(&records->text);
}

void effects_listen(struct worker *worker) {
    const struct effects *effects = worker->effects;
    bool wanted = effects != NULL && effects->records[EFFECTS_EVENTS].wanted;
    keyspace_listen(worker->shard.keyspace, wanted || worker->notifies);
}

static struct effects *effects_of(struct worker *worker) {
    if (worker->effects == NULL) {
        worker->effects = must_calloc(1, sizeof *worker->effects);
        for (unsigned i = 0; i < EFFECTS_KINDS; i++) {
            records_init(&worker->effects->records[i], false);
        }
    }
    worker->effects_wants++;
    return worker->effects;
}

/* Nobody wants them any more: they go, with the call that runs, if there is one. */
static void let_go(struct worker *worker) {
    if (!any_wanted(worker->effects) && worker->effects->depth == 0) {
        effects_free(worker);
    }
}

void effects_log(struct worker *worker, struct wal *wal) {
    const struct effects *before = worker->effects;
    if ((before != NULL ? before->wal : NULL) != wal) {
        effects_of(worker)->wal = wal;
        let_go(worker);
    }
}

void effects_tell_all(struct worker *worker, effects_tell_fn *tell) {
    const struct effects *before = worker->effects;
    if ((before != NULL ? before->told : NULL) != tell) {
        effects_of(worker)->told = tell;
        let_go(worker);
    }
}

void effects_want(struct worker *worker, enum effects_kind kind, bool wanted) {
    struct effects *effects = effects_of(worker);
    check(effects->depth == 0);
    records_fini(&effects->records[kind]);
    records_init(&effects->records[kind], wanted);
    let_go(worker);
    effects_listen(worker);
}

struct effects_list effects_take(struct worker *worker, enum effects_kind kind) {
    if (worker->effects == NULL) {
        return (struct effects_list){0};
    }
    struct records *records = &worker->effects->records[kind];
    check(worker->effects->depth == 0);
    struct effects_list list = {
        .list = records->list,
        .count = records->count,
        .capacity = records->capacity,
        .text = text_take(&records->text),
    };
    records_init(records, records->wanted);
    return list;
}

void effects_list_free(struct effects_list *list) {
    free(list->list);
    free(list->text);
}
