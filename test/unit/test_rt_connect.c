/* SPDX-License-Identifier: BSD-3-Clause */
/* Streams that connect: the other side is a listener of the same runtime, or nobody. */
#include "net/rt_private.h"
#include "test/unit/rt_harness.h"

#include <fcntl.h>

static const struct rt_connect_options anywhere = {.source = NULL};

static struct end *end_connecting(struct rt *rt, const char *address, uint16_t port) {
    struct end *end = calloc(1, sizeof(*end));
    end->peer = -1;
    int r = rt_stream_connect(rt, &end->stream, address, port, &anywhere, &end_events);
    cr_assert_eq(r, 0, "connect to %s: %s", address, strerror(-r));
    cr_assert_eq(end->connected_calls + end->ended_calls, 0);
    return end;
}

static uint16_t port_of(const struct door *door) {
    return rt_listener_port(door->listener);
}

/* A port that nobody listens on. */
static uint16_t closed_port(struct rt *rt) {
    struct door *door = door_new(rt, "127.0.0.1", 0);
    uint16_t port = port_of(door);
    rt_unlisten(rt, door->listener);
    rt_turn(rt, 0);
    free(door);
    return port;
}

EACH(rt_connect, a_stream_connects_and_talks) {
    struct rt *rt = rt_made(backend);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    struct end *caller = end_connecting(rt, "127.0.0.1", port_of(door));
    pump(rt, door->count == 1 && caller->connected_calls == 1);
    struct end *callee = end_on(rt, door->sockets[0], -1);
    end_send(caller, "hello", 5);
    pump(rt, callee->got_len == 5 && caller->sent_calls == 1);
    cr_assert_eq(memcmp(callee->got, "hello", 5), 0);
    end_send(callee, "you", 3);
    pump(rt, caller->got_len == 3);
    cr_assert_eq(memcmp(caller->got, "you", 3), 0);
    cr_assert_eq(caller->ended_calls, 0);
    cr_assert_eq(caller->connected_calls, 1);
    cr_assert_eq(rt_get_stats(rt)->connects, 1);
    end_over(rt, caller);
    pump(rt, callee->ended_calls == 1);
    cr_assert_eq(callee->ended_error, 0);
    end_over(rt, callee);
    rt_free(rt);
    free(door);
}

EACH(rt_connect, both_ends_name_the_same_addresses) {
    struct rt *rt = rt_made(backend);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    struct end *caller = end_connecting(rt, "127.0.0.1", port_of(door));
    pump(rt, door->count == 1 && caller->connected_calls == 1);
    char here[RT_ADDRESS_BYTES], there[RT_ADDRESS_BYTES];
    char peer_here[RT_ADDRESS_BYTES], peer_there[RT_ADDRESS_BYTES], text[RT_ADDRESS_BYTES];
    rt_socket_delays(rt, caller->stream.socket, false);
    rt_socket_keep_alive(rt, caller->stream.socket, 30);
    rt_socket_addresses(rt, caller->stream.socket, there, here);
    rt_socket_addresses(rt, door->sockets[0], peer_there, peer_here);
    snprintf(text, sizeof(text), "127.0.0.1:%u", port_of(door));
    cr_assert_str_eq(there, text);
    cr_assert_str_eq(here, peer_there);
    cr_assert_str_eq(there, peer_here);
    end_over(rt, caller);
    door_close_all(door);
    rt_free(rt);
    free(door);
}

EACH(rt_connect, a_port_where_nobody_listens_refuses) {
    struct rt *rt = rt_made(backend);
    struct end *caller = end_connecting(rt, "127.0.0.1", closed_port(rt));
    pump(rt, caller->ended_calls == 1);
    cr_assert_eq(caller->ended_error, -ECONNREFUSED, "%s", strerror(-caller->ended_error));
    cr_assert_eq(caller->connected_calls, 0);
    pump_for(rt, 20);
    cr_assert_eq(caller->ended_calls, 1);
    cr_assert_eq(rt_get_stats(rt)->connect_errors, 1);
    end_over(rt, caller);
    rt_free(rt);
}

EACH(rt_connect, may_be_closed_when_it_is_told) {
    struct rt *rt = rt_made(backend);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    struct end *refused = end_connecting(rt, "127.0.0.1", closed_port(rt));
    struct end *taken = end_connecting(rt, "127.0.0.1", port_of(door));
    refused->close_on_end = taken->close_on_connect = true;
    pump(rt, refused->gone && taken->gone);
    end_over(rt, refused);
    end_over(rt, taken);
    pump(rt, door->count == 1);
    door_close_all(door);
    rt_free(rt);
    free(door);
}

