/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/outbuf.h"
#include "base/random.h"
#include "base/text.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/uio.h>

/* What is in it, through as many calls of outbuf_vectors as one call with room for all. */
static struct text contents(const struct outbuf *out) {
    static const int max = 4096;
    struct iovec *vectors = malloc((size_t)max * sizeof(*vectors));
    struct text text;
    text_init(&text);
    int n = outbuf_vectors(out, vectors, max);
    cr_assert_lt(n, max);
    for (int i = 0; i < n; i++) {
        cr_assert_gt(vectors[i].iov_len, 0);
        text_append(&text, vectors[i].iov_base, vectors[i].iov_len);
    }
    free(vectors);
    cr_assert_eq(text.len, out->bytes);
    return text;
}

static void holds(const struct outbuf *out, const char *expected) {
    struct text text = contents(out);
    cr_assert_str_eq(text.ptr, expected);
    text_fini(&text);
}

static void count_release(void *pin) {
    ++*(int *)pin;
}

Test(outbuf, empty_holds_nothing_and_costs_nothing) {
    struct outbuf out;
    outbuf_init(&out);
    holds(&out, "");
    cr_assert_eq(out.allocated, 0);
    outbuf_drain(&out, 0);
    outbuf_shrink(&out);
    outbuf_fini(&out);
}

Test(outbuf, appends_in_order) {
    struct outbuf out;
    outbuf_init(&out);
    outbuf_append(&out, "ab", 2);
    outbuf_append(&out, "", 0);
    memcpy(outbuf_reserve(&out, 10), "cd", 2);
    outbuf_commit(&out, 2);
    holds(&out, "abcd");
    outbuf_drain(&out, 1);
    holds(&out, "bcd");
    outbuf_append(&out, "e", 1);
    outbuf_drain(&out, 3);
    holds(&out, "e");
    outbuf_fini(&out);
}

Test(outbuf, keeps_one_chunk_when_drained_and_gives_it_back_when_shrunk) {
    struct outbuf out;
    outbuf_init(&out);
    outbuf_append(&out, "ab", 2);
    struct outbuf_chunk *chunk = out.head;
    outbuf_drain(&out, 2);
    cr_assert_eq(out.head, chunk);
    outbuf_append(&out, "cd", 2);
    cr_assert_eq(out.head, chunk);
    outbuf_shrink(&out);
    holds(&out, "cd");
    outbuf_drain(&out, 2);
    outbuf_shrink(&out);
    cr_assert_eq(out.allocated, 0);
    cr_assert_null(out.head);
}

Test(outbuf, that_begins_small_grows_and_keeps_nothing) {
    struct outbuf out;
    outbuf_init(&out);
    outbuf_begin_small(&out, 512);
    cr_assert_eq(out.allocated, sizeof(struct outbuf_chunk) + 512);
    size_t written = 0;
    for (; out.allocated < (size_t)2 * OUTBUF_CHUNK_BYTES; written += 100) {
        memset(outbuf_reserve(&out, 100), 'x', 100);
        outbuf_commit(&out, 100);
        cr_assert(out.allocated <= 512 + sizeof(struct outbuf_chunk) ||
                  out.allocated < 8 * written || out.allocated >= OUTBUF_CHUNK_BYTES);
    }
    cr_assert_eq(out.bytes, written);
    outbuf_fini(&out);
    outbuf_begin_small(&out, 512);
    outbuf_append(&out, "abc", 3);
    holds(&out, "abc");
    outbuf_drain(&out, 3);
    cr_assert_eq(out.allocated, 0);
    outbuf_fini(&out);
}

Test(outbuf, written_bytes_never_move) {
    struct outbuf out;
    struct iovec first;
    outbuf_init(&out);
    outbuf_append(&out, "in flight", 9);
    cr_assert_eq(outbuf_vectors(&out, &first, 1), 1);
    for (int i = 0; i < 10000; i++) {
        outbuf_append(&out, "0123456789", 10);
    }
    struct iovec again;
    outbuf_vectors(&out, &again, 1);
    cr_assert_eq(again.iov_base, first.iov_base);
    cr_assert_eq(memcmp(first.iov_base, "in flight", 9), 0);
    outbuf_fini(&out);
}

Test(outbuf, large_appends_get_a_chunk_of_their_own_size) {
    struct outbuf out;
    outbuf_init(&out);
    size_t n = 1 << 20;
    char *big = calloc(1, n);
    outbuf_append(&out, big, n);
    cr_assert_lt(out.allocated, n + 200);
    outbuf_drain(&out, n);
    cr_assert_eq(out.allocated, 0);
    free(big);
    outbuf_fini(&out);
}

