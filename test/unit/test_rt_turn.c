/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/unit/rt_harness.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* ---- Waiting and time ---- */

EACH(rt_turn, a_turn_waits_as_long_as_it_is_told) {
    struct rt *rt = rt_made(backend);
    rt_turn(rt, 0);
    uint64_t start = rt_mono_ns(rt);
    cr_assert_not(rt_turn(rt, 30 * 1000 * 1000));
    uint64_t waited = rt_mono_ns(rt) - start;
    cr_assert_geq(waited, 30 * 1000 * 1000);
    cr_assert_lt(waited, 1000 * 1000 * 1000);
    start = rt_mono_ns(rt);
    for (int i = 0; i < 100; i++) {
        cr_assert_not(rt_turn(rt, 0));
    }
    cr_assert_lt(rt_mono_ns(rt) - start, 500 * 1000 * 1000);
    rt_free(rt);
}

EACH(rt_turn, waiting_costs_nothing) {
    struct rt *rt = rt_made(backend);
    rt_turn(rt, 0);
    int64_t cpu = cpu_us();
    uint64_t turns = rt_get_stats(rt)->turns;
    int64_t stop = now_ms() + 300;
    while (now_ms() < stop) {
        rt_turn(rt, 300 * 1000 * 1000);
    }
    cr_assert_leq(rt_get_stats(rt)->turns - turns, 3);
    cr_assert_lt(cpu_us() - cpu, 10000);
    rt_free(rt);
}

/* What the hooks of a wait were told, in order: s(leeps), w(oke). */
struct said {
    char text[64];
    bool may;
};

static void say(struct said *said, char what) {
    size_t n = strlen(said->text);
    cr_assert_lt(n, sizeof said->text - 1);
    said->text[n] = what;
}

static bool says_sleeps(void *arg) {
    struct said *said = arg;
    say(said, 's');
    return said->may;
}

static void says_woke(void *arg) {
    say(arg, 'w');
}

/* In a simulation the wait is its owner's, who says himself that the thread sleeps. */
EACH(rt_turn, hooks_are_called_around_each_wait) {
    struct rt *rt = rt_made(backend);
    rt_turn(rt, 0);
    struct said said = {.may = true};
    rt_on_sleep(rt, says_sleeps, says_woke, &said);
    cr_assert_not(rt_turn(rt, 5 * 1000 * 1000));
    cr_assert_str_eq(said.text, backend == RT_SIM ? "w" : "sw");
    if (backend == RT_SIM) {
        rt_free(rt);
        return;
    }
    rt_turn(rt, 0);
    cr_assert_str_eq(said.text, "sw", "a turn that does not wait says nothing");
    said.may = false;
    uint64_t start = rt_mono_ns(rt);
    rt_turn(rt, 3000 * 1000000ll);
    cr_assert_str_eq(said.text, "sws");
    cr_assert_lt(rt_mono_ns(rt) - start, 1000 * 1000 * 1000);
    /* A wake-up that came before ends the wait as ever. */
    said.may = true;
    rt_wake(NULL, rt);
    cr_assert(rt_turn(rt, 10000 * 1000000ll));
    cr_assert_str_eq(said.text, "swssw");
    rt_free(rt);
}

EACH(rt_turn, a_visitor_brings_the_clocks_up_to_date_and_sees_what_is_to_be_done) {
    struct rt *rt = rt_made(backend);
    rt_turn(rt, 0);
    rt_turn(rt, 0);
    cr_assert_not(rt_has_work(rt));
    int64_t wall = rt_wall_ms(rt), mono = rt_mono_ms(rt);
    nap_ms(30);
    rt_visit(rt);
    cr_assert_geq(rt_wall_ms(rt), wall + 30);
    cr_assert_geq(rt_mono_ms(rt), mono + 30);
    struct end *end = end_made(rt);
    rt_turn(rt, 0);
    rt_turn(rt, 0);
    cr_assert_not(rt_has_work(rt));
    end_send(end, "x", 1);
    cr_assert(rt_has_work(rt));
    rt_turn(rt, 0);
    rt_turn(rt, 0);
    cr_assert_not(rt_has_work(rt));
    rt_stream_close(&end->stream);
    cr_assert(rt_has_work(rt));
    end_over(rt, end);
    rt_free(rt);
}

