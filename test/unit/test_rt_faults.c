/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kernel does once in a long while, done on purpose: rt_inject() of net/rt_private.h makes
 * single operations end as a test wants them to, and queues of a few entries are always full.
 */
#include "net/rt_private.h"
#include "test/unit/rt_harness.h"

#include <fcntl.h>
#include <liburing.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Accepting ---- */

BOTH(rt_faults, no_error_of_accept_ends_listening) {
    static const int errors[] = {ECONNABORTED, EPROTO, EPERM,   ENETDOWN, EHOSTUNREACH, EMFILE,
                                 ENFILE,       ENOMEM, ENOBUFS, EINVAL,   EOPNOTSUPP};
    struct rt *rt = rt_made(backend);
    for (size_t i = 0; i < COUNT(errors); i++) {
        uint64_t before = rt_get_stats(rt)->accept_errors;
        rt_inject(rt, RT_FAULT_ACCEPT, -errors[i], 3);
        struct door *door = door_new(rt, "127.0.0.1", 0);
        int peer = dial(rt_listener_port(door->listener));
        pump(rt, door->count == 1);
        if (errors[i] != EMFILE && errors[i] != ENFILE) { /* then the spare one is taken */
            cr_assert_eq(rt_get_stats(rt)->accept_errors - before, 3, "%s", strerror(errors[i]));
        }
        cr_assert_gt(rt_get_stats(rt)->accept_errors, before);
        cr_assert_eq(door->refused, 0);
        rt_inject(rt, RT_FAULT_ACCEPT, 0, 0);
        close(peer);
        door_close_all(door);
        rt_unlisten(rt, door->listener);
        free(door);
    }
    rt_free(rt);
}

/* One that repeats itself at once would take a whole processor. */
BOTH(rt_faults, what_only_time_mends_is_waited_out_cheaply) {
    static const int errors[] = {ENOMEM, ENOBUFS, EPERM};
    struct rt *rt = rt_made(backend);
    for (size_t i = 0; i < COUNT(errors); i++) {
        rt_inject(rt, RT_FAULT_ACCEPT, -errors[i], UINT_MAX);
        struct door *doors[2] = {door_new(rt, "127.0.0.1", 0), door_new(rt, "127.0.0.1", 0)};
        int peers[2] = {dial(rt_listener_port(doors[0]->listener)),
                        dial(rt_listener_port(doors[1]->listener))};
        uint64_t failed = rt_get_stats(rt)->accept_errors, turns = rt_get_stats(rt)->turns;
        int64_t cpu = cpu_us();
        for (int64_t stop = now_ms() + 100; now_ms() < stop;) {
            rt_turn(rt, 50 * 1000 * 1000);
        }
        cr_assert_lt(rt_get_stats(rt)->turns - turns, 100, "%s", strerror(errors[i]));
        cr_assert_lt(cpu_us() - cpu, 20000);
        cr_assert_gt(rt_get_stats(rt)->accept_errors, failed);
        cr_assert_lt(rt_get_stats(rt)->accept_errors - failed, 40);
        rt_inject(rt, RT_FAULT_ACCEPT, 0, 0);
        for (int j = 0; j < 2; j++) {
            pump(rt, doors[j]->count == 1);
            close(peers[j]);
            door_close_all(doors[j]);
            rt_unlisten(rt, doors[j]->listener);
            free(doors[j]);
        }
    }
    rt_free(rt);
}

BOTH(rt_faults, a_listener_may_end_while_it_rests) {
    struct rt *rt = rt_made(backend);
    rt_inject(rt, RT_FAULT_ACCEPT, -ENOMEM, 1);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    int peer = dial(rt_listener_port(door->listener));
    pump(rt, rt_get_stats(rt)->accept_errors == 1);
    rt_unlisten(rt, door->listener);
    pump_for(rt, 30);
    cr_assert_eq(door->count, 0);
    close(peer);
    rt_free(rt);
    free(door);
}

/* The last completion of an accept may bring a socket, when there is no room to tell of more. The
 * owner who gave the listener up in that callback had it freed twice. */
BOTH(rt_faults, a_listener_may_end_with_the_last_socket_of_its_accept) {
    struct rt *rt = rt_made(backend);
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    rt_inject(rt, RT_FAULT_ACCEPT, pair[0], 1);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    door->unlisten_on_accept = true;
    int peer = dial(rt_listener_port(door->listener));
    pump(rt, door->count == 1);
    cr_assert_eq(door->sockets[0], pair[0]);
    pump_for(rt, 5);
    cr_assert_eq(door->count, 1);
    door_close_all(door);
    close(pair[1]);
    close(peer);
    rt_free(rt);
    free(door);
}

