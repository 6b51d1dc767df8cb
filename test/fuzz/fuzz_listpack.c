/* SPDX-License-Identifier: BSD-3-Clause */
/* Foreign bytes as a listpack: what is sound is read within its bytes, the same from both ends; and
 * texts cut out of the input are what they were when they have been put into one. */
#include "base/check.h"
#include "shard/ds/listpack.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_item(struct bytes all, size_t at) {
    struct listpack_item item = listpack_get(all.ptr, at);
    char scratch[NUM_I64_BYTES];
    struct bytes text = listpack_text(&item, scratch);
    if (item.text != NULL) {
        check(text.ptr > all.ptr && text.ptr + text.len < all.ptr + all.len);
    }
    check(at + listpack_item_bytes(all.ptr, at) < all.len);
    /* A foreign listpack may have a number as a text, which nobody here would write. */
    struct listpack_new same = listpack_new(text);
    check(listpack_equals(all.ptr, at, &same) || (item.text != NULL && same.is_number));
}

static void read_all(struct bytes all) {
    uint32_t count = 0;
    size_t last = 0;
    for (size_t at = listpack_first(all.ptr); at != 0; at = listpack_next(all.ptr, at)) {
        check(listpack_prev(all.ptr, at) == last);
        read_item(all, at);
        last = at;
        count++;
    }
    check(listpack_last(all.ptr) == last && listpack_count(all.ptr) == count);
    check(count == 0 || (listpack_seek(all.ptr, (int64_t)count - 1) == last &&
                         listpack_seek(all.ptr, -1) == last));
    check(listpack_seek(all.ptr, count) == 0);
}

/* Takes out what equals the first item, one way and the other. */
static void squeeze(struct bytes all, bool from_tail) {
    size_t first = listpack_first(all.ptr), end;
    if (first == 0) {
        return;
    }
    struct listpack_item item = listpack_get(all.ptr, first);
    char scratch[NUM_I64_BYTES];
    struct listpack_new wanted = listpack_new(listpack_text(&item, scratch));
    char *copy = malloc(all.len);
    memcpy(copy, all.ptr, all.len);
    uint32_t count = listpack_count(copy);
    uint32_t removed = listpack_squeeze(copy, &wanted, from_tail ? 2 : UINT64_MAX, from_tail, &end);
    check(end < all.len && removed <= count);
    copy[end] = (char)0xFF;
    listpack_changed(copy, end + 1, -(int64_t)removed);
    check(listpack_is_sound(bytes_make(copy, end + 1)));
    free(copy);
}

/* The input as lengths and texts. */
static void build(const uint8_t *data, size_t size) {
    size_t bytes = LISTPACK_EMPTY_BYTES;
    char *lp = malloc(size * 3 + 64);
    listpack_init(lp);
    while (size > 0) {
        size_t length = data[0] < size - 1 ? data[0] : size - 1;
        struct bytes text = bytes_make((const char *)data + 1, length);
        struct listpack_new item = listpack_new(text);
        char *end = listpack_put(lp + bytes - 1, &item);
        check((size_t)(end - lp) == bytes - 1 + item.bytes);
        *end = (char)0xFF;
        bytes += item.bytes;
        listpack_changed(lp, bytes, 1);
        size_t last = listpack_last(lp);
        struct listpack_item found = listpack_get(lp, last);
        char scratch[NUM_I64_BYTES];
        check(bytes_equal(listpack_text(&found, scratch), text) &&
              listpack_equals(lp, last, &item));
        data += 1 + length;
        size -= 1 + length;
    }
    check(listpack_is_sound(bytes_make(lp, bytes)));
    read_all(bytes_make(lp, bytes));
    free(lp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *copy = malloc(size > 0 ? size : 1);
    memcpy(copy, data, size);
    struct bytes all = bytes_make(copy, size);
    if (listpack_is_sound(all)) {
        read_all(all);
        squeeze(all, false);
        squeeze(all, true);
    }
    free(copy);
    build(data, size);
    return 0;
}
