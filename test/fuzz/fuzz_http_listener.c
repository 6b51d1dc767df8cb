/* SPDX-License-Identifier: BSD-3-Clause */
/* The listener for metrics of a whole server in the simulator: many connections at once, requests
 * in pieces, one behind the other and with bodies, readers that do not read, passwords of all
 * forms. No check fails; what is kept of them is bounded; nobody sees anything without the
 * password; who sends whole requests gets whole answers, as many; a client of the server is
 * answered meanwhile; and in the end a probe is.
 */
#include "base/check.h"
#include "server/http/http.h"
#include "server/http/http_head.h"
#include "server/worker/worker.h"
#include "test/fuzz/draw.h"
#include "test/sim/world.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LOOKERS_MAX       80
#define STEPS_MAX         400
#define CONNECTIONS_MAX   64 /* with those that are being closed */
#define METRICS_PORT      9121
#define METRICS_PORT_TEXT "9121"
#define SECOND            UINT64_C(1000000000)

/* "any:fuzz-secret" */
#define RIGHT "Authorization: Basic YW55OmZ1enotc2VjcmV0\r\n"

/* Whole requests that keep the connection, of whom an answer has a body as its head says. */
static const char *const whole[] = {
    "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:9121\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /api/state?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /api/bigkeys HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: application/openmetrics-text\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic YW55Ondyb25n\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n",
};
static const char *const known[] = {
    "GET / HTTP/1.1\r\nHost: localhost\r\n" RIGHT "\r\n",
    "GET /metrics HTTP/1.1\r\nHost: elsewhere.example\r\n" RIGHT "\r\n",
    "GET /api/state HTTP/1.1\r\n" RIGHT "Host: localhost\r\n\r\n",
};
static const char *const odd[] = {
    "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
    "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: "
    "chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "GET /metrics HTTP/1.0\r\n\r\n",
    "GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "GET /metrics HTTP/2.0\r\n\r\n",
    "GET http://localhost/metrics HTTP/1.1\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: elsewhere.example\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic ====\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic YW55\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic OmZ1enotc2VjcmV\r\n\r\n",
    "PING\r\n",
    "\x16\x03\x01\x02\x01\x01\x00\x01\xfc\x03\x03",
    "\r\n\r\n",
};

struct looker {
    struct sim_peer *socket; /* NULL: there is none */
    struct text got;
    unsigned asked, answered;
    bool strict;  /* has sent whole requests only */
    bool knows;   /* has sent the password */
    bool is_good; /* was answered 200 */
};

struct run {
    struct world *world;
    bool secret; /* there is a password */
    struct looker peers[LOOKERS_MAX];
    struct looker client; /* of the server's own port */
};

static struct worker *home(const struct run *run) {
    return world_server(run->world, 0)->workers[0];
}

static bool never(void *arg) {
    (void)arg;
    return false;
}

static void wait_ns(struct run *run, uint64_t ns) {
    world_run(run->world, sim_now_ns(world_sim(run->world)) + ns, never, NULL);
}

static bool contains(const struct text *text, const char *words) {
    return memmem(text->ptr, text->len, words, strlen(words)) != NULL;
}

/* Takes whole answers away from the beginning of what has come. */
static void count_answers(struct looker *peer) {
    size_t used = 0;
    for (;;) {
        const char *p = peer->got.ptr + used;
        size_t left = peer->got.len - used;
        const char *end = left > 0 ? memmem(p, left, "\r\n\r\n", 4) : NULL;
        if (end == NULL) {
            break;
        }
        size_t head = (size_t)(end - p) + 4;
        const char *field = memmem(p, head, "\r\nContent-Length: ", 18);
        check(memcmp(p, "HTTP/1.1 ", 9) == 0 && field != NULL);
        size_t body = strtoul(field + 18, NULL, 10);
        if (left < head + body) {
            break;
        }
        used += head + body;
        peer->is_good |= memcmp(p, "HTTP/1.1 200 OK\r\n", 17) == 0;
        peer->answered++;
        check(peer->answered <= peer->asked + 1); /* one that there is no place for, unasked */
    }
    memmove(peer->got.ptr, peer->got.ptr + used, peer->got.len - used);
    peer->got.len -= used;
}

