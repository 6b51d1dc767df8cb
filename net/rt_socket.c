/* SPDX-License-Identifier: BSD-3-Clause */
/* Real sockets, as both backends use them outside the path of data: binding, addresses, options,
 * last words.
 *
 * Sockets are left blocking: io_uring needs them so, and epoll asks for each call not to wait.
 */
#include "net/rt_private.h"

#include "base/check.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
};

static int tcp_socket(int family, bool mptcp) {
    return socket(family, SOCK_STREAM | SOCK_CLOEXEC, mptcp ? IPPROTO_MPTCP : 0);
}

/* ---- Binding ---- */

static int bind_and_listen(const struct sockaddr *address, socklen_t address_len,
                           const struct rt_listen_options *options, rt_socket *ret_socket) {
    int one = 1;
    int fd = tcp_socket(address->sa_family, options->mptcp);
    if (fd < 0) {
        return -errno;
    }
    if (options->mark != 0 &&
        setsockopt(fd, SOL_SOCKET, SO_MARK, &options->mark, sizeof(options->mark)) < 0) {
        *options->ret_unmarked = true;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (address->sa_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0) {
        goto fail;
    }
    if (bind(fd, address, address_len) < 0 || listen(fd, options->backlog) < 0) {
        goto fail;
    }
    *ret_socket = fd;
    return 0;
fail:;
    int r = -errno;
    close(fd);
    return r;
}

static int bind_name(const char *name, uint16_t port, const struct rt_listen_options *options,
                     rt_socket *ret_socket) {
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
    };
    struct addrinfo *all = NULL;
    switch (getaddrinfo(name, service, &hints, &all)) {
    case 0:
        break;
    case EAI_SYSTEM:
        return -errno;
    case EAI_MEMORY:
        return -ENOMEM;
    default:
        return -EADDRNOTAVAIL;
    }
    int r = -EADDRNOTAVAIL;
    for (struct addrinfo *one = all; one; one = one->ai_next) {
        r = bind_and_listen(one->ai_addr, one->ai_addrlen, options, ret_socket);
        if (r == 0) {
            break;
        }
    }
    freeaddrinfo(all);
    return r;
}

int rt_real_bind_tcp(struct rt *rt, const char *address, uint16_t port,
                     const struct rt_listen_options *options, rt_socket *ret_socket) {
    (void)rt;
    union address a;
    memset(&a, 0, sizeof(a));
    if (strcmp(address, "*") == 0) {
        a.in4.sin_family = AF_INET;
        a.in4.sin_port = htons(port);
        return bind_and_listen(&a.any, sizeof(a.in4), options, ret_socket);
    }
    if (strcmp(address, "::*") == 0) {
        a.in6.sin6_family = AF_INET6;
        a.in6.sin6_port = htons(port);
        return bind_and_listen(&a.any, sizeof(a.in6), options, ret_socket);
    }
    return bind_name(address, port, options, ret_socket);
}

static int group_of(const char *name, gid_t *ret_gid) {
    char buffer[4096];
    struct group group, *found = NULL;
    int r = getgrnam_r(name, &group, buffer, sizeof(buffer), &found);
    if (r != 0) {
        return -r;
    }
    if (!found) {
        return -ENOENT;
    }
    *ret_gid = found->gr_gid;
    return 0;
}

/* Nobody can connect before listen(), so the file has its owner and permissions in time; fchmod
 * before bind keeps it from ever being wider than asked. A stale socket of an earlier process is in
 * the way and removed, and so is an empty file, by which whoever chose the name may hold it (mktemp);
 * another kind of file is not ours. */
int rt_real_bind_unix(struct rt *rt, const char *path, const struct rt_listen_options *options,
                      rt_socket *ret_socket) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        return -ENAMETOOLONG;
    }
    strcpy(address.sun_path, path);
    gid_t gid = (gid_t)-1;
    if (options->unix_group && options->unix_group[0]) {
        int r = group_of(options->unix_group, &gid);
        if (r < 0) {
            return r;
        }
    }
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0) {
        unlink(path);
    }
    rt_real_unlink_unix(rt, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    mode_t mode = (mode_t)options->unix_mode;
    bool bound = false;
    if (mode != 0 && fchmod(fd, mode) < 0) {
        goto fail;
    }
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        goto fail;
    }
    bound = true;
    if ((gid != (gid_t)-1 && chown(path, (uid_t)-1, gid) < 0) ||
        (mode != 0 && chmod(path, mode) < 0) || listen(fd, options->backlog) < 0) {
        goto fail;
    }
    *ret_socket = fd;
    return 0;