EACH(rt_turn, cached_times_are_those_of_the_last_wait) {
    struct rt *rt = rt_made(backend);
    rt_turn(rt, 0);
    int64_t wall = rt_wall_ms(rt), mono = rt_mono_ms(rt);
    nap_ms(30);
    cr_assert_eq(rt_wall_ms(rt), wall);
    cr_assert_eq(rt_mono_ms(rt), mono);
    cr_assert_geq(rt_wall_us(rt), (wall + 30) * 1000);
    rt_turn(rt, 20 * 1000 * 1000);
    cr_assert_geq(rt_mono_ms(rt), mono + 50);
    if (backend != RT_SIM) {
        struct timespec ts;
        clock_gettime(CLOCK_REALTIME, &ts);
        int64_t real = ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
        cr_assert_leq(llabs(real - rt_wall_ms(rt)), 1000);
    }
    rt_free(rt);
}

EACH(rt_turn, ticks_measure_nanoseconds) {
    struct rt *rt = rt_made(backend);
    for (int i = 0; i < 3; i++) {
        uint64_t ns = rt_mono_ns(rt), ticks = rt_ticks(rt);
        rt_turn(rt, 60 * 1000 * 1000);
        uint64_t by_ticks = rt_ticks_to_ns(rt, rt_ticks(rt) - ticks);
        uint64_t by_clock = rt_mono_ns(rt) - ns;
        cr_assert_gt(by_ticks, by_clock * 98 / 100);
        cr_assert_lt(by_ticks, by_clock * 102 / 100);
    }
    rt_free(rt);
}

EACH(rt_turn, random_bytes_do_not_repeat) {
    struct rt *rt = rt_made(backend);
    uint64_t seen[100];
    for (int i = 0; i < 100; i++) {
        rt_random(rt, &seen[i], sizeof(seen[i]));
        for (int j = 0; j < i; j++) {
            cr_assert_neq(seen[i], seen[j]);
        }
    }
    unsigned char big[1000] = {0};
    rt_random(rt, big, sizeof(big));
    int zeros = 0;
    for (size_t i = 0; i < sizeof(big); i++) {
        zeros += big[i] == 0;
    }
    cr_assert_lt(zeros, 30);
    rt_free(rt);
}

EACH(rt_turn, a_backend_names_itself) {
    struct rt *rt = rt_made(backend);
    static const char *const names[] = {
        [RT_URING] = "io_uring", [RT_EPOLL] = "epoll", [RT_SIM] = "sim"};
    cr_assert_str_eq(rt_backend_name(rt), names[backend]);
    rt_free(rt);
}

/* As a container's profile does it. */
static void forbid(unsigned number) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void auto_takes_epoll(unsigned forbidden, const char *expected) {
    struct rt_options options = {
        .backend = RT_URING, .recv_buffers = 64, .recv_buffer_bytes = 4096};
    rt_free(rt_of(&options)); /* or the test is skipped */
    forbid(forbidden);
    struct rt *rts[2];
    char *reason;
    options.backend = RT_AUTO;
    cr_assert_eq(rt_new(&options, 2, rts, &reason), 0);
    cr_assert_str_eq(reason, expected);
    free(reason);
    for (int i = 0; i < 2; i++) {
        cr_assert_str_eq(rt_backend_name(rts[i]), "epoll");
        rt_wake(NULL, rts[i]);
        cr_assert(rt_turn(rts[i], 10000 * 1000000ll));
        rt_free(rts[i]);
    }
    options.backend = RT_URING;
    cr_assert_eq(rt_new(&options, 2, rts, &reason), -EPERM);
    cr_assert_str_eq(reason, expected);
    free(reason);
}

