/* SPDX-License-Identifier: BSD-3-Clause */
/* A reader is a stage and what is left of it. A step reads the texts and numbers that belong
 * together, an element mostly, and then does something with them; if they are not all there it has
 * done nothing, and is made again.
 *
 * The stages of a stream follow its layout: nodes, what it says of itself, and for each group its
 * pending entries, then who has which of them. An entry's record is made when its consumer is
 * known; until then what the group says of it waits in a row of its own.
 */
#include "persist/codec/value_read.h"

#include "base/check.h"
#include "base/must.h"
#include "base/quote.h"
#include "persist/codec/rdb.h"
#include "shard/ds/intset.h"
#include "shard/types/stream_group.h"

#include <stdlib.h>

/* ---- What types are made of ---- */

struct value_source;
typedef bool step_fn(struct value_read *read, struct rdb_input *in);

/* `step` reads one of `left`. */
struct value_source {
    enum value_type type;
    step_fn *step;
    enum pack_kind pack;
    bool counted; /* how many steps there are stands before them; else there is one */
};

static step_fn string_step, push_step, pack_step, quicklist_step, plain_node_step, member_step,
    intset_step, digits_step, score_step, field_step, deadline_step, distance_step, triples_step,
    stream_step;

static const struct value_source sources[RDB_TYPES] = {
    [RDB_STRING] = {TYPE_STRING, string_step, 0, false},
    [RDB_LIST] = {TYPE_LIST, push_step, 0, true},
    [RDB_SET] = {TYPE_SET, member_step, 0, true},
    [RDB_ZSET] = {TYPE_ZSET, digits_step, 0, true},
    [RDB_HASH] = {TYPE_HASH, field_step, 0, true},
    [RDB_ZSET_2] = {TYPE_ZSET, score_step, 0, true},
    [RDB_HASH_ZIPMAP] = {TYPE_HASH, pack_step, PACK_ZIPMAP, false},
    [RDB_LIST_ZIPLIST] = {TYPE_LIST, plain_node_step, PACK_ZIPLIST, false},
    [RDB_SET_INTSET] = {TYPE_SET, intset_step, 0, false},
    [RDB_ZSET_ZIPLIST] = {TYPE_ZSET, pack_step, PACK_ZIPLIST, false},
    [RDB_HASH_ZIPLIST] = {TYPE_HASH, pack_step, PACK_ZIPLIST, false},
    [RDB_LIST_QUICKLIST] = {TYPE_LIST, plain_node_step, PACK_ZIPLIST, true},
    [RDB_STREAM] = {TYPE_STREAM, stream_step, 0, true},
    [RDB_HASH_LISTPACK] = {TYPE_HASH, pack_step, PACK_LISTPACK, false},
    [RDB_ZSET_LISTPACK] = {TYPE_ZSET, pack_step, PACK_LISTPACK, false},
    [RDB_LIST_QUICKLIST_2] = {TYPE_LIST, quicklist_step, PACK_LISTPACK, true},
    [RDB_STREAM_2] = {TYPE_STREAM, stream_step, 0, true},
    [RDB_SET_LISTPACK] = {TYPE_SET, pack_step, PACK_LISTPACK, false},
    [RDB_STREAM_3] = {TYPE_STREAM, stream_step, 0, true},
    [RDB_HASH_2] = {TYPE_HASH, deadline_step, 0, true},
    [RDB_HASH_DEADLINES] = {TYPE_HASH, distance_step, 0, true},
    [RDB_HASH_LISTPACK_DEADLINES] = {TYPE_HASH, triples_step, PACK_LISTPACK, false},
};

enum stage {
    STAGE_COUNT,
    STAGE_STEPS, /* `left` of them; of a stream its nodes */
    STAGE_STREAM,
    STAGE_GROUP,
    STAGE_PENDING,
    STAGE_CONSUMERS,
    STAGE_CONSUMER,
    STAGE_TAKEN,
};

static enum rdb_type type_of(const struct value_read *read) {
    return (enum rdb_type)(read->source - sources);
}

static bool fine(struct rdb_input *in, const char *error) {
    return error == NULL || rdb_fail(in, error);
}

/* ---- Elements ---- */

static bool get_two(struct value_read *read, struct rdb_input *in) {
    return rdb_get_text(in, &read->texts[0]) && rdb_get_text(in, &read->texts[1]);
}