fail:;
    int r = -errno;
    if (bound) {
        unlink(path);
    }
    close(fd);
    return r;
}

void rt_real_unlink_unix(struct rt *rt, const char *path) {
    (void)rt;
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        unlink(path);
    }
}

/* ---- Connecting ---- */

static socklen_t address_len(const union address *a) {
    return a->any.sa_family == AF_INET6 ? sizeof(a->in6) : sizeof(a->in4);
}

static int parse_address(const char *text, uint16_t port, union address *ret) {
    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, text, &ret->in4.sin_addr) == 1) {
        ret->in4.sin_family = AF_INET;
        ret->in4.sin_port = htons(port);
        return 0;
    }
    if (inet_pton(AF_INET6, text, &ret->in6.sin6_addr) == 1) {
        ret->in6.sin6_family = AF_INET6;
        ret->in6.sin6_port = htons(port);
        return 0;
    }
    return -EINVAL;
}

int rt_real_dial(struct rt_stream *stream, const char *address, uint16_t port,
                 const struct rt_connect_options *options) {
    union address to, from;
    int r = parse_address(address, port, &to);
    if (r < 0) {
        return r;
    }
    int fd = tcp_socket(to.any.sa_family, options->mptcp);
    if (fd < 0) {
        return -errno;
    }
    if (options->source != NULL && parse_address(options->source, 0, &from) == 0) {
        (void)!bind(fd, &from.any, address_len(&from)); /* else from where the kernel likes */
    }
    stream->socket = fd;
    memcpy(stream->message_storage, &to, address_len(&to));
    return 0;
}

const struct sockaddr *rt_real_dialled(const struct rt_stream *stream, socklen_t *ret_len) {
    static_assert(sizeof(struct sockaddr_in6) <= sizeof(stream->message_storage),
                  "room for an address");
    const union address *to = (const union address *)stream->message_storage;
    *ret_len = address_len(to);
    return &to->any;
}

/* A second call for the same socket tells the outcome of the first. */
int rt_real_connect(const struct rt_stream *stream) {
    socklen_t len;
    const struct sockaddr *to = rt_real_dialled(stream, &len);
    int flags = fcntl(stream->socket, F_GETFL);
    fcntl(stream->socket, F_SETFL, flags | O_NONBLOCK);
    int r = connect(stream->socket, to, len) < 0 ? -errno : 0;
    fcntl(stream->socket, F_SETFL, flags);
    return r == -EINPROGRESS || r == -EALREADY ? -EAGAIN : r == -EAGAIN ? -EADDRNOTAVAIL : r;
}

/* ---- Addresses ---- */

uint16_t rt_real_port(struct rt *rt, rt_socket socket) {
    (void)rt;
    union address a;
    socklen_t len = sizeof(a);
    if (getsockname(socket, &a.any, &len) < 0) {
        return 0;
    }
    if (a.any.sa_family == AF_INET) {
        return ntohs(a.in4.sin_port);
    }
    return a.any.sa_family == AF_INET6 ? ntohs(a.in6.sin6_port) : 0;
}

bool rt_real_peer_is_local(struct rt *rt, rt_socket socket) {
    (void)rt;
    union address a;
    socklen_t len = sizeof(a);
    if (getpeername(socket, &a.any, &len) < 0) {
        return false;
    }
    switch (a.any.sa_family) {
    case AF_INET:
        return (ntohl(a.in4.sin_addr.s_addr) >> 24) == 127;
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(&a.in6.sin6_addr);
    case AF_UNIX:
        return true;
    default:
        return false;
    }
}

static void address_text(const union address *a, char ret[RT_ADDRESS_BYTES]) {
    char host[INET6_ADDRSTRLEN];
    if (a->any.sa_family == AF_INET && inet_ntop(AF_INET, &a->in4.sin_addr, host, sizeof(host))) {
        snprintf(ret, RT_ADDRESS_BYTES, "%s:%u", host, ntohs(a->in4.sin_port));
    } else if (a->any.sa_family == AF_INET6 &&
               inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof(host))) {
        snprintf(ret, RT_ADDRESS_BYTES, "[%s]:%u", host, ntohs(a->in6.sin6_port));
    } else {
        snprintf(ret, RT_ADDRESS_BYTES, "?:0");
    }
}