Test(rt_faults_uring, a_socket_that_nobody_was_told_of_is_closed_with_the_runtime) {
    struct rt *rt = rt_made(RT_URING);
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    rt_turn(rt, 0);
    rt_inject(rt, RT_FAULT_ACCEPT, pair[0], 1);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    rt_free(rt);
    char c;
    cr_assert_eq(recv(pair[1], &c, 1, MSG_DONTWAIT), 0, "still open");
    close(pair[1]);
    free(door);
}

static int refuse_listen(struct rt *rt, struct rt_listener *listener) {
    (void)rt;
    (void)listener;
    return -ENOSPC;
}

BOTH(rt_faults, a_listener_that_fails_leaves_neither_file_nor_descriptor) {
    struct rt *rt = rt_made(backend);
    struct rt_ops ops = *rt->ops;
    const struct rt_ops *good = rt->ops;
    ops.listen = refuse_listen;
    rt->ops = &ops;
    char path[64];
    snprintf(path, sizeof(path), "/tmp/shoal-test-%d-%d.sock", (int)getpid(), (int)backend);
    int next = dup(0);
    close(next);
    struct door door = {.rt = rt};
    struct rt_listen_options options = {.backlog = 1};
    cr_assert_eq(rt_listen_unix(rt, path, &options, door_accept, &door, &door.listener), -ENOSPC);
    cr_assert_eq(rt_listen_tcp(rt, "127.0.0.1", 0, &options, door_accept, &door, &door.listener),
                 -ENOSPC);
    struct stat st;
    cr_assert_eq(stat(path, &st), -1, "its file is still there");
    int now = dup(0);
    cr_assert_eq(now, next, "a descriptor leaked");
    close(now);
    rt->ops = good;
    rt_free(rt);
}

/* ---- Receiving ---- */

BOTH(rt_faults, a_stream_that_finds_no_buffer_is_served_when_there_is_one) {
    enum { STREAMS = 3, BYTES = 5000 };
    struct rt *rt = rt_with(backend, 4, 1024);
    rt_inject(rt, RT_FAULT_RECV, -ENOBUFS, 7);
    struct end *ends[STREAMS];
    char *data = pattern_new(BYTES);
    for (int i = 0; i < STREAMS; i++) {
        ends[i] = end_made(rt);
        peer_write(ends[i]->peer, data, BYTES);
    }
    for (int i = 0; i < STREAMS; i++) {
        pump(rt, ends[i]->got_len == BYTES);
        cr_assert_arr_eq(ends[i]->got, data, BYTES);
    }
    cr_assert_geq(rt_get_stats(rt)->buffers_exhausted, 7);
    for (int i = 0; i < STREAMS; i++) {
        end_over(rt, ends[i]);
    }
    free(data);
    rt_free(rt);
}

BOTH(rt_faults, a_stream_that_waits_for_a_buffer_may_pause_and_close) {
    struct rt *rt = rt_with(backend, 4, 1024);
    rt_inject(rt, RT_FAULT_RECV, -ENOBUFS, UINT_MAX);
    struct end *pauses = end_made(rt), *closes = end_made(rt);
    peer_write(pauses->peer, "hello", 5);
    peer_write(closes->peer, "hello", 5);
    pump(rt, rt_get_stats(rt)->buffers_exhausted >= 4);
    rt_stream_pause(&pauses->stream);
    rt_stream_close(&closes->stream);
    pump(rt, closes->gone);
    rt_inject(rt, RT_FAULT_RECV, 0, 0);
    pump_for(rt, 10);
    cr_assert_eq(pauses->got_len, 0);
    rt_stream_resume(&pauses->stream);
    pump(rt, pauses->got_len == 5);
    cr_assert_eq(closes->got_len, 0);
    end_over(rt, pauses);
    end_over(rt, closes);
    rt_free(rt);
}

BOTH(rt_faults, a_receive_that_was_interrupted_is_made_again) {
    struct rt *rt = rt_made(backend);
    rt_inject(rt, RT_FAULT_RECV, -EINTR, 3);
    struct end *end = end_made(rt);
    peer_write(end->peer, "hello", 5);
    pump(rt, end->got_len == 5);
    cr_assert_eq(end->ended_calls, 0);
    end_over(rt, end);
    rt_free(rt);
}