static bool string_step(struct value_read *read, struct rdb_input *in) {
    if (!rdb_get_text(in, &read->texts[0])) {
        return false;
    }
    value_build_string(&read->build, read->texts[0].bytes);
    return true;
}

static bool push_step(struct value_read *read, struct rdb_input *in) {
    if (!rdb_get_text(in, &read->texts[0])) {
        return false;
    }
    value_build_push(&read->build, read->texts[0].bytes);
    return true;
}

static bool member_step(struct value_read *read, struct rdb_input *in) {
    return rdb_get_text(in, &read->texts[0]) &&
           fine(in, value_build_member(&read->build, read->texts[0].bytes));
}

static bool digits_step(struct value_read *read, struct rdb_input *in) {
    double score;
    return rdb_get_text(in, &read->texts[0]) && rdb_get_digits(in, &score) &&
           fine(in, value_build_score(&read->build, read->texts[0].bytes, score));
}

static bool score_step(struct value_read *read, struct rdb_input *in) {
    double score;
    return rdb_get_text(in, &read->texts[0]) && rdb_get_double(in, &score) &&
           fine(in, value_build_score(&read->build, read->texts[0].bytes, score));
}

static bool field_step(struct value_read *read, struct rdb_input *in) {
    return get_two(read, in) && fine(in, value_build_field(&read->build, read->texts[0].bytes,
                                                           read->texts[1].bytes, NO_EXPIRY));
}

static const char bad_deadline[] = "a field's deadline that is none";

/* What was over is left out. */
static const char *add_field(struct value_read *read, struct bytes name, struct bytes value,
                             int64_t deadline) {
    if (deadline != NO_EXPIRY && deadline < read->options.alive_ms) {
        return NULL;
    }
    return value_build_field(&read->build, name, value, deadline);
}

static bool deadline_step(struct value_read *read, struct rdb_input *in) {
    uint64_t raw;
    if (!get_two(read, in) || !rdb_get_u64(in, &raw)) {
        return false;
    }
    int64_t deadline = (int64_t)raw;
    if (deadline < NO_EXPIRY) {
        return rdb_fail(in, bad_deadline);
    }
    return fine(in, add_field(read, read->texts[0].bytes, read->texts[1].bytes, deadline));
}

/* Redis's deadlines have 48 bits, and 0 is none. */
#define REDIS_DEADLINE_MAX ((UINT64_C(1) << 48) - 1)

/* How far behind the hash's first deadline a field's is, and one more: 0 is that it has none. */
static bool distance_step(struct value_read *read, struct rdb_input *in) {
    uint64_t distance;
    if (!rdb_get_length(in, &distance) || !get_two(read, in)) {
        return false;
    }
    int64_t deadline = NO_EXPIRY;
    if (distance > 0) {
        uint64_t from = read->deadlines_from;
        if (from > REDIS_DEADLINE_MAX || distance - 1 > REDIS_DEADLINE_MAX - from) {
            return rdb_fail(in, bad_deadline);
        }
        deadline = (int64_t)(from + distance - 1);
    }
    return fine(in, add_field(read, read->texts[0].bytes, read->texts[1].bytes, deadline));
}

/* ---- Rows of bytes ---- */

static const char *add_pair(struct value_build *build, const struct listpack_item *first,
                            const struct listpack_item *second) {
    char scratch[2][NUM_I64_BYTES];
    struct bytes name = listpack_text(first, scratch[0]);
    if (build->type == TYPE_HASH) {
        return value_build_field(build, name, listpack_text(second, scratch[1]), NO_EXPIRY);
    }
    double score = (double)second->number;
    if (second->text != NULL && !num_parse_double(bytes_make(second->text, second->length), &score)) {
        return "a score that is no number";
    }
    return value_build_score(build, name, score);
}