Test(outbuf, pinned_memory_is_linked_and_released_once_when_drained) {
    struct outbuf out;
    int released = 0;
    outbuf_init(&out);
    outbuf_append(&out, "<", 1);
    outbuf_append_pinned(&out, BYTES("pinned"), count_release, &released);
    outbuf_append(&out, ">", 1);
    holds(&out, "<pinned>");
    outbuf_drain(&out, 6);
    cr_assert_eq(released, 0);
    holds(&out, "d>");
    outbuf_drain(&out, 1);
    cr_assert_eq(released, 1);
    holds(&out, ">");
    outbuf_fini(&out);
    cr_assert_eq(released, 1);
}

Test(outbuf, pinned_memory_is_released_when_the_buffer_ends) {
    struct outbuf out;
    int released = 0;
    outbuf_init(&out);
    outbuf_append_pinned(&out, BYTES("a"), count_release, &released);
    outbuf_append_pinned(&out, BYTES(""), count_release, &released);
    cr_assert_eq(released, 1);
    outbuf_fini(&out);
    cr_assert_eq(released, 2);
}

Test(outbuf, pinned_bytes_count_as_held) {
    struct outbuf out;
    static char value[100000];
    outbuf_init(&out);
    outbuf_append_pinned(&out, bytes_make(value, sizeof(value)), NULL, NULL);
    cr_assert_geq(out.allocated, sizeof(value));
    outbuf_fini(&out);
}

/* Headers between large values must not cost a whole chunk each. */
Test(outbuf, many_pinned_values_cost_little_beside_themselves) {
    struct outbuf out;
    static char value[20000];
    outbuf_init(&out);
    for (int i = 0; i < 1000; i++) {
        outbuf_append(&out, "\r\n$20000\r\n", 10);
        outbuf_append_pinned(&out, bytes_make(value, sizeof(value)), NULL, NULL);
    }
    cr_assert_lt(out.allocated, 1000 * (sizeof(value) + 1024) + 32768);
    outbuf_fini(&out);
}

Test(outbuf, splice_moves_everything_and_keeps_order) {
    struct outbuf target, source;
    outbuf_init(&target);
    outbuf_init(&source);
    outbuf_splice(&target, &source);
    outbuf_append(&target, "a", 1);
    outbuf_append(&source, "b", 1);
    outbuf_splice(&target, &source);
    outbuf_append(&source, "c", 1);
    outbuf_splice(&target, &source);
    outbuf_append(&target, "d", 1);
    holds(&target, "abcd");
    holds(&source, "");
    outbuf_fini(&target);
    outbuf_fini(&source);
}

Test(outbuf, splice_of_much_links_instead_of_copying) {
    struct outbuf target, source;
    outbuf_init(&target);
    outbuf_init(&source);
    for (int i = 0; i < 10000; i++) {
        outbuf_append(&source, "0123456789", 10);
    }
    struct outbuf_chunk *head = source.head;
    outbuf_splice(&target, &source);
    cr_assert_eq(target.head, head);
    cr_assert_eq(target.bytes, 100000);
    cr_assert_eq(source.allocated, 0);
    outbuf_fini(&target);
    outbuf_fini(&source);
}

Test(outbuf, vectors_stop_at_the_maximum) {
    struct outbuf out;
    struct iovec vectors[3];
    outbuf_init(&out);
    for (int i = 0; i < 5; i++) {
        outbuf_append_pinned(&out, BYTES("x"), NULL, NULL);
    }
    cr_assert_eq(outbuf_vectors(&out, vectors, 3), 3);
    cr_assert_eq(outbuf_vectors(&out, vectors, 0), 0);
    outbuf_fini(&out);
}

/* Random operations on three buffers, each with a plain text beside it that must stay equal. */
struct model {
    struct outbuf out[3];
    struct text text[3];
    int pinned;
    int released;
    uint64_t next;
};

static void model_fill(struct model *model, char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (char)('a' + model->next++ % 26);
    }
}

struct model_pin {
    struct model *model;
    char *bytes;
};

static void model_release(void *opaque) {
    struct model_pin *pin = opaque;
    pin->model->released++;
    free(pin->bytes);
    free(pin);
}