Test(rt_turn, where_io_uring_is_forbidden_auto_takes_epoll_and_says_why) {
    auto_takes_epoll(__NR_io_uring_setup, "io_uring_setup: Operation not permitted");
}

/* It was taken, and the first turn ended the process with a failed check. */
Test(rt_turn, where_a_ring_may_be_made_and_not_entered_auto_takes_epoll) {
    auto_takes_epoll(__NR_io_uring_enter, "io_uring_enter: Operation not permitted");
}

/* Each ring is locked memory, of which a user may have so much: some threads had a ring, and others
 * epoll. */
Test(rt_turn, all_runtimes_have_one_backend_when_memory_is_there_for_some_rings) {
    enum { COUNT = 6 };
    struct rt_options options = {.backend = RT_AUTO, .recv_buffers = 64, .recv_buffer_bytes = 4096};
    struct rt *rts[COUNT];
    char *reason;
    if (geteuid() == 0) {
        cr_assert_eq(setuid(54321), 0); /* the limit does not hold for root */
    }
    bool mixed_once = false;
    for (rlim_t kb = 16; kb <= 2048; kb *= 2) {
        struct rlimit limit = {kb * 1024, kb * 1024};
        struct rlimit old;
        getrlimit(RLIMIT_MEMLOCK, &old);
        limit.rlim_max = old.rlim_max;
        if (limit.rlim_cur > limit.rlim_max) {
            break;
        }
        cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
        cr_assert_eq(rt_new(&options, COUNT, rts, &reason), 0);
        for (int i = 0; i < COUNT; i++) {
            cr_assert_str_eq(rt_backend_name(rts[i]), reason == NULL ? "io_uring" : "epoll");
        }
        mixed_once |= reason != NULL;
        free(reason);
        for (int i = 0; i < COUNT; i++) {
            rt_free(rts[i]);
        }
    }
    if (!mixed_once) {
        cr_skip_test("rings are not counted as locked memory here");
    }
}

/* ---- Wake-ups ---- */

EACH(rt_turn, a_wake_before_the_wait_ends_it) {
    struct rt *rt = rt_made(backend);
    rt_turn(rt, 0);
    for (int i = 0; i < 100; i++) {
        rt_wake(NULL, rt);
        int64_t start = now_ms();
        cr_assert(rt_turn(rt, 10000 * 1000000ll));
        cr_assert_lt(now_ms() - start, 5000);
    }
    rt_wake(rt, rt);
    cr_assert(rt_turn(rt, 10000 * 1000000ll));
    rt_free(rt);
}

EACH(rt_turn, a_wake_before_the_first_turn_is_seen) {
    struct rt *rt = rt_made(backend);
    struct rt *other = rt_made(backend);
    rt_wake(NULL, rt);
    cr_assert(rt_turn(rt, 10000 * 1000000ll));
    rt_free(rt);
    /* The target has not run yet: a ring that is not enabled refuses messages. */
    rt = rt_made(backend);
    rt_turn(other, 0);
    rt_wake(other, rt);
    rt_turn(other, 0);
    rt_turn(other, 10 * 1000 * 1000);
    cr_assert(rt_turn(rt, 10000 * 1000000ll));
    rt_free(other);
    rt_free(rt);
}

EACH(rt_turn, many_wakes_are_one) {
    struct rt *rt = rt_made(backend);
    rt_turn(rt, 0);
    for (int i = 0; i < 1000; i++) {
        rt_wake(NULL, rt);
    }
    cr_assert(rt_turn(rt, 10000 * 1000000ll));
    cr_assert_not(rt_turn(rt, 10 * 1000 * 1000));
    rt_free(rt);
}