static bool pack_step(struct value_read *read, struct rdb_input *in) {
    if (!rdb_get_text(in, &read->texts[0])) {
        return false;
    }
    struct value_build *build = &read->build;
    struct bytes bytes = read->texts[0].bytes;
    bool pairs = build->type == TYPE_HASH || build->type == TYPE_ZSET;
    struct pack_walk walk;
    struct listpack_item item, second;
    const char *error = NULL;
    pack_walk_init(&walk, read->source->pack, bytes);
    while (error == NULL && pack_walk_next(&walk, &item)) {
        char scratch[NUM_I64_BYTES];
        if (pairs) {
            error = pack_walk_next(&walk, &second) ? add_pair(build, &item, &second)
                                                   : "a name without a value";
        } else {
            error = value_build_member(build, listpack_text(&item, scratch));
        }
    }
    return fine(in, walk.bad ? "a row of bytes that is broken" : error);
}

static const char *add_triple(struct value_read *read, const struct listpack_item triple[3]) {
    char scratch[2][NUM_I64_BYTES];
    int64_t deadline = triple[2].number;
    if (triple[2].text != NULL || deadline < 0 || (uint64_t)deadline > REDIS_DEADLINE_MAX) {
        return bad_deadline;
    }
    return add_field(read, listpack_text(&triple[0], scratch[0]),
                     listpack_text(&triple[1], scratch[1]), deadline > 0 ? deadline : NO_EXPIRY);
}

/* Fields, values and deadlines in one row of bytes, behind the first of the deadlines. */
static bool triples_step(struct value_read *read, struct rdb_input *in) {
    uint64_t first;
    if (!rdb_get_u64(in, &first) || !rdb_get_text(in, &read->texts[0])) {
        return false;
    }
    struct pack_walk walk;
    struct listpack_item triple[3];
    const char *error = NULL;
    pack_walk_init(&walk, PACK_LISTPACK, read->texts[0].bytes);
    while (error == NULL && pack_walk_next(&walk, &triple[0])) {
        error = pack_walk_next(&walk, &triple[1]) && pack_walk_next(&walk, &triple[2])
                    ? add_triple(read, triple)
                    : "a field without a value or deadline";
    }
    return fine(in, walk.bad ? "a row of bytes that is broken" : error);
}

/* A ziplist's elements, as the node that they would be. */
static bool push_ziplist(struct value_read *read, struct rdb_input *in, struct bytes bytes) {
    struct text pack;
    struct pack_walk walk;
    struct listpack_item item;
    text_init(&pack);
    pack_walk_init(&walk, PACK_ZIPLIST, bytes);
    while (pack_walk_next(&walk, &item)) {
        char scratch[NUM_I64_BYTES];
        struct listpack_new again = listpack_new(listpack_text(&item, scratch));
        value_build_pack(&pack, &again);
    }
    if (!walk.bad && pack.len > 0) {
        value_build_push_node(&read->build, text_bytes(&pack));
    }
    text_fini(&pack);
    return !walk.bad || rdb_fail(in, "a ziplist that is broken");
}

static bool push_node(struct value_read *read, struct rdb_input *in, struct bytes bytes) {
    if (read->source->pack == PACK_ZIPLIST) {
        return push_ziplist(read, in, bytes);
    }
    if (!listpack_is_sound(bytes)) {
        return rdb_fail(in, "a listpack that is broken");
    }
    value_build_push_node(&read->build, bytes);
    return true;
}

static bool plain_node_step(struct value_read *read, struct rdb_input *in) {
    return rdb_get_text(in, &read->texts[0]) && push_node(read, in, read->texts[0].bytes);
}

static bool quicklist_step(struct value_read *read, struct rdb_input *in) {
    uint64_t kind;
    if (!rdb_get_length(in, &kind) || !rdb_get_text(in, &read->texts[0])) {
        return false;
    }
    switch (kind) {
    case RDB_NODE_PLAIN:
        if (read->texts[0].bytes.len == 0) {
            return rdb_fail(in, "an empty node");
        }
        value_build_push(&read->build, read->texts[0].bytes);
        return true;
    case RDB_NODE_PACKED:
        return push_node(read, in, read->texts[0].bytes);
    default:
        return rdb_fail(in, "an unknown kind of node");
    }
}

static bool intset_step(struct value_read *read, struct rdb_input *in) {
    if (!rdb_get_text(in, &read->texts[0])) {
        return false;
    }
    struct bytes ints = read->texts[0].bytes;
    if (!intset_is_sound(ints)) {
        return rdb_fail(in, "an intset that is broken");
    }
    const char *error = NULL;
    for (uint32_t i = 0; i < intset_count(ints.ptr) && error == NULL; i++) {
        char digits[NUM_I64_BYTES];
        size_t length = num_format_i64(digits, intset_get(ints.ptr, i));
        error = value_build_member(&read->build, bytes_make(digits, length));
    }
    return fine(in, error);
}

