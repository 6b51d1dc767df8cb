/* SPDX-License-Identifier: BSD-3-Clause */
/* floor: a server that reads requests and answers each with the same bytes: what this machine's
 * network costs.
 *
 * Every figure of ./dev bench stands on this one: what a real server spends above it is its own
 * doing. So it does what a fast server does with a socket and nothing else: one io_uring, multishot
 * accept, multishot receive into provided buffers, one gathered send per connection and loop turn,
 * and one submit-and-wait per turn. It does not parse: it counts `*` bytes, which the load of the
 * benchmark holds once per request.
 *
 *   floor PORT [REPLY_BYTES]      answers +OK, or a bulk string of REPLY_BYTES
 *
 * Thread: one. A connection that fails is closed; what cannot be set up ends the program with a
 * reason.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    CONNS_MAX = 1024,
    BUFFERS = 256, /* a power of two */
    BUFFER_BYTES = 16384,
    BUFFER_GROUP = 1,
    RING_ENTRIES = 2048,
    SEND_BYTES_MAX = 1 << 20,
};

enum op { OP_ACCEPT, OP_RECV, OP_SEND };

struct conn {
    bool sending;
    bool dirty; /* in the list of connections with replies to send */
    bool closing;
    uint64_t owed; /* requests not answered yet */
    uint64_t sending_bytes;
};

struct floor {
    struct io_uring ring;
    struct io_uring_buf_ring *buffers;
    char *memory;
    char *replies; /* as many copies of the reply as one send may carry */
    size_t reply_bytes;
    size_t replies_max;
    int listener;
    int dirty[CONNS_MAX];
    int dirty_count;
    struct conn conns[CONNS_MAX]; /* by file descriptor */
};

static void die(const char *what, int error) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(error));
    exit(1);
}

static uint64_t tag(enum op op, int fd) {
    return (uint64_t)op << 32 | (uint32_t)fd;
}

static struct io_uring_sqe *next_sqe(struct floor *f) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&f->ring);
    if (!sqe) {
        io_uring_submit(&f->ring);
        sqe = io_uring_get_sqe(&f->ring);
    }
    if (!sqe) {
        die("submission queue", EBUSY);
    }
    return sqe;
}

static void arm_accept(struct floor *f) {
    struct io_uring_sqe *sqe = next_sqe(f);
    io_uring_prep_multishot_accept(sqe, f->listener, NULL, NULL, 0);
    io_uring_sqe_set_data64(sqe, tag(OP_ACCEPT, f->listener));
}

static void arm_recv(struct floor *f, int fd) {
    struct io_uring_sqe *sqe = next_sqe(f);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    io_uring_sqe_set_data64(sqe, tag(OP_RECV, fd));
}

static void arm_send(struct floor *f, int fd) {
    struct conn *c = &f->conns[fd];
    if (c->sending || c->closing || (c->owed == 0 && c->sending_bytes == 0)) {
        return;
    }
    size_t offset = 0;
    if (c->sending_bytes == 0) {
        size_t count = c->owed < f->replies_max ? c->owed : f->replies_max;
        c->owed -= count;
        c->sending_bytes = count * f->reply_bytes;
    } else {
        /* The rest of a short send: its end is the end of some reply. */
        offset = (f->reply_bytes - c->sending_bytes % f->reply_bytes) % f->reply_bytes;
    }
    struct io_uring_sqe *sqe = next_sqe(f);
    io_uring_prep_send(sqe, fd, f->replies + offset, c->sending_bytes, MSG_NOSIGNAL);
    io_uring_sqe_set_data64(sqe, tag(OP_SEND, fd));
    c->sending = true;
}

static void mark_dirty(struct floor *f, int fd) {
    if (!f->conns[fd].dirty) {
        f->conns[fd].dirty = true;
        f->dirty[f->dirty_count++] = fd;
    }
}

/* The descriptor is closed when neither a receive nor a send refers to it, so its number cannot be
 * mistaken. */
static void conn_ended(struct floor *f, int fd) {
    f->conns[fd].closing = true;
    if (!f->conns[fd].sending) {
        close(fd);
    }
}

static void on_accept(struct floor *f, const struct io_uring_cqe *cqe) {
    if (cqe->res >= CONNS_MAX) {
        close(cqe->res);
    } else if (cqe->res >= 0) {
        int on = 1;
        setsockopt(cqe->res, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        f->conns[cqe->res] = (struct conn){0};
        arm_recv(f, cqe->res);
    }
    if (!(cqe->flags & IORING_CQE_F_MORE)) {
        arm_accept(f);
    }
}

static uint64_t count_requests(const char *data, size_t len) {
    const char *end = data + len;
    uint64_t count = 0;
    while ((data = memchr(data, '*', (size_t)(end - data)))) {
        data++;
        count++;
    }
    return count;
}

static void on_recv(struct floor *f, int fd, const struct io_uring_cqe *cqe) {
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
        char *data = f->memory + (size_t)id * BUFFER_BYTES;
        if (cqe->res > 0) {
            f->conns[fd].owed += count_requests(data, (size_t)cqe->res);
            mark_dirty(f, fd);
        }
        io_uring_buf_ring_add(f->buffers, data, BUFFER_BYTES, (unsigned short)id,
                              io_uring_buf_ring_mask(BUFFERS), 0);
        io_uring_buf_ring_advance(f->buffers, 1);
    }
    if (cqe->flags & IORING_CQE_F_MORE) {
        return;
    }
    if (cqe->res > 0 || cqe->res == -ENOBUFS) {
        arm_recv(f, fd);
    } else {
        conn_ended(f, fd);
    }
}