struct pinger {
    enum rt_backend backend;
    struct rt *rt; /* its own, or NULL */
    struct rt *target;
    atomic_int asked;
    atomic_int answered;
    int rounds;
};

/* Asks, wakes, and waits for the answer: one lost wake-up and it hangs. */
static void *ping_thread(void *arg) {
    struct pinger *p = arg;
    for (int i = 1; i <= p->rounds; i++) {
        atomic_store(&p->asked, i);
        rt_wake(p->rt, p->target);
        if (p->rt) {
            while (atomic_load(&p->answered) != i) {
                rt_turn(p->rt, -1);
            }
        } else {
            while (atomic_load(&p->answered) != i) {
                sched_yield();
            }
        }
    }
    return NULL;
}

struct question {
    struct pinger *pinger;
    int seen;
};

static bool asked_more(void *arg) {
    const struct question *question = arg;
    return atomic_load(&question->pinger->asked) != question->seen;
}

static void answer(struct rt *rt, struct pinger *p, int seen) {
    atomic_store(&p->answered, seen);
    if (p->rt) {
        rt_wake(rt, p->rt);
    }
}

static void ping_pong(enum rt_backend backend, enum rt_backend other, bool own, int rounds,
                      bool looks) {
    struct rt *rt = rt_made(backend);
    struct pinger p = {.backend = other, .target = rt, .rounds = rounds};
    p.rt = own ? rt_made(other) : NULL;
    pthread_t thread;
    pthread_create(&thread, NULL, ping_thread, &p);
    int seen = 0;
    while (seen < rounds) {
        if (looks) {
            rt_look(rt, asked_more, &(struct question){&p, seen}, 1000 * (seen % 16));
        }
        rt_turn(rt, -1);
        int asked = atomic_load(&p.asked);
        if (asked != seen) {
            seen = asked;
            answer(rt, &p, seen);
        }
    }
    rt_turn(rt, 0);
    pthread_join(thread, NULL);
    rt_free(rt);
    rt_free(p.rt);
}

BOTH(rt_turn, a_hundred_thousand_wakes_of_a_plain_thread_arrive) {
    ping_pong(backend, backend, false, 100000, false);
}

BOTH(rt_turn, two_runtimes_wake_each_other_without_loss) {
    ping_pong(backend, backend, true, 50000, false);
}

BOTH(rt_turn, different_backends_wake_each_other) {
    ping_pong(backend, backend == RT_URING ? RT_EPOLL : RT_URING, true, 10000, false);
}

/* The answer's wake-up leaves with the look, or with the turn after it. */
BOTH(rt_turn, who_looks_before_it_sleeps_loses_no_wake_up) {
    ping_pong(backend, backend, true, 20000, true);
}

static bool never(void *arg) {
    (*(unsigned *)arg)++;
    return false;
}

BOTH(rt_turn, a_look_sends_what_is_ready_and_ends_by_itself_or_for_news) {
    struct rt *rt = rt_made(backend);
    struct end *end = end_made(rt);
    pump_for(rt, 5);
    if (!rt_may_look(rt, 1)) { /* then no server on it looks either; unit_look needs no clock */
        cr_skip_test("the clock of this machine is not cheap");
    }
    cr_assert_not(rt_may_look(rt, 100000), "no machine has so many processors");
    struct iovec vector = {"reply", 5};
    rt_stream_send_lazy(&end->stream, &vector, 1);
    unsigned asked = 0;
    uint64_t start = rt_mono_ns(rt);
    rt_look(rt, never, &asked, 1000000);
    cr_assert_geq(rt_mono_ns(rt) - start, 900000);
    cr_assert_gt(asked, 10);
    char got[8];
    cr_assert_eq(peer_read(end->peer, got, 5), 5, "it left with the look");
    rt_turn(rt, 0);
    cr_assert_not(rt_stream_sending(&end->stream));
    /* Something is to be told: there is no time to look. */
    asked = 0;
    rt_stream_close(&end->stream);
    rt_look(rt, never, &asked, 1000000);
    cr_assert_eq(asked, 0);
    end_over(rt, end);
    rt_free(rt);
}