/* ---- Streams ---- */

struct pending_row {
    struct stream_id id;
    int64_t delivered_ms, deliveries;
    bool taken;
};

static struct shard_heap *heap_of(const struct value_read *read) {
    return keyspace_heap(read->build.ks);
}

static struct stream *stream_in(struct value_read *read) {
    return value_build_stream(&read->build);
}

static struct stream_id id_of(struct bytes raw) {
    uint64_t halves[2];
    memcpy(halves, raw.ptr, sizeof(halves));
    return (struct stream_id){__builtin_bswap64(halves[0]), __builtin_bswap64(halves[1])};
}

static bool get_id(struct rdb_input *in, struct stream_id *ret) {
    return rdb_get_length(in, &ret->ms) && rdb_get_length(in, &ret->seq);
}

/* A node. */
static bool stream_step(struct value_read *read, struct rdb_input *in) {
    if (!get_two(read, in)) {
        return false;
    }
    if (read->texts[0].bytes.len != 2 * sizeof(uint64_t)) {
        return rdb_fail(in, "a stream's node without an id");
    }
    return stream_take_node(heap_of(read), stream_in(read), id_of(read->texts[0].bytes),
                            read->texts[1].bytes) ||
           rdb_fail(in, "a stream's node that is broken, or out of order");
}

static bool get_ends(struct value_read *read, struct rdb_input *in, struct stream *ends) {
    if (!rdb_get_length(in, &ends->length) || !get_id(in, &ends->last)) {
        return false;
    }
    ends->entries_added = ends->length; /* older ones do not say */
    ends->max_deleted = STREAM_ID_MIN;
    return type_of(read) == RDB_STREAM ||
           (get_id(in, &ends->first) && get_id(in, &ends->max_deleted) &&
            rdb_get_length(in, &ends->entries_added));
}

static bool read_stream(struct value_read *read, struct rdb_input *in) {
    struct stream ends, *stream = stream_in(read);
    uint64_t groups;
    if (!get_ends(read, in, &ends) || !rdb_get_length(in, &groups)) {
        return false;
    }
    if (ends.length != stream->length) {
        return rdb_fail(in, "a stream of another length than it says");
    }
    if (stream_id_less(ends.last, stream_last_entry(stream))) {
        return rdb_fail(in, "a stream with an entry behind its last id");
    }
    stream->last = ends.last;
    stream->max_deleted = ends.max_deleted;
    stream->entries_added = ends.entries_added;
    stream_note_first(stream);
    read->groups_left = groups;
    read->stage = STAGE_GROUP;
    return true;
}

static bool read_group(struct value_read *read, struct rdb_input *in) {
    struct stream *stream = stream_in(read);
    struct stream_id last;
    uint64_t entries_read = 0, pending;
    if (!rdb_get_text(in, &read->texts[0]) || !get_id(in, &last) ||
        (type_of(read) != RDB_STREAM && !rdb_get_length(in, &entries_read)) ||
        !rdb_get_length(in, &pending)) {
        return false;
    }
    struct bytes name = read->texts[0].bytes;
    if (stream_group_find(stream, name) != NULL) {
        return rdb_fail(in, "a stream with two groups of one name");
    }
    int64_t so_far = type_of(read) == RDB_STREAM ? stream_count_upto(stream, last)
                                                 : (int64_t)entries_read;
    read->group = stream_group_add(heap_of(read), stream, name, last, so_far);
    read->left = pending;
    read->pending_count = read->taken = 0;
    read->groups_left--;
    read->stage = STAGE_PENDING;
    return true;
}

static bool read_pending(struct value_read *read, struct rdb_input *in) {
    struct bytes raw;
    uint64_t delivered, deliveries;
    if (!rdb_get_raw(in, 2 * sizeof(uint64_t), &raw) || !rdb_get_u64(in, &delivered) ||
        !rdb_get_length(in, &deliveries)) {
        return false;
    }
    struct stream_id id = id_of(raw);
    if (read->pending_count > 0 &&
        !stream_id_less(read->pending[read->pending_count - 1].id, id)) {
        return rdb_fail(in, "a group's pending entries out of order");
    }
    if (read->pending_count == read->pending_room) {
        read->pending_room = read->pending_room * 2 + 16;
        read->pending = must_realloc(read->pending, read->pending_room * sizeof(*read->pending));
    }
    read->pending[read->pending_count++] =
        (struct pending_row){id, (int64_t)delivered, (int64_t)deliveries, false};
    read->left--;
    return true;
}

