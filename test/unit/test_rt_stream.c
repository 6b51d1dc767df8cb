/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/unit/rt_harness.h"

#include <pthread.h>

/* ---- Receiving ---- */

EACH(rt_stream, what_the_peer_writes_arrives_in_order) {
    struct rt *rt = rt_made(backend);
    struct end *end = end_made(rt);
    size_t n = 100000;
    char *data = pattern_new(n);
    size_t written = 0;
    for (size_t step = 1; written < n; step = step * 3 % 5003) {
        size_t part = step < n - written ? step : n - written;
        peer_write(end->peer, data + written, part);
        written += part;
        pump(rt, end->got_len == written);
    }
    cr_assert_arr_eq(end->got, data, n);
    cr_assert_eq(end->ended_calls, 0);
    end_over(rt, end);
    free(data);
    rt_free(rt);
}

EACH(rt_stream, single_bytes_arrive) {
    struct rt *rt = rt_made(backend);
    struct end *end = end_made(rt);
    for (int i = 0; i < 300; i++) {
        char c = (char)i;
        peer_write(end->peer, &c, 1);
        pump(rt, end->got_len == (size_t)i + 1);
        cr_assert_eq(end->got[i], c);
    }
    end_over(rt, end);
    rt_free(rt);
}

EACH(rt_stream, data_comes_only_inside_a_turn) {
    struct rt *rt = rt_made(backend);
    struct end *end = end_made(rt);
    pump_for(rt, 5);
    peer_write(end->peer, "x", 1);
    nap_ms(10);
    cr_assert_eq(end->data_calls, 0);
    pump(rt, end->got_len == 1);
    end_over(rt, end);
    rt_free(rt);
}

EACH(rt_stream, kept_buffers_stay_as_they_were_and_never_starve_the_pool) {
    struct rt *rt = rt_with(backend, 8, 64);
    struct end *end = end_made(rt);
    end->keep_max = 256;
    char text[32];
    for (int i = 0; i < 200; i++) {
        int n = snprintf(text, sizeof(text), "message %d", i);
        size_t before = end->got_len;
        peer_write(end->peer, text, (size_t)n);
        pump(rt, end->got_len == before + (size_t)n);
    }
    cr_assert_eq(end->kept_count, 200);
    unsigned pooled = 0;
    for (int i = 0; i < 200; i++) {
        int n = snprintf(text, sizeof(text), "message %d", i);
        cr_assert_arr_eq(end->kept[i]->data, text, (size_t)n);
        pooled += end->kept[i]->pool != NULL;
    }
    cr_assert_gt(pooled, 0);
    cr_assert_leq(pooled, 4);
    end_over(rt, end);
    rt_free(rt);
}

EACH(rt_stream, four_buffers_serve_sixty_streams) {
    enum { STREAMS = 60, BYTES = 50000 };
    struct rt *rt = rt_with(backend, 4, 1024);
    struct end *ends[STREAMS];
    char *data = pattern_new(BYTES);
    for (int i = 0; i < STREAMS; i++) {
        ends[i] = end_made(rt);
        ends[i]->keep_max = 1;
        peer_write(ends[i]->peer, data, BYTES);
    }
    for (int i = 0; i < STREAMS; i++) {
        pump(rt, ends[i]->got_len == BYTES);
        cr_assert_arr_eq(ends[i]->got, data, BYTES);
    }
    if (backend == RT_URING) { /* who finds none on epoll is read in the next turn */
        cr_assert_gt(rt_get_stats(rt)->buffers_exhausted, 0);
    }
    /* Starving is no spin: with nothing to do a turn waits. */
    uint64_t turns = rt_get_stats(rt)->turns;
    int64_t cpu = cpu_us();
    pump_for(rt, 50);
    cr_assert_lt(rt_get_stats(rt)->turns - turns, 60);
    cr_assert_lt(cpu_us() - cpu, 20000);
    for (int i = 0; i < STREAMS; i++) {
        end_over(rt, ends[i]);
    }
    free(data);
    rt_free(rt);
}