BOTH(rt_faults, a_receive_that_fails_ends_its_stream_once) {
    struct rt *rt = rt_made(backend);
    rt_inject(rt, RT_FAULT_RECV, -ETIMEDOUT, 1);
    struct end *end = end_made(rt);
    peer_write(end->peer, "hello", 5);
    pump(rt, end->ended_calls == 1);
    cr_assert_eq(end->ended_error, -ETIMEDOUT);
    pump_for(rt, 10);
    cr_assert_eq(end->got_len, 0, "nothing arrives after the end");
    cr_assert_eq(end->ended_calls, 1);
    end_over(rt, end);
    rt_free(rt);
}

/* Where the kernel knows no multishot receive (before 6.0), the first stream was asked again in the
 * plain way; of all that had been asked together with it, the connections were given up. */
Test(rt_faults_uring, streams_fall_back_together_from_a_receive_that_the_kernel_does_not_know) {
    enum { STREAMS = 5 };
    struct rt *rt = rt_made(RT_URING);
    rt_inject(rt, RT_FAULT_RECV, -EINVAL, STREAMS);
    struct end *ends[STREAMS];
    for (int i = 0; i < STREAMS; i++) {
        ends[i] = end_made(rt);
    }
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < STREAMS; i++) {
            peer_write(ends[i]->peer, "hello", 5);
            pump(rt, ends[i]->got_len == 5 * (size_t)round);
        }
    }
    for (int i = 0; i < STREAMS; i++) {
        cr_assert_eq(ends[i]->ended_calls, 0);
        end_over(rt, ends[i]);
    }
    rt_free(rt);
}

/* ---- Sending ---- */

static void send_two(struct end *end, const char *data, size_t n, bool lazy) {
    struct iovec vectors[2] = {{(void *)data, n / 2}, {(void *)(data + n / 2), n - n / 2}};
    (lazy ? rt_stream_send_lazy : rt_stream_send)(&end->stream, vectors, 2);
}

/* Every send takes another part of what it is given: a byte, half, all. */
BOTH(rt_faults, whatever_part_a_send_takes_the_bytes_stay_in_order) {
    enum { BYTES = 20000 };
    struct rt *rt = rt_made(backend);
    char *data = pattern_new(BYTES), *have = malloc(BYTES);
    for (int lazy = 0; lazy < 2; lazy++) {
        struct end *end = end_made(rt);
        uint64_t before = rt_get_stats(rt)->short_sends, cuts = 0;
        unsigned x = 1;
        while (end->sent_bytes < BYTES) {
            size_t left = BYTES - end->sent_bytes;
            size_t batch = left < 1000 ? left : 1000;
            x = x * 1103515245u + 12345u;
            size_t part = 1 + (x >> 16) % 1200;
            unsigned calls = end->sent_calls;
            rt_inject(rt, RT_FAULT_SEND, (int)part, 1);
            send_two(end, data + end->sent_bytes, batch, lazy);
            pump(rt, end->sent_calls == calls + 1);
            cr_assert_eq(end->sent_last, part < batch ? part : batch);
            cuts += part < batch;
        }
        cr_assert_gt(cuts, 5);
        cr_assert_eq(rt_get_stats(rt)->short_sends - before, cuts);
        cr_assert_eq(peer_read(end->peer, have, BYTES), BYTES);
        cr_assert_arr_eq(have, data, BYTES);
        end_over(rt, end);
    }
    free(data);
    free(have);
    rt_free(rt);
}

BOTH(rt_faults, a_lazy_send_that_was_cut_short_is_told_without_waiting) {
    struct rt *rt = rt_made(backend);
    struct end *end = end_made(rt);
    pump_for(rt, 5);
    rt_inject(rt, RT_FAULT_SEND, 3, 1);
    send_two(end, "hello", 5, true);
    int64_t start = now_ms();
    for (int i = 0; i < 3 && end->sent_calls == 0; i++) {
        rt_turn(rt, 5000 * 1000000ll);
    }
    cr_assert_eq(end->sent_last, 3);
    cr_assert_lt(now_ms() - start, 1000);
    end_over(rt, end);
    rt_free(rt);
}

