/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/unit/rt_harness.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>

/* The peer's own. */
static uint16_t port_of(int peer) {
    struct sim_peer *simulated = peer_simulated(peer);
    if (simulated) {
        return sim_peer_port(simulated);
    }
    struct sockaddr_in mine;
    socklen_t len = sizeof(mine);
    getsockname(peer, (struct sockaddr *)&mine, &len);
    return ntohs(mine.sin_port);
}

EACH(rt_listen, a_connection_is_accepted_and_described) {
    struct rt *rt = rt_made(backend);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    uint16_t port = rt_listener_port(door->listener);
    cr_assert_neq(port, 0);
    int peer = dial(port);
    pump(rt, door->count == 1);
    cr_assert_not(door->last.is_unix);
    cr_assert(door->last.is_local);
    char peer_text[RT_ADDRESS_BYTES], local_text[RT_ADDRESS_BYTES], want[64];
    rt_socket_addresses(rt, door->last.socket, peer_text, local_text);
    snprintf(want, sizeof(want), "127.0.0.1:%u", port);
    cr_assert_str_eq(local_text, want);
    snprintf(want, sizeof(want), "127.0.0.1:%u", port_of(peer));
    cr_assert_str_eq(peer_text, want);
    if (backend != RT_SIM) {
        cr_assert(fcntl(door->last.socket, F_GETFD) & FD_CLOEXEC);
    }
    peer_close(peer);
    door_close_all(door);
    rt_free(rt);
    free(door);
}

BOTH(rt_listen, options_reach_the_socket) {
    struct rt *rt = rt_made(backend);
    struct door *door = door_new(rt, "*", 0);
    int peer = dial(rt_listener_port(door->listener));
    pump(rt, door->count == 1);
    rt_socket_delays(rt, door->last.socket, false);
    rt_socket_keep_alive(rt, door->last.socket, 300);
    int value = 0;
    socklen_t len = sizeof(value);
    getsockopt(door->last.socket, IPPROTO_TCP, TCP_NODELAY, &value, &len);
    cr_assert_neq(value, 0);
    rt_socket_delays(rt, door->last.socket, true);
    getsockopt(door->last.socket, IPPROTO_TCP, TCP_NODELAY, &value, &len);
    cr_assert_eq(value, 0);
    getsockopt(door->last.socket, SOL_SOCKET, SO_KEEPALIVE, &value, &len);
    cr_assert_neq(value, 0);
    getsockopt(door->last.socket, IPPROTO_TCP, TCP_KEEPIDLE, &value, &len);
    cr_assert_eq(value, 300);
    getsockopt(door->last.socket, IPPROTO_TCP, TCP_KEEPINTVL, &value, &len);
    cr_assert_eq(value, 100);
    rt_socket_keep_alive(rt, door->last.socket, 0);
    getsockopt(door->last.socket, SOL_SOCKET, SO_KEEPALIVE, &value, &len);
    cr_assert_eq(value, 0);
    close(peer);
    door_close_all(door);
    rt_free(rt);
    free(door);
}

EACH(rt_listen, a_refused_socket_gets_its_text_and_the_end) {
    struct rt *rt = rt_made(backend);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    int peer = dial(rt_listener_port(door->listener));
    peer_write(peer, "PING\r\n", 6);
    pump(rt, door->count == 1);
    rt_socket_refuse(rt, door->last.socket, BYTES("-ERR full\r\n"));
    char text[32];
    cr_assert_eq(peer_read(peer, text, sizeof(text)), 11);
    cr_assert_arr_eq(text, "-ERR full\r\n", 11);
    peer_close(peer);
    rt_free(rt);
    free(door);
}

EACH(rt_listen, a_taken_port_is_told) {
    struct rt *rt = rt_made(backend);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    struct rt_listener *second = NULL;
    cr_assert_eq(rt_listen_tcp(rt, "127.0.0.1", rt_listener_port(door->listener), &plain,
                               door_accept, door, &second),
                 -EADDRINUSE);
    cr_assert_lt(rt_listen_tcp(rt, "no-such-name.invalid", 0, &plain, door_accept, door, &second),
                 0);
    cr_assert_eq(rt_listen_tcp(rt, "192.0.2.1", 0, &plain, door_accept, door, &second),
                 -EADDRNOTAVAIL);
    rt_free(rt);
    free(door);
}

EACH(rt_listen, a_port_is_free_again_as_soon_as_nobody_listens) {
    struct rt *rt = rt_made(backend);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    uint16_t port = rt_listener_port(door->listener);
    for (int i = 0; i < 20; i++) {
        int peer = dial(port);
        pump(rt, door->count == 1);
        door_close_all(door);
        peer_close(peer);
        if (i % 2) {
            rt_turn(rt, 0);
        }
        rt_unlisten(rt, door->listener);
        cr_assert_eq(dial(port), -ECONNREFUSED);
        cr_assert_eq(
            rt_listen_tcp(rt, "127.0.0.1", port, &plain, door_accept, door, &door->listener), 0);
    }
    rt_free(rt);
    free(door);
}