static void on_send(struct floor *f, int fd, int result) {
    struct conn *c = &f->conns[fd];
    c->sending = false;
    if (c->closing) {
        close(fd);
        return;
    }
    if (result < 0) {
        /* The receive sees the same end of the connection and closes it. */
        c->owed = 0;
        c->sending_bytes = 0;
        return;
    }
    c->sending_bytes -= (uint64_t)result;
    if (c->sending_bytes > 0 || c->owed > 0) {
        mark_dirty(f, fd);
    }
}

static void setup_replies(struct floor *f, size_t value_bytes) {
    char head[32] = "+OK\r\n";
    if (value_bytes > 0) {
        snprintf(head, sizeof head, "$%zu\r\n", value_bytes);
    }
    size_t head_bytes = strlen(head);
    f->reply_bytes = value_bytes > 0 ? head_bytes + value_bytes + 2 : head_bytes;
    f->replies_max = SEND_BYTES_MAX / f->reply_bytes;
    if (f->replies_max == 0) {
        die("REPLY_BYTES", ERANGE);
    }
    f->replies = malloc(f->replies_max * f->reply_bytes);
    if (!f->replies) {
        die("replies", ENOMEM);
    }
    for (size_t i = 0; i < f->replies_max; i++) {
        char *at = f->replies + i * f->reply_bytes;
        memcpy(at, head, head_bytes);
        if (value_bytes > 0) {
            memset(at + head_bytes, 'x', value_bytes);
            memcpy(at + head_bytes + value_bytes, "\r\n", 2);
        }
    }
}

static void setup_listener(struct floor *f, int port) {
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (f->listener < 0 || setsockopt(f->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(f->listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(f->listener, 511) != 0) {
        die("listen", errno);
    }
}

static void setup_ring(struct floor *f) {
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
                                     .cq_entries = RING_ENTRIES * 4};
    int error = io_uring_queue_init_params(RING_ENTRIES, &f->ring, &params);
    if (error < 0) {
        die("io_uring", -error);
    }
    size_t ring_bytes = BUFFERS * sizeof(struct io_uring_buf);
    f->memory = mmap(NULL, ring_bytes + (size_t)BUFFERS * BUFFER_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (f->memory == MAP_FAILED) {
        die("buffers", errno);
    }
    f->buffers = (struct io_uring_buf_ring *)(void *)f->memory;
    f->memory += ring_bytes;
    struct io_uring_buf_reg reg = {
        .ring_addr = (uintptr_t)f->buffers, .ring_entries = BUFFERS, .bgid = BUFFER_GROUP};
    error = io_uring_register_buf_ring(&f->ring, &reg, 0);
    if (error < 0) {
        die("buffer ring", -error);
    }
    io_uring_buf_ring_init(f->buffers);
    for (unsigned i = 0; i < BUFFERS; i++) {
        io_uring_buf_ring_add(f->buffers, f->memory + (size_t)i * BUFFER_BYTES, BUFFER_BYTES,
                              (unsigned short)i, io_uring_buf_ring_mask(BUFFERS), (int)i);
    }
    io_uring_buf_ring_advance(f->buffers, BUFFERS);
}

static void turn(struct floor *f) {
    int error = io_uring_submit_and_wait(&f->ring, 1);
    if (error < 0 && error != -EINTR && error != -EBUSY) {
        die("submit", -error);
    }
    struct io_uring_cqe *cqe;
    unsigned head;
    unsigned seen = 0;
    io_uring_for_each_cqe(&f->ring, head, cqe) {
        int fd = (int)(uint32_t)cqe->user_data;
        switch ((enum op)(cqe->user_data >> 32)) {
        case OP_ACCEPT:
            on_accept(f, cqe);
            break;
        case OP_RECV:
            on_recv(f, fd, cqe);
            break;
        case OP_SEND:
            on_send(f, fd, cqe->res);
            break;
        }
        seen++;
    }
    io_uring_cq_advance(&f->ring, seen);
    for (int i = 0; i < f->dirty_count; i++) {
        f->conns[f->dirty[i]].dirty = false;
        arm_send(f, f->dirty[i]);
    }
    f->dirty_count = 0;
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: floor PORT [REPLY_BYTES]\n");
        return 2;
    }
    struct floor *f = calloc(1, sizeof *f);
    if (!f) {
        die("start", ENOMEM);
    }
    setup_replies(f, argc > 2 ? strtoul(argv[2], NULL, 10) : 0);
    setup_listener(f, atoi(argv[1]));
    setup_ring(f);
    arm_accept(f);
    for (;;) {
        turn(f);
    }
}