EACH(rt_stream, a_paused_stream_gets_nothing_until_it_resumes) {
    struct rt *rt = rt_made(backend);
    struct end *end = end_made(rt);
    pump_for(rt, 5);
    rt_stream_pause(&end->stream);
    rt_stream_pause(&end->stream);
    pump_for(rt, 5);
    peer_write(end->peer, "hello", 5);
    pump_for(rt, 30);
    cr_assert_eq(end->got_len, 0);
    rt_stream_resume(&end->stream);
    rt_stream_resume(&end->stream);
    pump(rt, end->got_len == 5);
    cr_assert_arr_eq(end->got, "hello", 5);
    /* The end of the peer waits for the resume too. */
    rt_stream_pause(&end->stream);
    pump_for(rt, 5);
    peer_shutdown(end->peer);
    pump_for(rt, 20);
    cr_assert_eq(end->ended_calls, 0);
    rt_stream_resume(&end->stream);
    pump(rt, end->ended_calls == 1);
    end_over(rt, end);
    rt_free(rt);
}

EACH(rt_stream, pausing_back_and_forth_loses_and_repeats_nothing) {
    struct rt *rt = rt_with(backend, 8, 512);
    struct end *end = end_made(rt);
    size_t n = 200000, written = 0;
    char *data = pattern_new(n);
    unsigned x = 7;
    int64_t limit = now_ms() + PUMP_LIMIT_MS;
    while (end->got_len < n) {
        cr_assert_lt(now_ms(), limit);
        if (written < n) {
            size_t part = n - written < 700 ? n - written : 700;
            ssize_t r = peer_try_write(end->peer, data + written, part);
            written += r > 0 ? (size_t)r : 0;
        }
        x = x * 1103515245u + 12345u;
        switch (x >> 29) {
        case 0:
        case 1:
            rt_stream_pause(&end->stream);
            break;
        case 2:
            rt_stream_pause(&end->stream);
            rt_stream_resume(&end->stream);
            break;
        case 3:
            rt_stream_resume(&end->stream);
            rt_stream_pause(&end->stream);
            break;
        default:
            rt_stream_resume(&end->stream);
            break;
        }
        rt_turn(rt, 0);
    }
    cr_assert_arr_eq(end->got, data, n);
    end_over(rt, end);
    free(data);
    rt_free(rt);
}

/* A paused stream whose peer is gone reports its hang-up all the time to a careless poller. */
EACH(rt_stream, a_paused_stream_with_a_dead_peer_costs_nothing) {
    struct rt *rt = rt_made(backend);
    struct end *end = end_made(rt);
    rt_stream_pause(&end->stream);
    pump_for(rt, 5);
    peer_close(end->peer);
    end->peer = -1;
    uint64_t turns = rt_get_stats(rt)->turns;
    for (int64_t stop = now_ms() + 60; now_ms() < stop;) {
        rt_turn(rt, 20 * 1000 * 1000);
    }
    cr_assert_lt(rt_get_stats(rt)->turns - turns, 10);
    end_over(rt, end);
    rt_free(rt);
}

/* ---- Ends ---- */

EACH(rt_stream, after_a_half_close_the_answer_still_goes_out) {
    struct rt *rt = rt_made(backend);
    struct end *end = end_made(rt);
    peer_write(end->peer, "ask", 3);
    peer_shutdown(end->peer);
    pump(rt, end->ended_calls == 1);
    cr_assert_eq(end->ended_error, 0);
    cr_assert_eq(end->got_len, 3);
    end_send(end, "answer", 6);
    pump(rt, end->sent_calls == 1);
    char text[8];
    cr_assert_eq(peer_read(end->peer, text, 6), 6);
    cr_assert_arr_eq(text, "answer", 6);
    cr_assert_eq(end->ended_calls, 1);
    /* And once the peer is gone altogether, a failed send says so. */
    peer_close(end->peer);
    end->peer = -1;
    end_send(end, "more", 4);
    pump(rt, end->ended_calls == 2);
    cr_assert_lt(end->ended_error, 0);
    cr_assert_eq(end->sent_calls, 1);
    cr_assert_not(rt_stream_sending(&end->stream));
    end_over(rt, end);
    rt_free(rt);
}