BOTH(rt_faults, a_send_that_fails_is_told_by_the_end_alone) {
    for (int waits = 0; waits < 2; waits++) {
        struct rt *rt = rt_made(backend);
        struct end *end = end_made(rt);
        if (waits) { /* after a short one the next waits for room */
            rt_inject(rt, RT_FAULT_SEND, 1, 1);
            end_send(end, "xy", 2);
            pump(rt, end->sent_calls == 1);
        }
        rt_inject(rt, RT_FAULT_SEND, -EHOSTUNREACH, 1);
        end_send(end, "hello", 5);
        pump(rt, end->ended_calls == 1);
        cr_assert_eq(end->ended_error, -EHOSTUNREACH);
        cr_assert_eq(end->sent_calls, (unsigned)waits);
        cr_assert_not(rt_stream_sending(&end->stream));
        end_over(rt, end);
        rt_free(rt);
    }
}

static void end_echo(struct rt_stream *stream, struct rt_buffer *buffer, struct bytes bytes) {
    struct end *end = (struct end *)stream;
    size_t before = end->got_len;
    end_data(stream, buffer, bytes);
    end_send(end, end->got + before, bytes.len);
}

/* The outcome that was put in place of the kernel's went before completions that were there
 * already, and was told while its send was not yet expected to have one: a crash. */
BOTH(rt_faults, a_send_that_fails_where_data_is_told_comes_behind_what_was_there) {
    enum { ENDS = 4 };
    static const int results[] = {-EINTR, 3};
    struct rt_stream_events events = end_events;
    events.data = end_echo;
    struct rt *rt = rt_made(backend);
    struct end *ends[ENDS];
    for (unsigned i = 0; i < ENDS; i++) {
        ends[i] = end_made(rt);
        ends[i]->stream.events = &events;
    }
    pump_for(rt, 5);
    for (size_t n = 0; n < COUNT(results); n++) {
        rt_inject(rt, RT_FAULT_SEND, results[n], ENDS);
        for (unsigned i = 0; i < ENDS; i++) {
            peer_write(ends[i]->peer, "echo", 4);
        }
        size_t told = results[n] > 0 ? (size_t)results[n] : 4;
        for (unsigned i = 0; i < ENDS; i++) {
            char got[4];
            pump(rt, ends[i]->sent_calls == n + 1);
            cr_assert_eq(ends[i]->sent_last, told);
            cr_assert_eq(peer_read(ends[i]->peer, got, told), told);
            cr_assert_arr_eq(got, "echo", told);
        }
    }
    for (unsigned i = 0; i < ENDS; i++) {
        end_over(rt, ends[i]);
    }
    rt_free(rt);
}

BOTH(rt_faults, a_send_that_was_interrupted_is_made_again) {
    struct rt *rt = rt_made(backend);
    struct end *end = end_made(rt);
    rt_inject(rt, RT_FAULT_SEND, -EINTR, 3);
    end_send(end, "hello", 5);
    pump(rt, end->sent_calls == 1);
    char text[5];
    cr_assert_eq(peer_read(end->peer, text, 5), 5);
    cr_assert_arr_eq(text, "hello", 5);
    end_over(rt, end);
    rt_free(rt);
}

/* ---- What only io_uring can do wrong ---- */

/* With a pool and queues as small as can be. */
static struct rt *rt_cramped(enum rt_backend backend) {
    return rt_of(&(struct rt_options){
        .backend = backend, .recv_buffers = 16, .recv_buffer_bytes = 256, .queue_entries = 4});
}