void rt_real_addresses(struct rt *rt, rt_socket socket, char peer[RT_ADDRESS_BYTES],
                       char local[RT_ADDRESS_BYTES]) {
    (void)rt;
    union address a;
    memset(&a, 0, sizeof(a));
    socklen_t len = sizeof(a);
    a.any.sa_family = AF_UNSPEC;
    if (getsockname(socket, &a.any, &len) == 0 && a.any.sa_family == AF_UNIX) {
        /* The peer of a unix socket has no name of its own: both ends show the path. */
        snprintf(local, RT_ADDRESS_BYTES, "%.*s:0", (int)sizeof(a.un.sun_path), a.un.sun_path);
        strcpy(peer, local);
        return;
    }
    address_text(&a, local);
    memset(&a, 0, sizeof(a));
    len = sizeof(a);
    if (getpeername(socket, &a.any, &len) < 0) {
        a.any.sa_family = AF_UNSPEC;
    }
    address_text(&a, peer);
}

/* ---- Sending ---- */

ssize_t rt_real_send(const struct rt_stream *stream, size_t bytes_max) {
    struct iovec cut[RT_SEND_VECTORS];
    struct msghdr message = {.msg_iov = stream->vectors,
                             .msg_iovlen = (size_t)stream->vectors_count};
    if (UNLIKELY(bytes_max < stream->send_bytes)) {
        message = (struct msghdr){.msg_iov = cut};
        for (int i = 0; i < stream->vectors_count && bytes_max > 0; i++) {
            struct iovec vector = stream->vectors[i];
            vector.iov_len = vector.iov_len < bytes_max ? vector.iov_len : bytes_max;
            bytes_max -= vector.iov_len;
            cut[message.msg_iovlen++] = vector;
        }
    }
    ssize_t n = message.msg_iovlen == 1
                    ? send(stream->socket, message.msg_iov->iov_base, message.msg_iov->iov_len,
                           MSG_DONTWAIT | MSG_NOSIGNAL)
                    : sendmsg(stream->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
}

/* ---- Out of descriptors ---- */

#define SPARE_ACCEPTS 128 /* at most, one after the other */

/* A file of its own, because the system may be out of files as well as the process. */
void rt_real_spare(struct rt *rt) {
    if (rt->spare_fd < 0) {
        rt->spare_fd = eventfd(0, EFD_CLOEXEC);
    }
}

static int accept_now(rt_socket socket) {
    int flags = fcntl(socket, F_GETFL);
    fcntl(socket, F_SETFL, flags | O_NONBLOCK);
    int fd = accept4(socket, NULL, NULL, SOCK_CLOEXEC);
    fcntl(socket, F_SETFL, flags);
    return fd;
}

void rt_real_accept_spare(struct rt *rt, struct rt_listener *listener, int error) {
    if (error != -EMFILE && error != -ENFILE) {
        return;
    }
    int fd = 0;
    for (unsigned i = 0; fd >= 0 && i < SPARE_ACCEPTS && !listener->ended; i++) {
        if (rt->spare_fd >= 0) {
            close(rt->spare_fd);
            rt->spare_fd = -1;
        }
        fd = accept_now(listener->socket);
        rt_real_spare(rt);
        if (fd >= 0) {
            rt_listener_accepted(rt, listener, fd, rt->spare_fd < 0);
            rt_real_spare(rt); /* it was told, and its descriptor is free */
        }
    }
}

/* ---- Options and ends ---- */

void rt_real_delays(struct rt *rt, rt_socket socket, bool on) {
    (void)rt;
    int no_delay = !on;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof(no_delay));
}

void rt_real_keep_alive(struct rt *rt, rt_socket socket, int seconds) {
    (void)rt;
    int on = seconds > 0;
    setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    if (!on) {
        return;
    }
    int interval = seconds >= 3 ? seconds / 3 : 1;
    int probes = 3;
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds));
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

void rt_real_socket_close(struct rt *rt, rt_socket socket) {
    (void)rt;
    close(socket);
}

void rt_real_socket_hold(struct rt *rt, rt_socket socket) {
    (void)rt;
    int again = fcntl(socket, F_DUPFD_CLOEXEC, 0);
    (void)again; /* best effort; the end of the process closes it */
}

void rt_real_refuse(struct rt *rt, rt_socket socket, struct bytes text) {
    ssize_t r = send(socket, text.ptr, text.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)r; /* best effort: the peer may be gone */
    /* Closing with unread bytes resets the connection, and a reset may overtake the text. */
    char sink[4096];
    shutdown(socket, SHUT_WR);
    r = recv(socket, sink, sizeof(sink), MSG_DONTWAIT);
    rt_real_socket_close(rt, socket);
}