static struct end *end_tcp(struct rt *rt) {
    int pair[2];
    tcp_pair(pair);
    return end_on(rt, pair[0], pair[1]);
}

EACH(rt_stream, a_reset_is_told_with_its_error) {
    struct rt *rt = rt_made(backend);
    struct end *end = end_tcp(rt);
    pump_for(rt, 5);
    peer_reset(end->peer);
    end->peer = -1;
    pump(rt, end->ended_calls == 1);
    cr_assert_eq(end->ended_error, -ECONNRESET);
    pump_for(rt, 10);
    cr_assert_eq(end->ended_calls, 1);
    end_over(rt, end);
    rt_free(rt);
}

EACH(rt_stream, data_before_the_end_comes_before_it) {
    struct rt *rt = rt_with(backend, 8, 1000);
    struct end *end = end_tcp(rt);
    size_t n = 123456;
    char *data = pattern_new(n);
    peer_write(end->peer, data, n);
    peer_close(end->peer);
    end->peer = -1;
    pump(rt, end->ended_calls == 1);
    cr_assert_eq(end->got_len, n);
    cr_assert_arr_eq(end->got, data, n);
    end_over(rt, end);
    free(data);
    rt_free(rt);
}

/* The peer was never told, once the stream would be. */
Test(rt_stream_sim, both_ends_of_a_path_that_died_learn_of_it) {
    struct rt *rt = rt_made(RT_SIM);
    struct end *end = end_tcp(rt);
    struct sim_peer *peer = peer_simulated(end->peer);
    sim_peer_vanish(peer);
    peer_write(end->peer, "lost", 4);
    pump(rt, end->ended_calls == 1);
    cr_assert_eq(end->ended_error, -ETIMEDOUT);
    cr_assert_eq(end->got_len, 0);
    nap_ms(PUMP_LIMIT_MS);
    cr_assert(sim_peer_broken(peer));
    char c;
    cr_assert_eq(sim_peer_read(peer, &c, 1), -ETIMEDOUT);
    end_over(rt, end);
    rt_free(rt);
}

/* ---- Sending ---- */

EACH(rt_stream, as_many_vectors_as_may_be_leave_in_order) {
    struct rt *rt = rt_made(backend);
    struct end *end = end_made(rt);
    char parts[RT_SEND_VECTORS][8];
    struct iovec vectors[RT_SEND_VECTORS];
    char want[RT_SEND_VECTORS * 8 + 1] = "", have[sizeof(want)];
    size_t len = 0;
    for (int i = 0; i < RT_SEND_VECTORS; i++) {
        int n = snprintf(parts[i], sizeof(parts[i]), "<%d>", i);
        vectors[i] = (struct iovec){parts[i], (size_t)n};
        memcpy(want + len, parts[i], (size_t)n);
        len += (size_t)n;
    }
    rt_stream_send(&end->stream, vectors, RT_SEND_VECTORS);
    memset(vectors, 0, sizeof(vectors)); /* the array was copied */
    cr_assert(rt_stream_sending(&end->stream));
    cr_assert_not(rt_stream_stuck(&end->stream));
    cr_assert_eq(rt_stream_taken(&end->stream), len);
    cr_assert_eq(end->sent_calls, 0);
    pump(rt, end->sent_calls == 1);
    cr_assert_eq(rt_stream_taken(&end->stream), 0);
    cr_assert_not(rt_stream_waited(&end->stream));
    cr_assert_eq(end->sent_bytes, len);
    cr_assert_eq(peer_read(end->peer, have, len), len);
    cr_assert_arr_eq(have, want, len);
    end_over(rt, end);
    rt_free(rt);
}