/* How much it was. */
static size_t read_some(struct run *run, struct looker *peer, size_t most) {
    size_t room = sim_peer_readable(peer->socket);
    room = room < most ? room : most;
    text_reserve(&peer->got, room);
    ssize_t n = sim_peer_read(peer->socket, peer->got.ptr + peer->got.len, room);
    peer->got.len += n > 0 ? (size_t)n : 0;
    if (run->secret && !peer->knows) {
        check(!contains(&peer->got, "redis_") && !contains(&peer->got, "<html") &&
              !contains(&peer->got, "\"shards\""));
    }
    if (peer->strict) {
        count_answers(peer);
    } else {
        text_clear(&peer->got);
    }
    return n > 0 ? (size_t)n : 0;
}

static bool is_over(const struct looker *peer) {
    return sim_peer_ended(peer->socket) || sim_peer_broken(peer->socket);
}

static void hang_up(struct looker *peer, bool reset) {
    (reset ? sim_peer_reset : sim_peer_close)(peer->socket);
    text_fini(&peer->got);
    *peer = (struct looker){.socket = NULL};
}

static void dial(struct run *run, struct looker *peer, uint16_t port) {
    if (sim_dial(world_sim(run->world), port, &peer->socket) != 0) {
        peer->socket = NULL; /* the backlog is full */
        return;
    }
    text_init(&peer->got);
    peer->strict = true;
}

static void send_bytes(struct looker *peer, const char *bytes, size_t len) {
    ssize_t n = sim_peer_write(peer->socket, bytes, len);
    peer->strict = peer->strict && n == (ssize_t)len;
}

static void send_whole(struct looker *peer, const char *request, bool knows) {
    peer->asked++;
    peer->knows |= knows;
    send_bytes(peer, request, strlen(request));
}

static void send_odd(struct looker *peer, struct draw_input *in) {
    const char *request = odd[draw_next(in, sizeof odd / sizeof *odd)];
    peer->strict = false;
    size_t len = strlen(request), cut = draw_next(in, 4) == 0 ? draw_next(in, (unsigned)len) : len;
    send_bytes(peer, request, cut);
}

/* Bytes of the input, perhaps many times. */
static void send_raw(struct run *run, struct looker *peer, struct draw_input *in) {
    unsigned times = draw_next(in, 8) == 0 ? 300 : 1;
    size_t len = draw_next(in, 200);
    len = len < in->size ? len : in->size;
    peer->strict = false;
    peer->knows = true; /* who can tell */
    for (; times > 0 && len > 0; times--) {
        send_bytes(peer, (const char *)in->data, len);
        if (times % 50 == 1) {
            wait_ns(run, SECOND / 100);
        }
    }
    in->data += len;
    in->size -= len;
}

static void dial_all(struct run *run) {
    for (unsigned i = 0; i < LOOKERS_MAX; i++) {
        if (run->peers[i].socket == NULL) {
            dial(run, &run->peers[i], METRICS_PORT);
        }
    }
}

static void step(struct run *run, struct draw_input *in) {
    unsigned what = draw_next(in, 12);
    struct looker *peer = &run->peers[draw_next(in, LOOKERS_MAX)];
    if (peer->socket == NULL) {
        dial(run, peer, METRICS_PORT);
        return;
    }
    switch (what) {
    case 0:
        hang_up(peer, draw_next(in, 2));
        break;
    case 1:
        read_some(run, peer, SIZE_MAX);
        break;
    case 2:
        read_some(run, peer, draw_next(in, 64));
        break;
    case 3:
        wait_ns(run, SECOND / 1000 * (1 + draw_next(in, 200)));
        break;
    case 4:
        wait_ns(run, SECOND / 10 * (1 + draw_next(in, 250)));
        break;
    case 5:
        sim_peer_shutdown(peer->socket);
        peer->strict = false;
        break;
    case 6:
        send_odd(peer, in);
        break;
    case 7:
        send_raw(run, peer, in);
        break;
    case 8:
        send_whole(peer, known[draw_next(in, sizeof known / sizeof *known)], true);
        break;
    case 9: /* all at once */
        dial_all(run);
        break;
    default:
        for (unsigned i = draw_next(in, 4) == 0 ? 300 : 1 + draw_next(in, 6); i > 0; i--) {
            send_whole(peer, whole[draw_next(in, sizeof whole / sizeof *whole)], false);
        }
    }
}