/* Each stream answers what it gets. */
static void echo_through(struct rt *rt, int streams, int rounds, void (*before_turn)(struct rt *)) {
    struct echo *echoes = calloc((size_t)streams, sizeof(*echoes));
    int *peers = calloc((size_t)streams, sizeof(*peers));
    char want[700], have[700];
    for (int i = 0; i < streams; i++) {
        int pair[2];
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        peers[i] = pair[1];
        echo_open(rt, &echoes[i], pair[0]);
    }
    for (int round = 0; round < rounds; round++) {
        uint64_t sent = rt_get_stats(rt)->sent_bytes, due = 0;
        for (int i = 0; i < streams; i++) {
            size_t n = 1 + (size_t)(i * 37 + round * 101) % sizeof(want);
            memset(want, 'a' + (i + round) % 26, n);
            peer_write(peers[i], want, n);
            due += n;
        }
        int64_t limit = now_ms() + PUMP_LIMIT_MS;
        while (rt_get_stats(rt)->sent_bytes - sent < due) {
            cr_assert_lt(now_ms(), limit, "round %d", round);
            if (before_turn) {
                before_turn(rt);
            }
            rt_turn(rt, 5 * 1000 * 1000);
        }
        for (int i = 0; i < streams; i++) {
            size_t n = 1 + (size_t)(i * 37 + round * 101) % sizeof(want);
            memset(want, 'a' + (i + round) % 26, n);
            cr_assert_eq(peer_read(peers[i], have, n), n);
            cr_assert_arr_eq(have, want, n, "stream %d, round %d", i, round);
        }
    }
    for (int i = 0; i < streams; i++) {
        close(peers[i]);
    }
    for (int i = 0; i < streams; i++) {
        pump(rt, echoes[i].gone);
        outbuf_fini(&echoes[i].out);
    }
    free(echoes);
    free(peers);
}

BOTH(rt_faults, queues_of_a_few_entries_lose_nothing) {
    struct rt *rt = rt_cramped(backend);
    echo_through(rt, 200, 20, NULL);
    if (backend == RT_URING) {
        cr_assert_gt(rt_get_stats(rt)->cq_overflows, 0);
        cr_assert_gt(rt_get_stats(rt)->buffers_exhausted, 0);
    }
    rt_free(rt);
}

static void refuse_some(struct rt *rt, int error) {
    unsigned char chance;
    rt_random(rt, &chance, 1);
    rt_inject(rt, RT_FAULT_ENTER, error, chance % 4u);
}

static void refuse_busy(struct rt *rt) {
    refuse_some(rt, -EBUSY);
}

static void refuse_again(struct rt *rt) {
    refuse_some(rt, -EAGAIN);
}

static void refuse_memory(struct rt *rt) {
    refuse_some(rt, -ENOMEM);
}

static void refuse_interrupted(struct rt *rt) {
    refuse_some(rt, -EINTR);
}

/* A callback that filled the submission queue had completions moved away while they were being
 * worked off: some were handled twice, or the head overtook the tail. */
Test(rt_faults_uring, submissions_that_the_kernel_refuses_are_made_again) {
    void (*const refusals[])(struct rt *) = {refuse_busy, refuse_again, refuse_memory,
                                             refuse_interrupted};
    for (size_t i = 0; i < COUNT(refusals); i++) {
        struct rt *rt = rt_cramped(RT_URING);
        echo_through(rt, 60, 20, refusals[i]);
        rt_free(rt);
    }
}

/* A request that the cancel did not find ends with its socket. */
/* Filters of system calls do not see what a ring is asked for. */
Test(rt_faults_uring, a_ring_takes_nothing_that_is_not_on_its_list) {
    struct rt *rt = rt_made(RT_URING);
    char path[64], name[64] = "";
    struct io_uring_probe *probe = calloc(1, sizeof *probe + 256 * sizeof probe->ops[0]);
    int ring = -1;
    rt_turn(rt, 0);
    for (int fd = 0; fd < 100; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, name, sizeof name - 1);
        if (n > 0 && strncmp(name, "anon_inode:[io_uring]", (size_t)n) == 0) {
            ring = fd;
        }
    }
    cr_assert_geq(ring, 0);
    cr_assert_eq(syscall(__NR_io_uring_register, ring, IORING_REGISTER_PROBE, probe, 256), -1);
    cr_assert_eq(errno, EACCES);
    free(probe);
    rt_free(rt);
}

Test(rt_faults_uring, a_stream_whose_cancel_finds_nothing_goes_all_the_same) {
    struct rt *rt = rt_made(RT_URING);
    struct end *end = end_made(rt);
    pump_for(rt, 2);
    rt_inject(rt, RT_FAULT_CANCEL, 0, 1);
    rt_stream_close(&end->stream);
    pump(rt, end->gone);
    end_over(rt, end);
    rt_free(rt);
}

/* With a completion gone nobody knows any more what was sent. */
Test(rt_faults_uring, a_completion_that_the_kernel_lost_ends_the_process, .signal = SIGABRT) {
    struct rt *rt = rt_made(RT_URING);
    rt_turn(rt, 0);
    rt_inject(rt, RT_FAULT_ENTER, -EBADR, 1);
    rt_turn(rt, 1000000);
}