EACH(rt_stream, a_send_is_told_without_waiting_for_other_events) {
    struct rt *rt = rt_made(backend);
    struct end *end = end_made(rt);
    pump_for(rt, 5);
    end_send(end, "x", 1);
    int64_t start = now_ms();
    for (int i = 0; i < 3 && end->sent_calls == 0; i++) {
        rt_turn(rt, 5000 * 1000000ll);
    }
    cr_assert_eq(end->sent_calls, 1);
    cr_assert_lt(now_ms() - start, 1000);
    end_over(rt, end);
    rt_free(rt);
}

EACH(rt_stream, a_lazy_send_goes_out_at_once_and_is_told_with_the_next_event) {
    struct rt *rt = rt_made(backend);
    struct end *end = end_made(rt);
    pump_for(rt, 5);
    for (unsigned i = 1; i <= 50; i++) {
        struct iovec vector = {"pong", 4};
        rt_stream_send_lazy(&end->stream, &vector, 1);
        rt_turn(rt, 0);
        char text[4];
        cr_assert_eq(peer_read(end->peer, text, 4), 4);
        peer_write(end->peer, "ping", 4);
        pump(rt, end->got_len == i * 4);
        cr_assert_eq(end->sent_calls, i);
        cr_assert_eq(end->sent_last, 4);
    }
    end_over(rt, end);
    rt_free(rt);
}

/* Sends all of data, as an owner does it: what `sent` did not take goes again. */
static void send_all(struct rt *rt, struct end *end, const char *data, size_t n, bool lazy,
                     int reader, char *ret) {
    size_t read_len = 0;
    unsigned calls = end->sent_calls;
    int64_t limit = now_ms() + PUMP_LIMIT_MS;
    while (read_len < n) {
        cr_assert_lt(now_ms(), limit);
        if (!rt_stream_sending(&end->stream) && end->sent_bytes < n) {
            size_t left = n - end->sent_bytes;
            size_t half = left / 2;
            struct iovec vectors[2] = {{(void *)(data + end->sent_bytes), half},
                                       {(void *)(data + end->sent_bytes + half), left - half}};
            (lazy ? rt_stream_send_lazy : rt_stream_send)(&end->stream, vectors, 2);
        }
        rt_turn(rt, 1000000);
        ssize_t r =
            peer_try_read(reader, ret + read_len, n - read_len < 30000 ? n - read_len : 30000);
        read_len += r > 0 ? (size_t)r : 0;
    }
    pump(rt, end->sent_bytes == n || lazy);
    cr_assert_gt(end->sent_calls, calls);
}

EACH(rt_stream, ten_megabytes_reach_a_slow_reader_whole) {
    size_t n = 10 * 1000 * 1000;
    char *data = pattern_new(n), *have = malloc(n);
    for (int lazy = 0; lazy < 2; lazy++) {
        struct rt *rt = rt_made(backend);
        struct end *end = end_tcp(rt);
        memset(have, 0, n);
        send_all(rt, end, data, n, lazy, end->peer, have);
        cr_assert_arr_eq(have, data, n);
        cr_assert_gt(rt_get_stats(rt)->short_sends, 0);
        end_over(rt, end);
        rt_free(rt);
    }
    free(data);
    free(have);
}

EACH(rt_stream, a_reader_that_never_reads_delays_nobody) {
    struct rt *rt = rt_made(backend);
    struct end *stuck = end_tcp(rt), *other = end_tcp(rt);
    size_t n = 32 * 1000 * 1000;
    char *data = calloc(1, n);
    end_send(stuck, data, n);
    pump(rt, stuck->sent_calls == 1);
    cr_assert_lt(stuck->sent_bytes, n, "a short send");
    end_send(stuck, data, n);
    for (unsigned i = 1; i <= 20; i++) {
        end_send(other, "x", 1);
        pump(rt, other->sent_calls == i);
    }
    /* And a turn with nothing else to do sleeps. */
    uint64_t turns = rt_get_stats(rt)->turns;
    for (int64_t stop = now_ms() + 60; now_ms() < stop;) {
        rt_turn(rt, 20 * 1000 * 1000);
    }
    cr_assert_lt(rt_get_stats(rt)->turns - turns, 12);
    end_over(rt, stuck);
    end_over(rt, other);
    free(data);
    rt_free(rt);
}