static bool read_consumers(struct value_read *read, struct rdb_input *in) {
    if (!rdb_get_length(in, &read->consumers_left)) {
        return false;
    }
    read->stage = STAGE_CONSUMER;
    return true;
}

static bool read_consumer(struct value_read *read, struct rdb_input *in) {
    uint64_t seen, active, taken;
    if (!rdb_get_text(in, &read->texts[0]) || !rdb_get_u64(in, &seen)) {
        return false;
    }
    active = seen; /* older ones do not say */
    if ((type_of(read) == RDB_STREAM_3 && !rdb_get_u64(in, &active)) ||
        !rdb_get_length(in, &taken)) {
        return false;
    }
    struct bytes name = read->texts[0].bytes;
    if (stream_consumer_find(read->group, name) != NULL) {
        return rdb_fail(in, "a group with two consumers of one name");
    }
    read->consumer = stream_consumer_add(heap_of(read), stream_in(read), read->group, name,
                                         (int64_t)seen);
    read->consumer->active_ms = (int64_t)active;
    read->left = taken;
    read->consumers_left--;
    read->stage = STAGE_TAKEN;
    return true;
}

static struct pending_row *find_pending(struct value_read *read, struct stream_id id) {
    uint64_t low = 0, high = read->pending_count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (stream_id_less(read->pending[middle].id, id)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool found = low < read->pending_count && stream_id_equal(read->pending[low].id, id);
    return found ? &read->pending[low] : NULL;
}

static bool read_taken(struct value_read *read, struct rdb_input *in) {
    struct bytes raw;
    if (!rdb_get_raw(in, 2 * sizeof(uint64_t), &raw)) {
        return false;
    }
    struct pending_row *row = find_pending(read, id_of(raw));
    if (row == NULL || row->taken) {
        return rdb_fail(in, row == NULL ? "a consumer's entry that is not pending"
                                        : "a pending entry that two consumers have");
    }
    struct stream_pending *pending = stream_pending_give(heap_of(read), stream_in(read),
                                                         read->group, read->consumer, row->id);
    pending->delivered_ms = row->delivered_ms;
    pending->deliveries = row->deliveries;
    row->taken = true;
    read->taken++;
    read->left--;
    return true;
}

/* ---- The whole ---- */

static bool read_count(struct value_read *read, struct rdb_input *in) {
    uint64_t count = 1;
    if (type_of(read) == RDB_HASH_DEADLINES && !rdb_get_u64(in, &read->deadlines_from)) {
        return false;
    }
    if (read->source->counted && !rdb_get_length(in, &count)) {
        return false;
    }
    if (read->source->counted) {
        value_build_expect(&read->build, count);
    }
    read->left = count;
    read->stage = STAGE_STEPS;
    return true;
}

static bool read_step(struct value_read *read, struct rdb_input *in) {
    if (!read->source->step(read, in)) {
        return false;
    }
    read->left--;
    return true;
}

/* One step; false: there is an error, or too little. */
static bool next_step(struct value_read *read, struct rdb_input *in) {
    switch ((enum stage)read->stage) {
    case STAGE_COUNT:
        return read_count(read, in);
    case STAGE_STEPS:
        return read_step(read, in);
    case STAGE_STREAM:
        return read_stream(read, in);
    case STAGE_GROUP:
        return read_group(read, in);
    case STAGE_PENDING:
        return read_pending(read, in);
    case STAGE_CONSUMERS:
        return read_consumers(read, in);
    case STAGE_CONSUMER:
        return read_consumer(read, in);
    case STAGE_TAKEN:
        return read_taken(read, in);
    }
    return false;
}

/* Nothing is left of a stage: what comes next. True: that was all. */
static bool is_over(struct value_read *read, struct rdb_input *in) {
    switch ((enum stage)read->stage) {
    case STAGE_STEPS:
        if (read->left == 0 && read->build.type == TYPE_STREAM) {
            read->stage = STAGE_STREAM;
            return false;
        }
        return read->left == 0;
    case STAGE_GROUP:
        return read->groups_left == 0;
    case STAGE_PENDING:
        read->stage = read->left == 0 ? STAGE_CONSUMERS : STAGE_PENDING;
        return false;
    case STAGE_TAKEN:
        if (read->left > 0) {
            return false;
        }
        read->stage = STAGE_CONSUMER;
        return is_over(read, in);
    case STAGE_CONSUMER:
        if (read->consumers_left > 0) {
            return false;
        }
        if (read->taken != read->pending_count) {
            in->error = "a pending entry that no consumer has";
            return false;
        }
        read->stage = STAGE_GROUP;
        return read->groups_left == 0;
    default:
        return false;
    }
}

/* From 12 on, and from 22 on, versions and types of Redis and Valkey mean different things. */
static bool is_of(uint8_t type, unsigned version) {
    switch (type) {
    case RDB_HASH_2:
        return version >= RDB_VERSION_VALKEY;
    case RDB_HASH_DEADLINES:
    case RDB_HASH_LISTPACK_DEADLINES:
        return version >= RDB_VERSION_REDIS && version < RDB_VERSION_VALKEY;
    default:
        return true;
    }
}

void value_read_init(struct value_read *read, struct keyspace *ks,
                     const struct value_read_options *options, uint8_t type) {
    *read = (struct value_read){.options = *options, .rules = *options->rules, .type = type};
    bool known = type < RDB_TYPES && sources[type].step != NULL && is_of(type, options->version);
    read->source = known ? &sources[type] : NULL;
    if (known && sources[type].step == pack_step && type != RDB_HASH_ZIPMAP) {
        /* What was one row of bytes stays one, as in Valkey, if it has not too many elements. */
        read->rules.hash.value_bytes = read->rules.zset.member_bytes = UINT64_MAX;
        read->rules.set.listpack_value = UINT64_MAX;
    }
    enum value_type value_type = known ? sources[type].type : TYPE_STRING;
    value_build_init(&read->build, ks, &read->rules, value_type);
}

void value_read_fini(struct value_read *read) {
    value_build_fini(&read->build);
    rdb_text_fini(&read->texts[0]);
    rdb_text_fini(&read->texts[1]);
    free(read->pending);
}

static const char unknown[] = "a type of value that is not known";

static bool is_of_module(const struct value_read *read) {
    return read->type == RDB_MODULE_PRE || read->type == RDB_MODULE_2;
}

/* Of a module's value whose it is. */
static enum value_read_result pass_unknown(struct value_read *read, struct rdb_input *in) {
    const char *before = in->at;
    if (is_of_module(read) && !rdb_get_length(in, &read->module) && in->error == NULL) {
        in->at = before;
        return VALUE_MORE;
    }
    in->error = unknown;
    return VALUE_BAD;
}

/* A module's type is nine letters of six bits, before ten bits of a version. */
static void put_module(struct text *out, uint64_t module) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (int shift = 58; shift >= 10; shift -= 6) {
        text_append_bytes(out, bytes_make(&letters[module >> shift & 63], 1));
    }
}

bool value_read_is_unknown(const struct value_read *read, struct bytes name, struct text *out) {
    if (read->source != NULL) {
        return false;
    }
    text_appendf(out, "%s: the key ", unknown);
    quote_append(out, name);
    text_appendf(out, " is of type %u", read->type);
    if (is_of_module(read)) {
        text_append_text(out, ", of the module's type ");
        put_module(out, read->module);
    }
    return true;
}

enum value_read_result value_read_some(struct value_read *read, struct rdb_input *in) {
    if (read->source == NULL) {
        return pass_unknown(read, in);
    }
    while (!is_over(read, in)) {
        const char *before = in->at;
        if (in->error != NULL || !next_step(read, in)) {
            in->at = in->error == NULL ? before : in->at;
            return in->error == NULL ? VALUE_MORE : VALUE_BAD;
        }
    }
    if (value_build_is_empty(&read->build)) {
        return VALUE_EMPTY;
    }
    in->error = value_build_end(&read->build);
    return in->error == NULL ? VALUE_WHOLE : VALUE_BAD;
}