EACH(rt_connect, what_is_no_address_is_refused_at_once) {
    struct rt *rt = rt_made(backend);
    struct rt_stream stream;
    static const char *const none[] = {"",          "localhost", "127.0.0",
                                       "1.2.3.4.5", "::g",       "127.0.0.1 "};
    for (unsigned i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        cr_assert_eq(rt_stream_connect(rt, &stream, none[i], 1, &anywhere, &end_events), -EINVAL);
    }
    rt_free(rt);
}

BOTH(rt_connect, goes_out_from_the_source_it_is_given) {
    struct rt *rt = rt_made(backend);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    static const struct {
        const char *source, *from;
    } rows[] = {{"127.0.0.2", "127.0.0.2:"}, /* where it may not be, from anywhere */
                {"192.0.2.1", "127.0.0.1:"},
                {"::1", "127.0.0.1:"},
                {"nowhere", "127.0.0.1:"},
                {"", "127.0.0.1:"}};
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct rt_connect_options options = {.source = rows[i].source};
        struct end *end = calloc(1, sizeof(*end));
        end->peer = -1;
        cr_assert_eq(
            rt_stream_connect(rt, &end->stream, "127.0.0.1", port_of(door), &options, &end_events),
            0);
        pump(rt, end->connected_calls == 1);
        char here[RT_ADDRESS_BYTES], there[RT_ADDRESS_BYTES];
        rt_socket_addresses(rt, end->stream.socket, there, here);
        cr_assert_eq(strncmp(here, rows[i].from, strlen(rows[i].from)), 0, "%s: from %s",
                     rows[i].source, here);
        end_over(rt, end);
        pump(rt, door->count == (int)i + 1);
    }
    door_close_all(door);
    rt_free(rt);
    free(door);
}

EACH(rt_connect, six_is_a_family_too) {
    struct rt *rt = rt_made(backend);
    struct door *door = calloc(1, sizeof(*door));
    door->rt = rt;
    if (rt_listen_tcp(rt, "::1", 0, &plain, door_accept, door, &door->listener) < 0) {
        rt_free(rt);
        free(door);
        cr_skip_test("no IPv6 here");
    }
    struct end *caller = end_connecting(rt, "::1", port_of(door));
    pump(rt, door->count == 1 && caller->connected_calls == 1);
    end_over(rt, caller);
    door_close_all(door);
    rt_free(rt);
    free(door);
}

/* Bytes and the end may be there before the connecting side has heard that it is connected. */
EACH(rt_connect, a_peer_that_speaks_and_leaves_at_once_is_heard) {
    for (int round = 0; round < 20; round++) {
        struct rt *rt = rt_made(backend);
        struct door *door = door_new(rt, "127.0.0.1", 0);
        struct end *caller = end_connecting(rt, "127.0.0.1", port_of(door));
        pump(rt, door->count == 1);
        struct end *callee = end_on(rt, door->sockets[0], -1);
        end_send(callee, "go away", 7);
        pump(rt, callee->sent_calls == 1);
        end_over(rt, callee);
        for (int i = 0; i < 100 && caller->ended_calls == 0; i++) {
            pump_for(rt, 5);
            if (caller->connected_calls) {
                rt_stream_look_again(&caller->stream);
            }
        }
        cr_assert_eq(caller->ended_calls, 1);
        cr_assert_eq(caller->ended_error, 0);
        cr_assert_eq(caller->connected_calls, 1);
        cr_assert_eq(caller->got_len, 7);
        end_over(rt, caller);
        rt_free(rt);
        free(door);
    }
}

EACH(rt_connect, what_is_paused_before_it_connects_stays_so) {
    struct rt *rt = rt_made(backend);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    struct end *caller = end_connecting(rt, "127.0.0.1", port_of(door));
    struct end *eager = end_connecting(rt, "127.0.0.1", port_of(door));
    rt_stream_pause(&caller->stream);
    rt_stream_pause(&eager->stream);
    rt_stream_resume(&eager->stream);
    pump(rt, door->count == 2 && caller->connected_calls == 1 && eager->connected_calls == 1);
    struct end *callees[2];
    for (int i = 0; i < 2; i++) {
        callees[i] = end_on(rt, door->sockets[i], -1);
        end_send(callees[i], "data", 4);
    }
    pump(rt, eager->got_len == 4);
    pump_for(rt, 20);
    cr_assert_eq(caller->got_len, 0);
    rt_stream_resume(&caller->stream);
    pump(rt, caller->got_len == 4);
    end_over(rt, caller);
    end_over(rt, eager);
    end_over(rt, callees[0]);
    end_over(rt, callees[1]);
    rt_free(rt);
    free(door);
}

