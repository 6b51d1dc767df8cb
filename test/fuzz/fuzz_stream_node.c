/* SPDX-License-Identifier: BSD-3-Clause */
/* Foreign bytes as a node of a stream: what is sound is read within its bytes, the same from both
 * ends, and entries of it go and come; and what is made of the input is sound. */
#include "base/check.h"
#include "shard/memory/heap.h"
#include "shard/types/stream.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A stream that is this one node, and a copy of it. */
static struct value stream_of_node(struct shard_heap *heap, struct bytes bytes,
                                   struct stream_id master) {
    struct value value = stream_new(heap);
    struct stream *stream = stream_of(&value);
    size_t used = heap_used(heap);
    char *lp = heap_alloc(heap, bytes.len);
    memcpy(lp, bytes.ptr, bytes.len);
    idtree_add(heap, &stream->nodes, master, lp);
    stream->tail_room = bytes.len;
    stream->length = (uint64_t)stream_node_read(lp, master).live;
    stream->bytes += heap_used(heap) - used;
    stream_note_first(stream);
    stream->last = stream_last_entry(stream);
    return value;
}

static uint64_t read_all(const struct stream *stream, bool reverse) {
    struct stream_iter iter;
    stream_iter_init(&iter, stream, STREAM_ID_MIN, STREAM_ID_MAX, reverse);
    uint64_t count = 0, said = stream_iter_count(&iter, UINT64_MAX);
    while (stream_iter_next(&iter)) {
        for (uint32_t i = 0; i < iter.fields; i++) {
            struct listpack_item field, value;
            stream_iter_field(&iter, &field, &value);
        }
        check(stream_has(stream, iter.id));
        count++;
    }
    check(said == count);
    return count;
}

static void change(struct shard_heap *heap, struct value *value) {
    static const struct stream_limits limits = {4096, 100};
    struct stream *stream = stream_of(value);
    struct bytes pairs[] = {BYTES("field"), BYTES("value")};
    struct stream_id next = stream->last;
    if (stream_id_up(&next)) {
        stream_append(heap, stream, next, pairs, 1, &limits);
        stream_form.verify(value);
    }
    struct stream_id first = stream->first;
    check(stream_delete(heap, stream, first) && !stream_has(stream, first));
    stream_note_first(stream);
    stream_form.verify(value);
    struct stream_trim trim = {.max_length = stream->length / 2};
    stream_trim(heap, stream, &trim);
    stream_form.verify(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 4) {
        return 0;
    }
    /* The first bytes are the master's id. */
    struct stream_id master = {data[0] < 250 ? data[0] : UINT64_MAX,
                               data[1] < 250 ? data[1] : UINT64_MAX};
    struct bytes bytes = bytes_make((const char *)data + 2, size - 2);
    if (!stream_node_is_sound(bytes, master)) {
        return 0;
    }
    struct shard_heap *heap = shard_heap_new();
    struct value value = stream_of_node(heap, bytes, master);
    stream_form.verify(&value);
    check(read_all(stream_of(&value), false) == stream_of(&value)->length);
    check(read_all(stream_of(&value), true) == stream_of(&value)->length);
    change(heap, &value);
    size_t budget = SIZE_MAX;
    check(stream_form.free_some(heap, &value, &budget) && heap_used(heap) == 0);
    shard_heap_free(heap);
    return 0;
}