EACH(rt_listen, a_listener_may_end_in_its_own_callback) {
    struct rt *rt = rt_made(backend);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    door->unlisten_on_accept = true;
    int peers[5];
    for (int i = 0; i < 5; i++) {
        peers[i] = dial(rt_listener_port(door->listener));
    }
    pump(rt, door->count == 1);
    pump_for(rt, 10);
    cr_assert_eq(door->count, 1);
    for (int i = 0; i < 5; i++) {
        peer_close(peers[i]);
    }
    door_close_all(door);
    rt_free(rt);
    free(door);
}

BOTH(rt_listen, names_and_both_families_work) {
    struct rt *rt = rt_made(backend);
    struct addrinfo *known = NULL;
    bool has_name = getaddrinfo("localhost", NULL, NULL, &known) == 0; /* not without /etc/hosts */
    struct door *named = door_new(rt, has_name ? "localhost" : "127.0.0.1", 0);
    if (has_name) {
        freeaddrinfo(known);
    }
    cr_assert_neq(rt_listener_port(named->listener), 0);
    int six = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    if (six >= 0 && bind(six, (struct sockaddr *)&to, sizeof(to)) == 0) {
        struct door *door6 = door_new(rt, "::*", 0);
        uint16_t port = rt_listener_port(door6->listener);
        struct door *door4 = door_new(rt, "*", port); /* v6 only, so the port is free for v4 */
        close(six);
        six = socket(AF_INET6, SOCK_STREAM, 0);
        to.sin6_port = htons(port);
        cr_assert_eq(connect(six, (struct sockaddr *)&to, sizeof(to)), 0);
        pump(rt, door6->count == 1);
        cr_assert(door6->last.is_local);
        char peer[RT_ADDRESS_BYTES], local[RT_ADDRESS_BYTES], want[64];
        rt_socket_addresses(rt, door6->last.socket, peer, local);
        snprintf(want, sizeof(want), "[::1]:%u", port);
        cr_assert_str_eq(local, want);
        int four = dial(port);
        pump(rt, door4->count == 1);
        close(four);
        door_close_all(door6);
        door_close_all(door4);
        free(door6->listener ? door6 : NULL);
        free(door4);
    }
    close(six);
    rt_free(rt);
    free(named);
}

EACH(rt_listen, three_hundred_connections_at_once_are_accepted) {
    enum { CONNECTIONS = 300 };
    struct rt *rt = rt_made(backend);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    int peers[CONNECTIONS];
    for (int i = 0; i < CONNECTIONS; i++) {
        peers[i] = dial(rt_listener_port(door->listener));
        cr_assert_geq(peers[i], 0);
    }
    pump(rt, door->count == CONNECTIONS);
    for (int i = 0; i < CONNECTIONS; i++) {
        peer_close(peers[i]);
    }
    door_close_all(door);
    rt_free(rt);
    free(door);
}

/* Connections that come and go, many of them reset before they are accepted. */
EACH(rt_listen, aborted_connections_do_not_end_listening) {
    struct rt *rt = rt_made(backend);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    for (int i = 0; i < 500; i++) {
        int peer = dial(rt_listener_port(door->listener));
        cr_assert_geq(peer, 0);
        peer_reset(peer);
        rt_turn(rt, 0);
        door_close_all(door);
    }
    int peer = dial(rt_listener_port(door->listener));
    door_close_all(door);
    pump(rt, door->count >= 1);
    peer_close(peer);
    door_close_all(door);
    rt_free(rt);
    free(door);
}

static bool is_told_and_closed(int peer) {
    char text[16];
    return recv(peer, text, sizeof(text), MSG_WAITALL) == 4 && memcmp(text, "full", 4) == 0;
}

/* As bugs.md D tells of peers: out of descriptors, a server that spins on accept or stops accepting
 * for good. And ours let those wait whom it could not accept, for as long as nobody left. */