BOTH(rt_turn, what_is_ready_leaves_before_long_work) {
    struct rt *rt = rt_made(backend);
    struct end *end = end_made(rt);
    pump_for(rt, 5);
    struct iovec vector = {"reply", 5};
    rt_stream_send_lazy(&end->stream, &vector, 1);
    rt_submit(rt);
    char got[8];
    cr_assert_eq(peer_read(end->peer, got, 5), 5);
    rt_submit(rt);
    rt_turn(rt, 0);
    cr_assert_not(rt_stream_sending(&end->stream));
    end_over(rt, end);
    rt_free(rt);
}

struct flood {
    struct rt *rt;
    struct rt *target;
    atomic_ullong *published;
    int rounds;
};

static void *flood_thread(void *arg) {
    struct flood *flood = arg;
    for (int i = 0; i < flood->rounds; i++) {
        atomic_fetch_add(flood->published, 1);
        rt_wake(flood->rt, flood->target);
        if (flood->rt) {
            rt_turn(flood->rt, 0);
        }
    }
    return NULL;
}

/* Many wakers, and wakes that coalesce: whatever was published before the last wake is seen after
 * some turn. */
BOTH(rt_turn, wakes_of_four_threads_leave_nothing_unseen) {
    enum { THREADS = 4, ROUNDS = 25000 };
    struct rt *rt = rt_made(backend);
    atomic_ullong published = 0;
    struct flood floods[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        floods[i] = (struct flood){i % 2 ? rt_made(backend) : NULL, rt, &published, ROUNDS};
        pthread_create(&threads[i], NULL, flood_thread, &floods[i]);
    }
    while (atomic_load(&published) < THREADS * ROUNDS) {
        cr_assert(rt_turn(rt, 10000 * 1000000ll), "slept through a wake-up");
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        rt_free(floods[i].rt);
    }
    rt_free(rt);
}

static struct rt *signalled; /* of the one test that sends itself a signal */

static void wake_handler(int number) {
    (void)number;
    rt_wake(NULL, signalled);
}

BOTH(rt_turn, a_signal_handler_may_wake) {
    struct rt *rt = rt_made(backend);
    signalled = rt;
    struct sigaction action = {.sa_handler = wake_handler};
    sigaction(SIGUSR1, &action, NULL);
    rt_turn(rt, 0);
    raise(SIGUSR1);
    cr_assert(rt_turn(rt, 10000 * 1000000ll));
    rt_free(rt);
}

/* ---- Process ---- */

Test(rt_process, usage_is_plausible) {
    struct rt_usage usage;
    rt_usage(&usage);
    cr_assert_gt(usage.rss_bytes, 500000);
    cr_assert_gt(usage.total_system_bytes, usage.rss_bytes);
    int64_t before = cpu_us();
    volatile uint64_t sum = 0;
    int64_t stop = now_ms() + 50;
    while (now_ms() < stop) {
        sum += 1;
    }
    cr_assert_gt(cpu_us(), before);
}

Test(rt_process, cpus_respect_the_mask) {
    unsigned all = rt_cpus();
    cr_assert_geq(all, 1);
    cpu_set_t set;
    cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
    cr_assert_leq(all, (unsigned)CPU_COUNT(&set));
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &set)) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
            break;
        }
    }
    cr_assert_eq(rt_cpus(), 1);
}

Test(rt_process, early_random_bytes_differ) {
    unsigned char a[192], b[192];
    rt_random_early(a, sizeof(a));
    rt_random_early(b, sizeof(b));
    cr_assert_arr_neq(a, b, sizeof(a));
    cr_assert_gt(rt_wall_us_early(), 1600000000ll * 1000000);
}
