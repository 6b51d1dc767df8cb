/* SPDX-License-Identifier: BSD-3-Clause */
/* Names into addresses. What is asked of the system here it knows by itself: no test may depend on
 * a network. */
#include "test/unit/rt_harness.h"

#include <pthread.h>

struct answer {
    unsigned calls;
    int error;
    struct rt_addresses addresses;
    struct rt *rt;
    struct rt_resolve *other; /* to be cancelled by the callback */
    struct answer *again;     /* for whom it asks once more */
};

static void on_answer(void *arg, int error, const struct rt_addresses *addresses) {
    struct answer *answer = arg;
    answer->calls++;
    answer->error = error;
    answer->addresses = *addresses;
    if (answer->other != NULL) {
        rt_resolve_cancel(answer->rt, answer->other);
    }
    if (answer->again != NULL) {
        rt_resolve(answer->rt, "127.0.0.5", on_answer, answer->again);
    }
}

static void answers(struct rt *rt, const char *name, const char *expected) {
    struct answer answer = {.calls = 0};
    rt_resolve(rt, name, on_answer, &answer);
    cr_assert_eq(answer.calls, 0);
    pump(rt, answer.calls == 1);
    if (expected == NULL) {
        cr_assert_lt(answer.error, 0, "%s", name);
        cr_assert_eq(answer.addresses.count, 0);
        return;
    }
    cr_assert_eq(answer.error, 0, "%s: %s", name, strerror(-answer.error));
    bool found = false;
    for (unsigned i = 0; i < answer.addresses.count; i++) {
        found = found || strcmp(answer.addresses.text[i], expected) == 0;
    }
    cr_assert(found, "%s is not %s", name, expected);
}

EACH(rt_resolve, numeric_addresses_are_themselves) {
    struct rt *rt = rt_made(backend);
    answers(rt, "127.0.0.1", "127.0.0.1");
    answers(rt, "10.1.2.3", "10.1.2.3");
    answers(rt, "::1", "::1");
    answers(rt, "2001:db8::5", "2001:db8::5");
    rt_free(rt);
}

EACH(rt_resolve, a_numeric_address_ends_a_wait) {
    struct rt *rt = rt_made(backend);
    rt_turn(rt, 0);
    struct answer answer = {.calls = 0};
    rt_resolve(rt, "127.0.0.1", on_answer, &answer);
    int64_t begun_ms = now_ms();
    rt_turn(rt, 10ll * 1000 * 1000 * 1000);
    cr_assert_eq(answer.calls, 1);
    cr_assert_lt(now_ms() - begun_ms, 8000);
    rt_free(rt);
}

EACH(rt_resolve, localhost_is_known) {
    struct rt *rt = rt_made(backend);
    answers(rt, "localhost", "127.0.0.1");
    answers(rt, "localhost", "127.0.0.1");
    rt_free(rt);
}

/* A label of more than 63 characters is nobody's: no name server is asked for it. */
EACH(rt_resolve, names_of_nobody_are_an_error) {
    struct rt *rt = rt_made(backend);
    char label[80], name[400];
    memset(label, 'a', sizeof(label));
    label[70] = 0;
    memset(name, 'b', sizeof(name));
    name[300] = 0;
    answers(rt, label, NULL);
    answers(rt, name, NULL);
    rt_free(rt);
}

EACH(rt_resolve, who_cancels_hears_nothing) {
    struct rt *rt = rt_made(backend);
    struct answer answer[40] = {{.calls = 0}};
    struct rt_resolve *asked[40];
    for (int i = 0; i < 40; i++) {
        asked[i] = rt_resolve(rt, i % 4 ? "localhost" : "127.0.0.1", on_answer, &answer[i]);
        if (i % 4 == 1) {
            rt_resolve_cancel(rt, asked[i]);
        }
    }
    for (int i = 2; i < 40; i += 4) {
        rt_resolve_cancel(rt, asked[i]);
    }
    for (int i = 0; i < 40; i++) {
        pump(rt, answer[i].calls == (i % 4 == 0 || i % 4 == 3));
    }
    pump_for(rt, 50);
    for (int i = 0; i < 40; i++) {
        cr_assert_eq(answer[i].calls, i % 4 == 0 || i % 4 == 3);
    }
    rt_free(rt);
}

EACH(rt_resolve, a_callback_may_cancel_and_ask) {
    struct rt *rt = rt_made(backend);
    struct answer first = {.rt = rt}, second = {.rt = rt}, third = {.rt = rt};
    rt_resolve(rt, "127.0.0.1", on_answer, &first);
    first.other = rt_resolve(rt, "127.0.0.2", on_answer, &second);
    first.again = &third;
    pump(rt, first.calls == 1 && third.calls == 1);
    cr_assert_str_eq(third.addresses.text[0], "127.0.0.5");
    cr_assert_eq(second.calls, 0);
    rt_free(rt);
}

/* Asked, being asked, answered: whatever the helper does with it. */
EACH(rt_resolve, a_runtime_may_be_freed_before_the_answer) {
    for (int round = 0; round < 50; round++) {
        struct rt *rt = rt_made(backend);
        struct answer answer[8] = {{.calls = 0}};
        for (int i = 0; i < 8; i++) {
            rt_resolve(rt, i % 2 ? "localhost" : "127.0.0.1", on_answer, &answer[i]);
        }
        for (int i = 0; i < round % 10; i++) {
            rt_turn(rt, 100 * 1000);
        }
        rt_free(rt);
    }
}

Test(rt_resolve_sim, a_world_has_names_of_its_own) {
    struct rt *rt = rt_made(RT_SIM);
    sim_name(harness_sim, "node-b", "127.0.0.1");
    sim_name(harness_sim, "far", "192.0.2.7");
    answers(rt, "node-b", "127.0.0.1");
    answers(rt, "far", "192.0.2.7");
    answers(rt, "node-c", NULL);
    rt_free(rt);
}

/* One helper serves the runtimes of several threads. */
static void *asks(void *arg) {
    struct rt *rt = arg;
    for (int i = 0; i < 30; i++) {
        answers(rt, "localhost", "127.0.0.1");
    }
    rt_free(rt);
    return NULL;
}

BOTH(rt_resolve, runtimes_share_a_helper) {
    enum { COUNT = 3 };
    struct rt_options options = {.backend = backend, .recv_buffers = 16, .recv_buffer_bytes = 4096};
    struct rt *rts[COUNT];
    pthread_t threads[COUNT];
    char *reason;
    int r = rt_new(&options, COUNT, rts, &reason);
    free(reason);
    if (r < 0 && backend == RT_URING) {
        cr_skip_test("io_uring is not allowed here");
    }
    cr_assert_eq(r, 0);
    for (int i = 0; i < COUNT; i++) {
        pthread_create(&threads[i], NULL, asks, rts[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        pthread_join(threads[i], NULL);
    }
}