static void model_append(struct model *model, int i, size_t n, bool pinned) {
    char *bytes = calloc(n + 1, 1);
    model_fill(model, bytes, n);
    text_append(&model->text[i], bytes, n);
    if (pinned) {
        struct model_pin *pin = malloc(sizeof(*pin));
        *pin = (struct model_pin){model, bytes};
        model->pinned++;
        outbuf_append_pinned(&model->out[i], bytes_make(bytes, n), model_release, pin);
        return;
    }
    outbuf_append(&model->out[i], bytes, n);
    free(bytes);
}

static void model_cut(struct text *text, size_t n) {
    memmove(text->ptr, text->ptr + n, text->len - n);
    text->len -= n;
}

static void model_step(struct model *model, struct rng *rng) {
    int i = (int)rng_below(rng, 3);
    int k = (i + 1 + (int)rng_below(rng, 2)) % 3;
    struct outbuf *out = &model->out[i];
    size_t part = rng_below(rng, out->bytes + 1);
    switch (rng_below(rng, 8)) {
    case 0:
    case 1:
        model_append(model, i, rng_below(rng, 40), false);
        break;
    case 2:
        model_append(model, i, rng_below(rng, 40000), false);
        break;
    case 3:
        model_append(model, i, rng_below(rng, 40000), true);
        break;
    case 4:
        outbuf_drain(out, part);
        model_cut(&model->text[i], part);
        break;
    case 5:
        outbuf_splice(&model->out[k], out);
        text_append_bytes(&model->text[k], text_bytes(&model->text[i]));
        text_clear(&model->text[i]);
        break;
    case 6:
        outbuf_move(&model->out[k], out, part);
        text_append(&model->text[k], model->text[i].ptr, part);
        model_cut(&model->text[i], part);
        break;
    default:
        outbuf_drain(out, out->bytes);
        text_clear(&model->text[i]);
        outbuf_shrink(out);
        cr_assert_eq(out->allocated, 0);
        break;
    }
}

Test(outbuf, equals_a_plain_text_under_random_operations) {
    struct model model = {0};
    struct rng rng;
    rng_seed(&rng, 1);
    for (int i = 0; i < 3; i++) {
        outbuf_init(&model.out[i]);
        text_init(&model.text[i]);
    }
    for (int step = 0; step < 20000; step++) {
        model_step(&model, &rng);
        for (int i = 0; i < 3; i++) {
            cr_assert_eq(model.out[i].bytes, model.text[i].len);
        }
        if (step % 10 == 0) {
            struct text text = contents(&model.out[step / 10 % 3]);
            cr_assert(bytes_equal(text_bytes(&text), text_bytes(&model.text[step / 10 % 3])));
            text_fini(&text);
        }
    }
    for (int i = 0; i < 3; i++) {
        outbuf_fini(&model.out[i]);
        text_fini(&model.text[i]);
    }
    cr_assert_gt(model.pinned, 0);
    cr_assert_eq(model.pinned, model.released);
}

Test(outbuf, a_chunk_is_kept_for_the_next) {
    struct outbuf_chunk *kept = NULL;
    struct outbuf out;
    outbuf_init(&out);
    cr_assert_not(outbuf_reclaim(&out, &kept), "it has none");
    outbuf_append(&out, "hello", 5);
    struct outbuf_chunk *chunk = out.head;
    cr_assert(outbuf_reclaim(&out, &kept));
    cr_assert_eq(kept, chunk);
    cr_assert_eq(out.allocated, 0);
    outbuf_lend(&out, &kept);
    cr_assert_null(kept);
    holds(&out, "");
    outbuf_append(&out, "again", 5);
    cr_assert_eq(out.head, chunk);
    holds(&out, "again");
    /* Of many chunks and pins the one of default size at the end is kept. */
    int released = 0;
    char *large = calloc(1, 100000);
    outbuf_append(&out, large, 100000);
    outbuf_append_pinned(&out, bytes_make(large, 50000), count_release, &released);
    outbuf_append(&out, large, 10000);
    outbuf_append(&out, large, 10000);
    bool one = outbuf_reclaim(&out, &kept);
    cr_assert_eq(released, 1);
    cr_assert_eq(out.allocated, 0);
    cr_assert_eq(one, kept != NULL);
    if (one) {
        outbuf_free_kept(&kept);
    }
    outbuf_append(&out, large, 100000);
    cr_assert_not(outbuf_reclaim(&out, &kept), "not of default size");
    cr_assert_null(kept);
    free(large);
}