static void check_bounds(const struct run *run) {
    unsigned connections;
    size_t bytes = http_held(home(run), &connections);
    check(connections <= CONNECTIONS_MAX);
    check(bytes <= (size_t)connections * HTTP_HEAD_BYTES_MAX);
}

/* Within a second, however many look at the page. */
static void ping(struct run *run) {
    struct looker *client = &run->client;
    static const char request[] = "*1\r\n$4\r\nPING\r\n";
    check(sim_peer_write(client->socket, request, sizeof request - 1) == sizeof request - 1);
    wait_ns(run, SECOND);
    char got[64];
    ssize_t n = sim_peer_read(client->socket, got, sizeof got);
    check(n == 7 || run->secret);
    check(n > 0);
}

static bool stopped(void *world) {
    return world_stopped(world, 0);
}

static void play(struct run *run, struct draw_input *in) {
    dial(run, &run->client, world_port(run->world, 0));
    if (draw_next(in, 2)) {
        dial_all(run);
    }
    for (unsigned i = 0; in->size > 0 && i < STEPS_MAX; i++) {
        step(run, in);
        wait_ns(run, SECOND / 10000);
        check_bounds(run);
    }
    ping(run);
    check_bounds(run);
    /* Who has not been cut off gets all that he has asked for. */
    for (unsigned quiet = 0; quiet < 40; quiet++) {
        for (unsigned i = 0; i < LOOKERS_MAX; i++) {
            if (run->peers[i].socket != NULL && read_some(run, &run->peers[i], SIZE_MAX) > 0) {
                quiet = 0;
            }
        }
        wait_ns(run, SECOND / 20);
    }
    for (unsigned i = 0; i < LOOKERS_MAX; i++) {
        struct looker *peer = &run->peers[i];
        if (peer->socket != NULL) {
            check(!peer->strict || is_over(peer) || peer->answered == peer->asked);
            hang_up(peer, false);
        }
    }
    wait_ns(run, 100 * SECOND);
    unsigned connections;
    check(http_held(home(run), &connections) == 0 && connections == 0);
    struct looker *probe = &run->peers[0];
    dial(run, probe, METRICS_PORT);
    check(probe->socket != NULL);
    send_whole(probe, whole[0], false);
    wait_ns(run, SECOND);
    read_some(run, probe, SIZE_MAX);
    check(probe->answered == 1 && probe->is_good);
    hang_up(probe, false);
    hang_up(&run->client, false);
    wait_ns(run, 3 * SECOND);
    world_check_idle(run->world);
    world_stop(run->world, 0);
    check(world_run(run->world, sim_now_ns(world_sim(run->world)) + 10 * SECOND, stopped,
                    run->world));
    world_check_stopped(run->world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct draw_input in = {data, size};
    static const struct bytes settings[] = {
        {"protected-mode", 14},   {"no", 2},
        {"metrics-port", 12},     {METRICS_PORT_TEXT, sizeof METRICS_PORT_TEXT - 1},
        {"metrics-password", 16}, {"fuzz-secret", 11},
        {"requirepass", 11},      {"fuzz-secret", 11},
    };
    /* No password, that of the listener, or that of all, too. */
    unsigned passwords = draw_next(&in, 3);
    struct world_options options = {
        .seed = 1 + draw_next(&in, 256),
        .servers = 1,
        .workers = 1 + draw_next(&in, 4),
        .settings = settings,
        .settings_count = 2 + passwords,
        .recv_buffers = 64,
        .recv_buffer_bytes = 16384,
        .sim = {.buffer_min_bytes = 65536,
                .buffer_max_bytes = 65536,
                .faults = {.latency_min_ns = 1000, .latency_max_ns = 20000}},
    };
    struct run run = {.world = world_new(&options), .secret = passwords > 0};
    if (setjmp(*world_failure(run.world)) != 0) {
        fprintf(stderr, "check failed: %s\n", world_reason(run.world));
        abort();
    }
    play(&run, &in);
    world_free(run.world);
    return 0;
}