/* ---- Closing ---- */

EACH(rt_stream, closing_cuts_off_a_send_in_flight) {
    struct rt *rt = rt_made(backend);
    struct end *end = end_tcp(rt);
    size_t n = 32 * 1000 * 1000;
    char *data = calloc(1, n);
    while (!rt_stream_sending(&end->stream)) { /* until the kernel takes no more */
        end_send(end, data, n);
        pump_for(rt, 50);
    }
    cr_assert(rt_stream_stuck(&end->stream));
    cr_assert(rt_stream_waited(&end->stream));
    cr_assert_eq(rt_stream_taken(&end->stream), 0);
    unsigned sent_calls = end->sent_calls;
    rt_stream_close(&end->stream);
    rt_stream_close(&end->stream);
    cr_assert_not(end->gone, "never from inside the call");
    pump(rt, end->gone);
    memset(data, 1, n);
    free(data);
    cr_assert_eq(end->sent_calls, sent_calls);
    rt_turn(rt, 0); /* the descriptor may go one turn after the memory */
    char sink[65536];
    while (peer_read(end->peer, sink, sizeof(sink)) > 0) {
    }
    end_over(rt, end);
    rt_free(rt);
}

EACH(rt_stream, closing_from_a_callback_ends_the_callbacks) {
    struct rt *rt = rt_with(backend, 8, 256);
    struct end *end = end_made(rt);
    end->close_on_data = true;
    char *data = pattern_new(20000);
    peer_write(end->peer, data, 20000);
    pump(rt, end->gone);
    cr_assert_eq(end->data_calls, 1);
    cr_assert_eq(end->ended_calls, 0);
    pump_for(rt, 5);
    cr_assert_eq(peer_try_write(end->peer, "x", 1), -1);
    end_over(rt, end);
    free(data);
    rt_free(rt);
}

EACH(rt_stream, a_descriptor_is_closed_once_and_not_before_its_last_request) {
    struct rt *rt = rt_made(backend);
    for (int round = 0; round < 200; round++) {
        struct end *end = end_made(rt);
        peer_write(end->peer, "abc", 3);
        if (round % 3 == 0) {
            pump(rt, end->got_len == 3);
        } else if (round % 3 == 1) {
            rt_turn(rt, 0);
        }
        if (round % 2) {
            end_send(end, "reply", 5);
        }
        rt_stream_close(&end->stream);
        /* Meanwhile new streams come and take the lowest free numbers. */
        struct end *next = end_made(rt);
        peer_write(next->peer, "next", 4);
        pump(rt, end->gone && next->got_len == 4);
        cr_assert_arr_eq(next->got, "next", 4);
        cr_assert_eq(next->ended_calls, 0);
        end_over(rt, end);
        end_over(rt, next);
    }
    rt_turn(rt, 0);
    if (backend == RT_SIM) {
        cr_assert_eq(sim_open_sockets(harness_sim), 0);
    } else {
        int fd = dup(0);
        cr_assert_lt(fd, 32, "descriptors leaked: the next is %d", fd);
        close(fd);
    }
    rt_free(rt);
}

EACH(rt_stream, a_runtime_that_ends_closes_what_was_asked_to_close) {
    struct rt *rt = rt_made(backend);
    struct end *end = end_made(rt);
    pump_for(rt, 2);
    rt_stream_close(&end->stream);
    rt_free(rt);
    char c;
    cr_assert_eq(peer_read(end->peer, &c, 1), 0);
    peer_close(end->peer);
    free(end);
}

/* ---- Many at once ---- */

/* More at a time than queues and pool hold; test_rt_faults.c has queues that overflow for certain.
 */