EACH(rt_connect, may_be_closed_in_the_same_breath) {
    struct rt *rt = rt_made(backend);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    struct end *ends[30];
    for (int i = 0; i < 30; i++) {
        ends[i] = end_connecting(rt, "127.0.0.1", i % 3 ? port_of(door) : closed_port(rt));
        if (i % 2) {
            rt_stream_close(&ends[i]->stream);
        }
    }
    for (int i = 0; i < 30; i++) {
        end_over(rt, ends[i]);
    }
    pump_for(rt, 20);
    door_close_all(door);
    if (harness_sim != NULL) {
        cr_assert_eq(sim_open_sockets(harness_sim), 0);
    }
    rt_free(rt);
    free(door);
}

EACH(rt_connect, many_connect_side_by_side) {
    enum { COUNT = 200 };
    struct rt *rt = rt_made(backend);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    struct end *callers[COUNT], *callees[COUNT];
    for (int i = 0; i < COUNT; i++) {
        callers[i] = end_connecting(rt, "127.0.0.1", port_of(door));
    }
    pump(rt, door->count == COUNT);
    for (int i = 0; i < COUNT; i++) {
        pump(rt, callers[i]->connected_calls == 1);
        callees[i] = end_on(rt, door->sockets[i], -1);
        end_send(callees[i], "x", 1);
    }
    for (int i = 0; i < COUNT; i++) {
        pump(rt, callers[i]->got_len == 1);
        end_over(rt, callers[i]);
        end_over(rt, callees[i]);
    }
    rt_free(rt);
    free(door);
}

/* ---- Nobody answers ---- */

/* A port whose queue is full, so that the kernel says nothing to who connects: *ret_fd listens, and
 * the fillers are in. An address that is not routed would do, where there is a network. */
static uint16_t full_port(int *ret_fd, int *fillers, int count) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    *ret_fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(*ret_fd, (struct sockaddr *)&address, len), 0);
    cr_assert_eq(listen(*ret_fd, 0), 0);
    cr_assert_eq(getsockname(*ret_fd, (struct sockaddr *)&address, &len), 0);
    for (int i = 0; i < count; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(fillers[i], (struct sockaddr *)&address, len);
    }
    return ntohs(address.sin_port);
}

/* The time is the caller's: it closes, and hears of nothing else. */
BOTH(rt_connect, who_gets_no_answer_may_give_up) {
    struct rt *rt = rt_made(backend);
    int fd, fillers[8];
    uint16_t port = full_port(&fd, fillers, 8);
    struct end *caller = end_connecting(rt, "127.0.0.1", port);
    pump_for(rt, 100);
    cr_assert_eq(caller->connected_calls, 0);
    cr_assert_eq(caller->ended_calls, 0);
    cr_assert(rt_stream_sending(&caller->stream));
    rt_stream_close(&caller->stream);
    int64_t closed_ms = now_ms();
    pump(rt, caller->gone);
    cr_assert_lt(now_ms() - closed_ms, 2000);
    cr_assert_eq(caller->ended_calls, 0);
    end_over(rt, caller);
    for (int i = 0; i < 8; i++) {
        close(fillers[i]);
    }
    close(fd);
    rt_free(rt);
}

static uint16_t local_port(rt_socket socket) {
    struct sockaddr_in address;
    socklen_t len = sizeof(address);
    cr_assert_eq(getsockname(socket, (struct sockaddr *)&address, &len), 0);
    return ntohs(address.sin_port);
}

/* All of it happens while the runtime looks elsewhere: it hears of the connection, the bytes and
 * the end at once, in this order. The kernel asks once more after a second, when there is room. */
