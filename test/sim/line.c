/* SPDX-License-Identifier: BSD-3-Clause */
/* line: see the header. */
#include "test/sim/line.h"

#include "base/must.h"
#include "base/text.h"
#include "test/sim/tls_stand_in.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct line {
    struct sim_peer *peer;
    bool is_secure, open, shut;
    struct secure secure;
    struct text out; /* records that did not fit */
    size_t sent;     /* of those */
    struct text in;  /* not a whole record */
    struct text plain;
    size_t taken; /* of that */
};

int line_dial(struct sim *sim, uint16_t port, bool secure, void (*fn)(void *arg), void *arg,
              struct line **ret_line) {
    struct sim_peer *peer;
    int error = sim_dial(sim, port, &peer);
    if (error != 0) {
        return error;
    }
    struct line *line = must_calloc(1, sizeof *line);
    line->peer = peer;
    line->is_secure = secure;
    text_init(&line->out);
    text_init(&line->in);
    text_init(&line->plain);
    if (secure) {
        secure_seal(&line->secure, SECURE_CLIENT_HELLO, BYTES("hello"), &line->out);
    }
    sim_peer_on_change(peer, fn, arg);
    *ret_line = line;
    return 0;
}

bool line_flush(struct line *line) {
    while (line->sent < line->out.len && !line->shut) {
        ssize_t n =
            sim_peer_write(line->peer, line->out.ptr + line->sent, line->out.len - line->sent);
        if (n <= 0) {
            return n == 0;
        }
        line->sent += (size_t)n;
    }
    if (line->sent == line->out.len) {
        text_clear(&line->out);
        line->sent = 0;
    }
    return true;
}

ssize_t line_write(struct line *line, const void *data, size_t n) {
    if (!line->is_secure) {
        return sim_peer_write(line->peer, data, n);
    }
    if (!line_flush(line)) {
        return -EPIPE;
    }
    if (!line->open || line->out.len > 0) {
        return 0;
    }
    n = n < SECURE_PLAIN_BYTES ? n : SECURE_PLAIN_BYTES;
    secure_seal(&line->secure, SECURE_DATA, bytes_make(data, n), &line->out);
    return line_flush(line) ? (ssize_t)n : -EPIPE;
}

size_t line_readable(const struct line *line) {
    return line->plain.len - line->taken + sim_peer_readable(line->peer);
}

/* False: it is no record that may come now. */
static bool take_record(struct line *line, enum secure_type type, size_t plain_before) {
    bool as_data = false, ok;
    switch (type) {
    case SECURE_SERVER_HELLO:
        ok = !line->open;
        line->open = true;
        secure_seal(&line->secure, SECURE_FINISHED, BYTES(""), &line->out);
        break;
    case SECURE_DATA:
        ok = as_data = line->open;
        break;
    default:
        ok = line->open && (type == SECURE_TICKET || type == SECURE_END);
    }
    line->plain.len = as_data ? line->plain.len : plain_before;
    return ok;
}

static ssize_t read_records(struct line *line, size_t n) {
    text_reserve(&line->in, n);
    ssize_t got = sim_peer_read(line->peer, line->in.ptr + line->in.len, n);
    if (got <= 0) {
        return got;
    }
    line->in.len += (size_t)got;
    size_t used = 0;
    for (;;) {
        enum secure_type type;
        size_t before = line->plain.len;
        struct bytes rest = bytes_make(line->in.ptr + used, line->in.len - used);
        ssize_t bytes = secure_open(&line->secure, rest, &type, &line->plain);
        if (bytes == 0) {
            break;
        }
        if (bytes < 0 || !take_record(line, type, before)) {
            return -EPROTO;
        }
        used += (size_t)bytes;
    }
    memmove(line->in.ptr, line->in.ptr + used, line->in.len - used);
    line->in.len -= used;
    return line_flush(line) ? got : -EPIPE;
}

ssize_t line_read(struct line *line, void *ret, size_t n) {
    if (!line->is_secure) {
        return sim_peer_read(line->peer, ret, n);
    }
    if (line->taken == line->plain.len) {
        text_clear(&line->plain);
        line->taken = 0;
        ssize_t got = read_records(line, n);
        if (got < 0) {
            return got;
        }
    }
    n = n < line->plain.len - line->taken ? n : line->plain.len - line->taken;
    memcpy(ret, line->plain.ptr + line->taken, n);
    line->taken += n;
    return (ssize_t)n;
}

bool line_over(const struct line *line) {
    return line->taken == line->plain.len &&
           (sim_peer_ended(line->peer) || sim_peer_broken(line->peer));
}

struct sim_peer *line_peer(const struct line *line) {
    return line->peer;
}

void line_shutdown(struct line *line) {
    line->shut = true;
    sim_peer_shutdown(line->peer);
}

void line_vanish(struct line *line) {
    sim_peer_vanish(line->peer);
}

static void line_free(struct line *line) {
    text_fini(&line->out);
    text_fini(&line->in);
    text_fini(&line->plain);
    free(line);
}

void line_close(struct line *line) {
    sim_peer_close(line->peer);
    line_free(line);
}

void line_reset(struct line *line) {
    sim_peer_reset(line->peer);
    line_free(line);
}