BOTH(rt_stream, five_thousand_streams_that_speak_at_once_are_all_heard) {
    enum { STREAMS = 5000 };
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < STREAMS * 2 + 100) {
        cr_skip_test("not enough descriptors");
    }
    struct rt *rt = rt_with(backend, 256, 1024);
    struct end **ends = calloc(STREAMS, sizeof(*ends));
    for (int i = 0; i < STREAMS; i++) {
        ends[i] = end_made(rt);
    }
    rt_turn(rt, 0);
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < STREAMS; i++) {
            peer_write(ends[i]->peer, "request", 7);
        }
        for (int i = 0; i < STREAMS; i++) {
            pump(rt, ends[i]->got_len == (size_t)round * 7);
            end_send(ends[i], "reply", 5);
        }
        for (int i = 0; i < STREAMS; i++) {
            pump(rt, ends[i]->sent_bytes == (size_t)round * 5);
            char text[5];
            cr_assert_eq(peer_read(ends[i]->peer, text, 5), 5);
        }
    }
    for (int i = 0; i < STREAMS; i++) {
        close(ends[i]->peer);
        ends[i]->peer = -1;
    }
    for (int i = 0; i < STREAMS; i++) {
        pump(rt, ends[i]->ended_calls == 1);
        rt_stream_close(&ends[i]->stream);
    }
    for (int i = 0; i < STREAMS; i++) {
        pump(rt, ends[i]->gone);
        end_over(rt, ends[i]);
    }
    free(ends);
    rt_free(rt);
}

/* ---- A whole echo server against threads ---- */

struct echo_client {
    int socket;
    unsigned seed;
    size_t bytes;
    bool ok;
};

static void *echo_writer(void *arg) {
    struct echo_client *client = arg;
    char *data = pattern_new(client->bytes);
    unsigned x = client->seed;
    for (size_t done = 0; done < client->bytes;) {
        x = x * 1103515245u + 12345u;
        size_t part = 1 + (x >> 8) % 20000;
        part = part < client->bytes - done ? part : client->bytes - done;
        ssize_t r = send(client->socket, data + done, part, MSG_NOSIGNAL);
        if (r <= 0) {
            break;
        }
        done += (size_t)r;
    }
    free(data);
    return NULL;
}

static void *echo_reader(void *arg) {
    struct echo_client *client = arg;
    char *want = pattern_new(client->bytes), *have = malloc(client->bytes);
    size_t done = 0;
    while (done < client->bytes) {
        ssize_t r = recv(client->socket, have + done, client->bytes - done, 0);
        if (r <= 0) {
            break;
        }
        done += (size_t)r;
    }
    client->ok = done == client->bytes && memcmp(want, have, done) == 0;
    free(want);
    free(have);
    return NULL;
}

BOTH(rt_stream, an_echo_server_serves_many_writers_and_slow_readers) {
    enum { CLIENTS = 8 };
    struct rt *rt = rt_with(backend, 16, 4096);
    struct echo echoes[CLIENTS];
    struct echo_client clients[CLIENTS];
    pthread_t writers[CLIENTS], readers[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        int pair[2];
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        echo_open(rt, &echoes[i], pair[0]);
        clients[i] = (struct echo_client){pair[1], (unsigned)i + 1, 2000000, false};
        pthread_create(&writers[i], NULL, echo_writer, &clients[i]);
    }
    for (int i = 0; i < CLIENTS; i++) {
        pump(rt, echoes[i].pauses > 0); /* nobody reads yet: the echoes fill up */
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_create(&readers[i], NULL, echo_reader, &clients[i]);
    }
    uint64_t want = (uint64_t)CLIENTS * 2000000;
    pump(rt, rt_get_stats(rt)->sent_bytes == want);
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(writers[i], NULL);
        pthread_join(readers[i], NULL);
        cr_assert(clients[i].ok, "client %d", i);
        close(clients[i].socket);
        pump(rt, echoes[i].gone);
        outbuf_fini(&echoes[i].out);
    }
    cr_assert_eq(rt_get_stats(rt)->recv_bytes, want);
    rt_free(rt);
}
