/* SPDX-License-Identifier: BSD-3-Clause */
/* The tracking table against a book of who has read what: each client is told of a key once, with
 * the key's own name and its home, and of no key that it has not read since; what has gone is told
 * to nobody, and all bytes come back. Input: a step a byte, with names of any bytes behind some. */
#include "base/check.h"
#include "shard/watchers/tracks.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NAMES_MAX 24
#define CLIENTS   8

struct book {
    struct hash_secret secret;
    struct bytes names[NAMES_MAX]; /* in the input: they may be equal */
    unsigned count;
    bool reads[NAMES_MAX][CLIENTS];
};

static unsigned home_of(uint64_t client) {
    return (unsigned)(client * 5 % 3);
}

/* Its entry in the book: the first with this name. */
static unsigned find(const struct book *book, struct bytes name) {
    unsigned n = 0;
    while (n < book->count && !bytes_equal(book->names[n], name)) {
        n++;
    }
    return n;
}

static void on_tell(void *arg, uint64_t client, unsigned home, struct bytes key) {
    struct book *book = arg;
    unsigned n = find(book, key);
    check(n < book->count && client < CLIENTS && home == home_of(client));
    check(book->reads[n][client]);
    book->reads[n][client] = false;
}

static bool is_read(const struct book *book, unsigned n) {
    bool is = false;
    for (unsigned c = 0; c < CLIENTS; c++) {
        is |= book->reads[n][c];
    }
    return is;
}

static unsigned count_read(const struct book *book) {
    unsigned count = 0;
    for (unsigned n = 0; n < book->count; n++) {
        count += is_read(book, n);
    }
    return count;
}

static void step(struct tracks *tracks, struct book *book, unsigned what, unsigned n,
                 unsigned client) {
    struct key key = key_make(&book->secret, book->names[n]);
    unsigned before = count_read(book);
    switch (what) {
    case 0:
    case 1:
        /* What somebody had read who has gone is still there for a while. */
        check(!tracks_add(tracks, client, home_of(client), &key) || !is_read(book, n));
        book->reads[n][client] = true;
        break;
    case 2:
        tracks_take(tracks, &key, on_tell, book);
        check(!is_read(book, n));
        break;
    case 3:
        tracks_take_any(tracks, client * UINT64_C(0x9E3779B97F4A7C15) + n, on_tell, book);
        check(count_read(book) <= before && count_read(book) + 1 >= before);
        break;
    case 4:
        tracks_take_slot(tracks, key.slot, on_tell, book);
        check(!is_read(book, n));
        break;
    case 5:
        tracks_drop(tracks, client);
        for (unsigned i = 0; i < book->count; i++) {
            book->reads[i][client] = false;
        }
        break;
    case 6:
        tracks_free_some(tracks);
        break;
    case 7:
        if (client == 0) {
            tracks_clear(tracks);
            memset(book->reads, 0, sizeof book->reads);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct book book = {.count = 0};
    memset(book.secret.bytes, 7, sizeof book.secret.bytes);
    size_t at = 0;
    unsigned wanted = size > 0 ? data[at++] % NAMES_MAX + 1 : 0;
    while (book.count < wanted && at < size) {
        size_t len = data[at++];
        len = len < size - at ? len : size - at;
        struct bytes name = bytes_make((const char *)data + at, len);
        at += len;
        if (find(&book, name) == book.count) {
            book.names[book.count++] = name;
        }
    }
    struct tracks tracks;
    tracks_init(&tracks);
    size_t none = tracks_memory(&tracks);
    for (; book.count > 0 && at + 1 < size; at += 2) {
        step(&tracks, &book, data[at] & 7, data[at + 1] % book.count, data[at] >> 3 & 7);
    }
    for (unsigned c = 0; c < CLIENTS; c++) {
        tracks_drop(&tracks, c);
    }
    while (tracks_free_some(&tracks)) {
    }
    check(!tracks_is_left(&tracks) && tracks_memory(&tracks) >= none);
    tracks_fini(&tracks);
    return 0;
}