BOTH(rt_connect, what_came_right_behind_the_answer_is_heard) {
    struct rt *rt = rt_made(backend);
    int fd, fillers[2];
    uint16_t port = full_port(&fd, fillers, 2);
    struct end *caller = end_connecting(rt, "127.0.0.1", port);
    pump_for(rt, 50);
    cr_assert_eq(caller->connected_calls, 0);
    uint16_t own = local_port(caller->stream.socket);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    bool came = false;
    for (int64_t until_ms = now_ms() + PUMP_LIMIT_MS; !came && now_ms() < until_ms;) {
        struct sockaddr_in from;
        socklen_t len = sizeof(from);
        int peer = accept(fd, (struct sockaddr *)&from, &len);
        if (peer < 0) {
            nap_ms(5);
            continue;
        }
        came = ntohs(from.sin_port) == own;
        peer_write(peer, "go away", 7);
        close(peer);
    }
    cr_assert(came);
    pump(rt, caller->got_len == 7);
    for (int i = 0; i < 100 && caller->ended_calls == 0; i++) {
        rt_stream_look_again(&caller->stream);
        pump_for(rt, 5);
    }
    cr_assert_eq(caller->connected_calls, 1);
    cr_assert_eq(caller->ended_calls, 1);
    cr_assert_eq(caller->ended_error, 0);
    end_over(rt, caller);
    close(fillers[0]);
    close(fillers[1]);
    close(fd);
    rt_free(rt);
}

BOTH(rt_connect, out_of_descriptors_is_said_at_once) {
    struct rt *rt = rt_made(backend);
    struct rt_stream stream;
    rt_turn(rt, 0);
    int next = dup(0);
    close(next);
    struct rlimit before, none;
    getrlimit(RLIMIT_NOFILE, &before);
    none = (struct rlimit){(rlim_t)next, before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    cr_assert_eq(rt_stream_connect(rt, &stream, "127.0.0.1", 1, &anywhere, &end_events), -EMFILE);
    setrlimit(RLIMIT_NOFILE, &before);
    rt_free(rt);
}

/* The kernel's patience is minutes; what it says then is what the caller hears. */
BOTH(rt_connect, a_late_error_is_told) {
    struct rt *rt = rt_made(backend);
    rt_inject(rt, RT_FAULT_CONNECT, -ETIMEDOUT, 1);
    struct end *caller = end_connecting(rt, "127.0.0.1", 1);
    pump(rt, caller->ended_calls == 1);
    cr_assert_eq(caller->ended_error, -ETIMEDOUT);
    end_over(rt, caller);
    rt_free(rt);
}

Test(rt_connect_sim, a_host_that_is_not_there_times_out) {
    struct rt *rt = rt_made(RT_SIM);
    struct end *caller = end_connecting(rt, "192.0.2.1", 6379);
    struct end *hasty = end_connecting(rt, "192.0.2.1", 6379);
    pump_for(rt, 100);
    cr_assert_eq(caller->ended_calls, 0);
    rt_stream_close(&hasty->stream);
    pump(rt, hasty->gone && caller->ended_calls == 1);
    cr_assert_eq(caller->ended_error, -ETIMEDOUT);
    cr_assert_eq(caller->connected_calls + hasty->connected_calls + hasty->ended_calls, 0);
    end_over(rt, caller);
    end_over(rt, hasty);
    cr_assert_eq(sim_connections(harness_sim), 0);
    rt_free(rt);
}

/* Whatever the network does, each is told once, and all is gone in the end. */
Test(rt_connect_sim, a_bad_network_loses_nobody) {
    struct rt *rt = rt_made(RT_SIM);
    struct sim_faults faults = {.latency_min_ns = 1000,
                                .latency_max_ns = 2000000,
                                .stall = 3000,
                                .stall_max_ns = 50000000,
                                .split = 20000,
                                .reset = 3000,
                                .vanish = 3000,
                                .accept_error = 6000,
                                .defer = 6000,
                                .shuffle = 65536};
    sim_set_faults(harness_sim, &faults);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    unsigned connected = 0, failed = 0;
    for (int round = 0; round < 40; round++) {
        struct end *callers[20];
        for (int i = 0; i < 20; i++) {
            callers[i] = end_connecting(rt, "127.0.0.1", port_of(door));
        }
        for (int i = 0; i < 20; i++) {
            pump(rt, callers[i]->connected_calls + callers[i]->ended_calls >= 1);
            connected += callers[i]->connected_calls;
            failed += callers[i]->connected_calls == 0;
        }
        for (int i = 0; i < 20; i++) {
            end_over(rt, callers[i]);
        }
        pump_for(rt, 200);
        door_close_all(door);
    }
    cr_assert_gt(connected, 400);
    cr_assert_gt(failed, 5);
    pump_for(rt, 10000);
    door_close_all(door);
    cr_assert_eq(sim_open_sockets(harness_sim), 0);
    rt_free(rt);
    free(door);
}