BOTH(rt_listen, out_of_descriptors_is_told_and_waited_out_cheaply) {
    struct rt *rt = rt_made(backend);
    rt_turn(rt, 0);
    int peers[10];
    for (int i = 0; i < 10; i++) {
        peers[i] = socket(AF_INET, SOCK_STREAM, 0);
    }
    int next = dup(0);
    close(next);
    struct rlimit old, low;
    getrlimit(RLIMIT_NOFILE, &old);
    low = old;
    low.rlim_cur = (rlim_t)next + 5; /* room for the listener, the spare one and three of eight */
    setrlimit(RLIMIT_NOFILE, &low);
    struct door *door = door_new(rt, "127.0.0.1", 0);
    uint16_t port = rt_listener_port(door->listener);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < 8; i++) {
        cr_assert_eq(connect(peers[i], (struct sockaddr *)&to, sizeof(to)), 0);
    }
    pump(rt, door->count == 3 && door->refused == 5);
    for (int i = 3; i < 8; i++) {
        cr_assert(is_told_and_closed(peers[i]));
    }
    uint64_t turns = rt_get_stats(rt)->turns;
    int64_t cpu = cpu_us();
    for (int64_t stop = now_ms() + 200; now_ms() < stop;) {
        rt_turn(rt, 50 * 1000 * 1000);
    }
    cr_assert_lt(rt_get_stats(rt)->turns - turns, 80);
    cr_assert_lt(cpu_us() - cpu, 20000);
    cr_assert_lt(rt_get_stats(rt)->accept_errors, 60);
    /* One more is told as well. One leaves, one comes in. */
    cr_assert_eq(connect(peers[8], (struct sockaddr *)&to, sizeof(to)), 0);
    pump(rt, door->refused == 6);
    cr_assert(is_told_and_closed(peers[8]));
    rt_socket_close(rt, door->sockets[0]);
    pump_for(rt, 30);
    cr_assert_eq(connect(peers[9], (struct sockaddr *)&to, sizeof(to)), 0);
    pump(rt, door->count == 4);
    cr_assert_eq(door->refused, 6);
    setrlimit(RLIMIT_NOFILE, &old);
    door->sockets[0] = dup(0);
    door_close_all(door);
    for (int i = 0; i < 10; i++) {
        close(peers[i]);
    }
    rt_free(rt);
    free(door);
}

/* ---- Unix sockets ---- */

static void unix_path(char path[64], enum rt_backend backend) {
    snprintf(path, 64, "/tmp/shoal-test-%d-%d.sock", (int)getpid(), (int)backend);
}

static int dial_unix(const char *path) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    strcpy(to.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

BOTH(rt_listen, a_unix_socket_has_its_permissions_and_path) {
    struct rt *rt = rt_made(backend);
    char path[64], want[80];
    unix_path(path, backend);
    struct door door = {.rt = rt};
    struct rt_listen_options options = {.backlog = 10, .unix_mode = 0701};
    mode_t old = umask(0277); /* whatever the mask is */
    cr_assert_eq(rt_listen_unix(rt, path, &options, door_accept, &door, &door.listener), 0);
    umask(old);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0701, "mode %o", st.st_mode & 07777);
    int peer = dial_unix(path);
    cr_assert_geq(peer, 0);
    pump(rt, door.count == 1);
    cr_assert(door.last.is_unix);
    cr_assert(door.last.is_local);
    char peer_text[RT_ADDRESS_BYTES], local_text[RT_ADDRESS_BYTES];
    rt_socket_addresses(rt, door.last.socket, peer_text, local_text);
    snprintf(want, sizeof(want), "%s:0", path);
    cr_assert_str_eq(peer_text, want);
    cr_assert_str_eq(local_text, want);
    door_close_all(&door);
    close(peer);
    rt_unlisten(rt, door.listener);
    cr_assert_eq(stat(path, &st), -1, "the file goes with the listener");
    rt_free(rt);
}

BOTH(rt_listen, a_stale_unix_socket_is_replaced_and_a_file_is_not) {
    struct rt *rt = rt_made(backend);
    char path[64];
    unix_path(path, backend);
    struct door door = {.rt = rt};
    int stale = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strcpy(at.sun_path, path);
    unlink(path);
    cr_assert_eq(bind(stale, (struct sockaddr *)&at, sizeof(at)), 0);
    close(stale);
    cr_assert_eq(rt_listen_unix(rt, path, &plain, door_accept, &door, &door.listener), 0);
    int peer = dial_unix(path);
    pump(rt, door.count == 1);
    door_close_all(&door);
    close(peer);
    rt_unlisten(rt, door.listener);
    int file = open(path, O_CREAT | O_WRONLY, 0600);
    cr_assert_eq(write(file, "data", 4), 4);
    close(file);
    cr_assert_eq(rt_listen_unix(rt, path, &plain, door_accept, &door, &door.listener), -EADDRINUSE);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_size, 4);
    unlink(path);
    char longer[200];
    memset(longer, 'a', sizeof(longer));
    longer[199] = 0;
    cr_assert_eq(rt_listen_unix(rt, longer, &plain, door_accept, &door, &door.listener),
                 -ENAMETOOLONG);
    struct rt_listen_options group = {.backlog = 1, .unix_group = "no-such-group"};
    cr_assert_lt(rt_listen_unix(rt, path, &group, door_accept, &door, &door.listener), 0);
    rt_free(rt);
}
