/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_commands: see the header. The commands are those that Valkey writes into a log that it
 * rewrites. */
#include "server/call/stream_commands.h"

#include "base/check.h"
#include "base/must.h"
#include "base/num.h"
#include "shard/types/stream_group.h"

#include <stdlib.h>

#define SAY(s, ...)                                                                                \
    (s)->say((s)->arg, (const struct bytes[]){__VA_ARGS__},                                        \
             sizeof((const struct bytes[]){__VA_ARGS__}) / sizeof(struct bytes))

#define ID_BYTES (2 * NUM_I64_BYTES)

static struct bytes id_text(char *text, struct stream_id id) {
    size_t n = num_format_u64(text, id.ms);
    text[n++] = '-';
    return bytes_make(text, n + num_format_u64(text + n, id.seq));
}

static struct bytes int_text(char *text, int64_t number) {
    return bytes_make(text, num_format_i64(text, number));
}

static void say_entry(const struct stream_saying *s, struct stream_iter *iter) {
    char id[ID_BYTES];
    uint64_t texts = UINT64_C(2) * iter->fields;
    struct bytes *argv = must_malloc((3 + texts) * sizeof *argv);
    char *numbers = must_malloc(texts * NUM_I64_BYTES + 1);
    char *number = numbers;
    uint32_t argc = 0;
    argv[argc++] = BYTES("XADD");
    argv[argc++] = s->name;
    argv[argc++] = id_text(id, iter->id);
    for (uint32_t i = 0; i < iter->fields; i++) {
        struct listpack_item field, value;
        stream_iter_field(iter, &field, &value);
        argv[argc++] = listpack_text(&field, number);
        argv[argc++] = listpack_text(&value, number + NUM_I64_BYTES);
        number += 2 * NUM_I64_BYTES;
    }
    s->say(s->arg, argv, argc);
    free(argv);
    free(numbers);
}

static void say_end_of_entries(const struct stream_saying *s) {
    char last[ID_BYTES], added[NUM_I64_BYTES], deleted[ID_BYTES];
    if (s->stream->length == 0) {
        struct stream_id id = s->stream->last;
        id.seq += stream_id_is_zero(id);
        SAY(s, BYTES("XADD"), s->name, BYTES("MAXLEN"), BYTES("0"), id_text(last, id), BYTES("x"),
            BYTES("y"));
    }
    SAY(s, BYTES("XSETID"), s->name, id_text(last, s->stream->last), BYTES("ENTRIESADDED"),
        int_text(added, (int64_t)s->stream->entries_added), BYTES("MAXDELETEDID"),
        id_text(deleted, s->stream->max_deleted));
}

static void say_entries(struct stream_saying *s, uint64_t *budget) {
    struct stream_iter iter;
    stream_iter_init(&iter, s->stream, s->from, STREAM_ID_MAX, false);
    bool more = stream_iter_next(&iter);
    for (; more && *budget > 0; --*budget) {
        say_entry(s, &iter);
        s->from = iter.id;
        more = stream_id_up(&s->from) && stream_iter_next(&iter);
    }
    if (!more) {
        say_end_of_entries(s);
        s->entries_said = true;
    }
}

static void say_pending(const struct stream_saying *s, const struct stream_group *group,
                        const struct stream_consumer *consumer, const struct idtree_place *place) {
    struct stream_id which = idtree_id(place);
    if (stream_has(s->stream, which)) {
        const struct stream_pending *pending = idtree_get(place);
        char id[ID_BYTES], time[NUM_I64_BYTES], count[NUM_I64_BYTES];
        SAY(s, BYTES("XCLAIM"), s->name, stream_group_name(group), stream_consumer_name(consumer),
            BYTES("0"), id_text(id, which), BYTES("TIME"), int_text(time, pending->delivered_ms),
            BYTES("RETRYCOUNT"), int_text(count, pending->deliveries), BYTES("JUSTID"),
            BYTES("FORCE"));
    }
}

static void say_consumer(struct stream_saying *s, const struct stream_group *group,
                         const struct stream_consumer *consumer, uint64_t *budget) {
    if (!s->consumer_said) {
        SAY(s, BYTES("XGROUP"), BYTES("CREATECONSUMER"), s->name, stream_group_name(group),
            stream_consumer_name(consumer));
        s->consumer_said = true;
        s->from = STREAM_ID_MIN;
        --*budget;
    }
    struct idtree_place place;
    bool more = idtree_from(&consumer->pending, s->from, &place);
    for (; more && *budget > 0; --*budget) {
        say_pending(s, group, consumer, &place);
        s->from = idtree_id(&place);
        more = idtree_next(&place);
        check(!more || stream_id_up(&s->from));
    }
    if (!more) {
        s->consumer++;
        s->consumer_said = false;
    }
}

static void say_group(struct stream_saying *s, const struct stream_group *group, uint64_t *budget) {
    if (!s->group_said) {
        char last[ID_BYTES], read[NUM_I64_BYTES];
        SAY(s, BYTES("XGROUP"), BYTES("CREATE"), s->name, stream_group_name(group),
            id_text(last, group->last), BYTES("ENTRIESREAD"), int_text(read, group->entries_read));
        s->group_said = true;
        s->consumer = 0;
        --*budget;
    }
    while (s->consumer<group->consumers_count && * budget> 0) {
        say_consumer(s, group, group->consumers[s->consumer], budget);
    }
    if (s->consumer == group->consumers_count) {
        s->group++;
        s->group_said = false;
    }
}

bool stream_say_some(struct stream_saying *s, uint64_t count) {
    if (!s->entries_said) {
        say_entries(s, &count);
    }
    while (s->entries_said && s->group < s->stream->groups_count && count > 0) {
        say_group(s, s->stream->groups[s->group], &count);
    }
    return s->entries_said && s->group == s->stream->groups_count;
}
