/* SPDX-License-Identifier: BSD-3-Clause */
/* openloop: sends requests when they are due, whether or not earlier ones are answered, and says
 * how late the answers were.
 *
 * A load that waits for an answer before it asks again asks less while the server stalls, so that a
 * stall of a second counts as one slow request instead of the thousands that would have come. Here
 * each request has a time at which it is due, fixed by the rate alone, and its latency counts from
 * there: time in which it could not even be sent is part of it. With --rate 0 it is a closed loop
 * instead, for throughput: each connection keeps --depth requests under way, and latency counts
 * from the sending.
 *
 *   openloop --port P --rate R --seconds S [options] COMMAND...
 *
 * A COMMAND is "WEIGHT WORD...", for example "9 GET key:{key}"; which one is sent is drawn by
 * weight. Within words: {key} is the number of a key drawn as --choose says, {any} a uniform one,
 * {score} six random digits, {data} a value of --value-bytes, {json} the same as a document,
 * {tenant} the key modulo 1,000, {count} a number that rises. "WEIGHT WORD... ?? WORD..." sends the
 * second command, with the same key, when the answer to the first is null: a cache that fills
 * itself. All of these have a fixed width, so a command is one block of bytes with places to write
 * digits to.
 *
 * Invariants: (1) a connection never has more than --depth requests under way, so its ring of them
 * does not grow; what follows a null answer takes the place of what was answered. (2) What is due
 * is sent in the order in which it is due. (3) Whatever was due within the measured time is in the
 * histogram: what is unanswered or unsent at the end counts with the time that it has waited.
 *
 * Histograms have 128 places for each doubling, so a percentile is right to 0.8%. The answer is one
 * JSON object on standard output, times in microseconds.
 *
 * Thread: one. What fails ends the program with a reason.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    PLACES = 128, /* of a histogram, for each doubling */
    PLACE_BITS = 7,
    HISTOGRAM_BUCKETS = PLACES * 36, /* to 2^42 ns, more than an hour */
    COMMANDS_MAX = 16,
    PATCHES_MAX = 8,
    WORDS_MAX = 32,
    LINE_BYTES = 64,
    READ_BYTES = 1 << 18,
    EVENTS = 512,
    SENT_AT_ONCE = 1024, /* between two looks at what has arrived */
    NUMBER_DIGITS = 12,
    SCORE_DIGITS = 6,
    TENANT_DIGITS = 3,
    TENANTS = 1000,
};

static const uint64_t SECOND_NS = 1000000000;

/* ---- Histograms ------------------------------------------------------------------------------ */

struct histogram {
    uint64_t count;
    uint64_t longest;
    uint32_t buckets[HISTOGRAM_BUCKETS];
};

static unsigned bucket_of(uint64_t ns) {
    if (ns < PLACES) {
        return (unsigned)ns;
    }
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - PLACE_BITS;
    unsigned bucket = shift * PLACES + (unsigned)(ns >> shift);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* The middle of what falls into a bucket. */
static double bucket_ns(unsigned bucket) {
    if (bucket < 2 * PLACES) {
        return bucket;
    }
    unsigned shift = bucket / PLACES - 1;
    return ((double)(bucket - shift * PLACES) + 0.5) * (double)(1ull << shift);
}

static void histogram_add(struct histogram *h, uint64_t ns) {
    h->buckets[bucket_of(ns)]++;
    h->count++;
    h->longest = ns > h->longest ? ns : h->longest;
}

/* In microseconds; never more than the longest. */
static double histogram_us(const struct histogram *h, double per_cent) {
    double below = (double)h->count * per_cent / 100;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen > 0 && (double)seen >= below) {
            double ns = bucket_ns(i);
            return (ns < (double)h->longest ? ns : (double)h->longest) / 1000;
        }
    }
    return (double)h->longest / 1000;
}

/* ---- What the program holds ------------------------------------------------------------------ */

enum patch_kind { PATCH_KEY, PATCH_ANY, PATCH_SCORE, PATCH_TENANT, PATCH_COUNT };

struct patch {
    enum patch_kind kind;
    size_t offset;
};

struct frame {
    char *bytes;
    size_t len;
    struct patch patches[PATCHES_MAX];
    int patch_count;
};

struct command {
    double until; /* sum of weights up to and with this one */
    struct frame frame;
    bool fills;
    struct frame fill; /* what follows a null answer */
};

struct flight {
    uint64_t due_ns;
    uint64_t key;
    int command; /* -1: it fills */
};

struct conn {
    int fd;
    bool dirty;
    bool watches_out;
    struct flight *flights; /* a ring of depth */
    unsigned first;
    unsigned count;
    char *out;
    size_t out_begin, out_end, out_size;
    /* of the answer that is being read */
    uint64_t elements; /* to come, 0: none begun */
    uint64_t skip;     /* bytes of a bulk string and its line end */
    char line[LINE_BYTES];
    size_t line_len; /* may be more than is kept */
    char kind;       /* the first byte of the answer */
    bool null;
};

struct options {
    const char *host;
    const char *port;
    double rate;
    double seconds, warm_seconds;
    unsigned clients, depth;
    uint64_t keys;
    size_t value_bytes;
    uint64_t seed;
    double slice_ms;
    long server_pid; /* whose CPU time is told; 0: none's */
    double zipf;     /* 0: not */
    double hot;      /* share of the one hot key */
    bool even;       /* arrivals; else as a Poisson process */
};

struct alias {
    double keep;
    uint32_t other;
};

struct load {
    struct options options;
    struct command commands[COMMANDS_MAX];
    int command_count;
    double weights;
    struct alias *zipf;
    struct conn *conns;
    unsigned next_conn, full;
    unsigned *dirty;
    unsigned dirty_count;
    int poll;
    uint64_t random, counter;
    uint64_t begin_ns, end_ns; /* of what is measured */
    bool begun;
    uint64_t cpu_ns; /* of the server, within that time */
    uint64_t answered, answered_in_time, errors, nulls, filled, unanswered, unsent;
    uint64_t under_way;
    struct histogram all, lag;
    struct histogram *slices;
    unsigned slice_count;
    char first_error[LINE_BYTES + 1];
    char *read_buffer;
};

static void die(const char *shape, ...) {
    va_list args;
    va_start(args, shape);
    fputs("openloop: ", stderr);
    vfprintf(stderr, shape, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void *must(void *memory) {
    if (!memory) {
        die("out of memory");
    }
    return memory;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

/* ---- Chance ---------------------------------------------------------------------------------- */

static uint64_t random_u64(struct load *l) {
    uint64_t x = (l->random += 0x9e3779b97f4a7c15u);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* From 0 to 1, without 1. */
static double random_share(struct load *l) {
    return (double)(random_u64(l) >> 11) * 0x1p-53;
}

/* A table from which one draw takes one look: each of its rows is shared by at most two keys. */
static void zipf_init(struct load *l) {
    uint64_t n = l->options.keys;
    double *weight = must(calloc(n, sizeof *weight));
    uint32_t *small = must(calloc(n, sizeof *small));
    uint32_t *large = must(calloc(n, sizeof *large));
    l->zipf = must(calloc(n, sizeof *l->zipf));
    double sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        weight[i] = pow((double)(i + 1), -l->options.zipf);
        sum += weight[i];
    }
    uint64_t smalls = 0;
    uint64_t larges = 0;
    for (uint64_t i = 0; i < n; i++) {
        weight[i] *= (double)n / sum;
        l->zipf[i] = (struct alias){.keep = 1, .other = (uint32_t)i};
        if (weight[i] < 1) {
            small[smalls++] = (uint32_t)i;
        } else {
            large[larges++] = (uint32_t)i;
        }
    }
    while (smalls > 0 && larges > 0) {
        uint32_t poor = small[--smalls];
        uint32_t rich = large[larges - 1];
        l->zipf[poor] = (struct alias){.keep = weight[poor], .other = rich};
        weight[rich] -= 1 - weight[poor];
        if (weight[rich] < 1) {
            larges--;
            small[smalls++] = rich;
        }
    }
    free(weight);
    free(small);
    free(large);
}

static uint64_t draw_key(struct load *l) {
    uint64_t n = l->options.keys;
    if (l->zipf) {
        uint64_t row = random_u64(l) % n;
        uint64_t rank = random_share(l) < l->zipf[row].keep ? row : l->zipf[row].other;
        /* So that neighbours in rank are none in name. */
        return (rank * 0x9e3779b1u + 7) % n;
    }
    if (l->options.hot > 0 && random_share(l) < l->options.hot) {
        return 0;
    }
    return random_u64(l) % n;
}

/* ---- Commands -------------------------------------------------------------------------------- */

struct builder {
    char *bytes;
    size_t len, size;
};

static void put(struct builder *b, const char *bytes, size_t len) {
    if (b->len + len > b->size) {
        b->size = 2 * (b->len + len);
        b->bytes = must(realloc(b->bytes, b->size));
    }
    memcpy(b->bytes + b->len, bytes, len);
    b->len += len;
}

static void put_data(struct builder *b, size_t len, bool json) {
    static const char head[] = "{\"user\":\"u-1\",\"roles\":[\"member\"],\"note\":\"";
    static const char tail[] = "\"}";
    size_t frame = sizeof head + sizeof tail - 2;
    char *data = must(malloc(len + 1));
    for (size_t i = 0; i < len; i++) {
        data[i] = (char)('a' + i * 7 % 26);
    }
    if (json && len > frame) {
        memcpy(data, head, sizeof head - 1);
        memcpy(data + len - (sizeof tail - 1), tail, sizeof tail - 1);
    }
    put(b, data, len);
    free(data);
}

static void put_place(struct builder *b, struct frame *f, enum patch_kind kind, size_t digits) {
    if (f->patch_count == PATCHES_MAX) {
        die("more than %d places in one command", PATCHES_MAX);
    }
    f->patches[f->patch_count++] = (struct patch){.kind = kind, .offset = b->len};
    put(b, "000000000000", digits);
}

/* One word, whose places are offsets within it. */
static void build_word(struct builder *b, struct frame *f, const struct options *o,
                       const char *word) {
    static const struct {
        const char *name;
        enum patch_kind kind;
        size_t digits;
    } places[] = {
        {"{key}", PATCH_KEY, NUMBER_DIGITS},     {"{any}", PATCH_ANY, NUMBER_DIGITS},
        {"{score}", PATCH_SCORE, SCORE_DIGITS},  {"{tenant}", PATCH_TENANT, TENANT_DIGITS},
        {"{count}", PATCH_COUNT, NUMBER_DIGITS},
    };
    while (*word) {
        size_t taken = 0;
        for (size_t i = 0; i < sizeof places / sizeof *places && taken == 0; i++) {
            if (strncmp(word, places[i].name, strlen(places[i].name)) == 0) {
                put_place(b, f, places[i].kind, places[i].digits);
                taken = strlen(places[i].name);
            }
        }
        if (taken == 0 && (strncmp(word, "{data}", 6) == 0 || strncmp(word, "{json}", 6) == 0)) {
            put_data(b, o->value_bytes, word[1] == 'j');
            taken = 6;
        }
        if (taken == 0) {
            put(b, word, 1);
            taken = 1;
        }
        word += taken;
    }
}

static void build_frame(struct frame *f, const struct options *o, char *const *words, int count) {
    struct builder all = {0};
    char head[32];
    if (count == 0) {
        die("a command without words");
    }
    put(&all, head, (size_t)snprintf(head, sizeof head, "*%d\r\n", count));
    for (int i = 0; i < count; i++) {
        struct builder word = {0};
        int before = f->patch_count;
        build_word(&word, f, o, words[i]);
        put(&all, head, (size_t)snprintf(head, sizeof head, "$%zu\r\n", word.len));
        for (int p = before; p < f->patch_count; p++) {
            f->patches[p].offset += all.len;
        }
        put(&all, word.bytes, word.len);
        put(&all, "\r\n", 2);
        free(word.bytes);
    }
    f->bytes = all.bytes;
    f->len = all.len;
}

static void add_command(struct load *l, const char *text) {
    if (l->command_count == COMMANDS_MAX) {
        die("more than %d commands", COMMANDS_MAX);
    }
    char *copy = must(strdup(text));
    char *words[WORDS_MAX];
    int count = 0;
    int fill = -1; /* index of its first word */
    char *rest = NULL;
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (strcmp(word, "??") == 0 && fill < 0) {
            fill = count;
        } else if (count == WORDS_MAX) {
            die("more than %d words in a command", WORDS_MAX);
        } else {
            words[count++] = word;
        }
    }
    char *end = NULL;
    double weight = count > 0 ? strtod(words[0], &end) : 0;
    if (!end || *end || weight <= 0) {
        die("a command begins with its weight: %s", text);
    }
    struct command *c = &l->commands[l->command_count++];
    c->until = l->weights += weight;
    build_frame(&c->frame, &l->options, words + 1, (fill < 0 ? count : fill) - 1);
    if (fill >= 0) {
        c->fills = true;
        build_frame(&c->fill, &l->options, words + fill, count - fill);
    }
    free(copy);
}

static void write_digits(char *at, int digits, uint64_t number) {
    while (digits > 0) {
        at[--digits] = (char)('0' + number % 10);
        number /= 10;
    }
}

static void patch_frame(struct load *l, const struct frame *f, char *bytes, uint64_t key) {
    for (int i = 0; i < f->patch_count; i++) {
        char *at = bytes + f->patches[i].offset;
        switch (f->patches[i].kind) {
        case PATCH_KEY:
            write_digits(at, NUMBER_DIGITS, key);
            break;
        case PATCH_ANY:
            write_digits(at, NUMBER_DIGITS, random_u64(l) % l->options.keys);
            break;
        case PATCH_SCORE:
            write_digits(at, SCORE_DIGITS, random_u64(l));
            break;
        case PATCH_TENANT:
            write_digits(at, TENANT_DIGITS, key % TENANTS);
            break;
        case PATCH_COUNT:
            write_digits(at, NUMBER_DIGITS, l->counter++);
            break;
        }
    }
}

/* ---- Sending --------------------------------------------------------------------------------- */

static void conn_put(struct load *l, struct conn *c, const struct frame *f, uint64_t key) {
    if (c->out_begin == c->out_end) {
        c->out_begin = c->out_end = 0;
    }
    if (c->out_end + f->len > c->out_size) {
        size_t kept = c->out_end - c->out_begin;
        memmove(c->out, c->out + c->out_begin, c->out_begin > 0 ? kept : 0);
        c->out_end = kept;
        c->out_begin = 0;
        if (kept + f->len > c->out_size) {
            c->out_size = 2 * (kept + f->len);
            c->out = must(realloc(c->out, c->out_size));
        }
    }
    memcpy(c->out + c->out_end, f->bytes, f->len);
    patch_frame(l, f, c->out + c->out_end, key);
    c->out_end += f->len;
    if (!c->dirty) {
        c->dirty = true;
        l->dirty[l->dirty_count++] = (unsigned)(c - l->conns);
    }
}

static void conn_fly(struct load *l, struct conn *c, struct flight flight) {
    c->flights[(c->first + c->count++) % l->options.depth] = flight;
    l->full += c->count == l->options.depth;
    l->under_way++;
}

static void send_request(struct load *l, struct conn *c, uint64_t due_ns) {
    double draw = random_share(l) * l->weights;
    int command = 0;
    while (command + 1 < l->command_count && draw >= l->commands[command].until) {
        command++;
    }
    uint64_t key = draw_key(l);
    conn_put(l, c, &l->commands[command].frame, key);
    conn_fly(l, c, (struct flight){.due_ns = due_ns, .key = key, .command = command});
}

/* The next connection in turn that has room; NULL if none has. */
static struct conn *roomy(struct load *l) {
    if (l->full == l->options.clients) {
        return NULL;
    }
    for (;;) {
        struct conn *c = &l->conns[l->next_conn];
        l->next_conn = (l->next_conn + 1) % l->options.clients;
        if (c->count < l->options.depth) {
            return c;
        }
    }
}

static void conn_flush(struct load *l, struct conn *c) {
    while (c->out_begin < c->out_end) {
        ssize_t n = send(c->fd, c->out + c->out_begin, c->out_end - c->out_begin, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            die("send: %s", strerror(errno));
        }
        if (n < 0 && errno == EAGAIN) {
            break;
        }
        c->out_begin += n > 0 ? (size_t)n : 0;
    }
    bool wants_out = c->out_begin < c->out_end;
    if (wants_out != c->watches_out) {
        c->watches_out = wants_out;
        struct epoll_event e = {.events = EPOLLIN | (wants_out ? EPOLLOUT : 0), .data.ptr = c};
        epoll_ctl(l->poll, EPOLL_CTL_MOD, c->fd, &e);
    }
}

static void flush_dirty(struct load *l) {
    for (unsigned i = 0; i < l->dirty_count; i++) {
        struct conn *c = &l->conns[l->dirty[i]];
        c->dirty = false;
        conn_flush(l, c);
    }
    l->dirty_count = 0;
}

/* ---- Answers --------------------------------------------------------------------------------- */

static void count_latency(struct load *l, uint64_t due_ns, uint64_t ns) {
    histogram_add(&l->all, ns);
    unsigned slice = (unsigned)((double)(due_ns - l->begin_ns) / (l->options.slice_ms * 1e6));
    histogram_add(&l->slices[slice < l->slice_count ? slice : l->slice_count - 1], ns);
}

static bool is_measured(const struct load *l, uint64_t due_ns) {
    return due_ns >= l->begin_ns && due_ns < l->end_ns;
}

static void on_answer(struct load *l, struct conn *c, uint64_t now) {
    if (c->count == 0) {
        die("an answer to nothing");
    }
    struct flight f = c->flights[c->first];
    l->full -= c->count == l->options.depth;
    c->first = (c->first + 1) % l->options.depth;
    c->count--;
    l->under_way--;
    if (c->kind == '-') {
        l->errors++;
        if (!l->first_error[0]) {
            size_t len = c->line_len < LINE_BYTES ? c->line_len : LINE_BYTES;
            memcpy(l->first_error, c->line, len);
        }
    }
    if (f.command < 0) {
        l->filled++;
        return;
    }
    l->answered_in_time += now >= l->begin_ns && now < l->end_ns;
    if (is_measured(l, f.due_ns)) {
        l->answered++;
        l->nulls += c->null;
        count_latency(l, f.due_ns, now - f.due_ns);
    }
    if (c->null && l->commands[f.command].fills) {
        conn_put(l, c, &l->commands[f.command].fill, f.key);
        conn_fly(l, c, (struct flight){.due_ns = now, .key = f.key, .command = -1});
    }
}

/* A line is complete: how many bytes and elements it announces. */
static void on_line(struct conn *c) {
    size_t last = c->line_len < LINE_BYTES ? c->line_len : LINE_BYTES - 1;
    c->line[last] = '\0';
    bool first = c->elements == 0;
    if (first) {
        c->elements = 1;
        c->kind = c->line[0];
        c->null = false;
    }
    c->elements--;
    long long number = 0;
    switch (c->line[0]) {
    case '$':
        number = strtoll(c->line + 1, NULL, 10);
        c->skip = number >= 0 ? (uint64_t)number + 2 : 0;
        break;
    case '*':
        number = strtoll(c->line + 1, NULL, 10);
        c->elements += number > 0 ? (uint64_t)number : 0;
        break;
    case '+':
    case '-':
    case ':':
        break;
    default:
        die("no answer that can be read: %.40s", c->line);
    }
    if (first && number < 0) {
        c->null = true;
    }
}

static void read_answers(struct load *l, struct conn *c, const char *data, size_t len,
                         uint64_t now) {
    while (len > 0) {
        bool line_ended = false;
        size_t n = c->skip < len ? (size_t)c->skip : len;
        if (c->skip > 0) {
            c->skip -= n;
        } else {
            const char *end = memchr(data, '\n', len);
            n = end ? (size_t)(end - data) + 1 : len;
            if (c->line_len < LINE_BYTES) {
                size_t room = LINE_BYTES - c->line_len;
                memcpy(c->line + c->line_len, data, n < room ? n : room);
            }
            c->line_len += n;
            line_ended = end != NULL;
            if (line_ended) {
                c->line_len -= c->line_len >= 2 ? 2 : c->line_len;
                on_line(c);
            }
        }
        data += n;
        len -= n;
        bool line_open = c->line_len > 0 && !line_ended;
        if (!line_open && c->skip == 0 && c->elements == 0) {
            on_answer(l, c, now);
        }
        c->line_len = line_ended ? 0 : c->line_len;
    }
}

static void conn_read(struct load *l, struct conn *c) {
    for (;;) {
        ssize_t n = recv(c->fd, l->read_buffer, READ_BYTES, 0);
        if (n == 0) {
            die("the server has closed a connection");
        }
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            if (errno != EAGAIN) {
                die("recv: %s", strerror(errno));
            }
            return;
        }
        read_answers(l, c, l->read_buffer, (size_t)n, now_ns());
        if (n < READ_BYTES) {
            return;
        }
    }
}

/* ---- The run --------------------------------------------------------------------------------- */

static void connect_all(struct load *l) {
    struct options *o = &l->options;
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int error = getaddrinfo(o->host, o->port, &hints, &found);
    if (error) {
        die("%s:%s: %s", o->host, o->port, gai_strerror(error));
    }
    l->poll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < o->clients; i++) {
        struct conn *c = &l->conns[i];
        c->flights = must(calloc(o->depth, sizeof *c->flights));
        c->fd = -1;
        for (struct addrinfo *a = found; a && c->fd < 0; a = a->ai_next) {
            c->fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
            if (c->fd >= 0 && connect(c->fd, a->ai_addr, a->ai_addrlen) != 0) {
                error = errno;
                close(c->fd);
                c->fd = -1;
                errno = error;
            }
        }
        if (c->fd < 0) {
            die("connection %u: %s", i + 1, strerror(errno));
        }
        int on = 1;
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        fcntl(c->fd, F_SETFL, O_NONBLOCK);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(l->poll, EPOLL_CTL_ADD, c->fd, &e) != 0) {
            die("epoll: %s", strerror(errno));
        }
    }
    freeaddrinfo(found);
}

/* Waits until something can be read or written, or the time has come. */
static void wait_for_events(struct load *l, uint64_t ns) {
    struct epoll_event events[EVENTS];
    struct timespec timeout = {.tv_sec = (time_t)(ns / SECOND_NS),
                               .tv_nsec = (long)(ns % SECOND_NS)};
    int count = epoll_pwait2(l->poll, events, EVENTS, &timeout, NULL);
    if (count < 0 && errno != EINTR) {
        die("epoll: %s", strerror(errno));
    }
    for (int i = 0; i < count; i++) {
        struct conn *c = events[i].data.ptr;
        if (events[i].events & ~(uint32_t)EPOLLOUT) {
            conn_read(l, c);
        }
        if (c->watches_out && !c->dirty) {
            conn_flush(l, c);
        }
    }
}

/* Of all threads of another process, from its own clock. */
static uint64_t server_cpu_ns(const struct load *l) {
    struct timespec t = {0};
    if (l->options.server_pid > 0 &&
        clock_gettime((clockid_t)(~l->options.server_pid << 3 | 2), &t) != 0) {
        die("the clock of process %ld: %s", l->options.server_pid, strerror(errno));
    }
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

/* Whether the measured time is over. Looks at the server's clock where it begins and ends. */
static bool is_over(struct load *l, uint64_t now) {
    if (!l->begun && now >= l->begin_ns) {
        l->begun = true;
        l->cpu_ns = server_cpu_ns(l);
    }
    if (now >= l->end_ns) {
        l->cpu_ns = server_cpu_ns(l) - l->cpu_ns;
        return true;
    }
    return false;
}

static uint64_t interval_ns(struct load *l) {
    double mean = 1e9 / l->options.rate;
    return (uint64_t)(-log(1 - random_share(l)) * mean);
}

/* The open loop until the end of what is measured. Returns when the first request that was not sent
 * was due. */
static uint64_t run_open(struct load *l, uint64_t start_ns) {
    uint64_t sent = 0;
    uint64_t due = start_ns;
    for (;;) {
        uint64_t now = now_ns();
        if (is_over(l, now)) {
            return due;
        }
        struct conn *c = NULL;
        for (int i = 0; i < SENT_AT_ONCE && due <= now && due < l->end_ns && (c = roomy(l)); i++) {
            if (is_measured(l, due)) {
                histogram_add(&l->lag, now - due);
            }
            send_request(l, c, due);
            sent++;
            due = l->options.even ? start_ns + (uint64_t)((double)sent * 1e9 / l->options.rate)
                                  : due + interval_ns(l);
        }
        flush_dirty(l);
        now = now_ns();
        uint64_t until = l->full == l->options.clients || due > l->end_ns ? l->end_ns : due;
        wait_for_events(l, until > now ? until - now : 0);
    }
}

/* Each connection has as many requests under way as it may. */
static void run_closed(struct load *l) {
    for (;;) {
        uint64_t now = now_ns();
        if (is_over(l, now)) {
            return;
        }
        for (struct conn *c; (c = roomy(l));) {
            send_request(l, c, now);
        }
        flush_dirty(l);
        wait_for_events(l, l->end_ns - now);
    }
}

/* What is under way has a second to be answered. */
static void drain(struct load *l) {
    uint64_t until = now_ns() + SECOND_NS;
    flush_dirty(l);
    for (uint64_t now; l->under_way > 0 && (now = now_ns()) < until; flush_dirty(l)) {
        wait_for_events(l, until - now);
    }
}

/* Invariant 3. */
static void count_what_is_left(struct load *l, uint64_t due) {
    uint64_t now = now_ns();
    for (unsigned i = 0; i < l->options.clients; i++) {
        struct conn *c = &l->conns[i];
        for (unsigned k = 0; k < c->count; k++) {
            struct flight *f = &c->flights[(c->first + k) % l->options.depth];
            if (f->command >= 0 && is_measured(l, f->due_ns)) {
                l->unanswered++;
                count_latency(l, f->due_ns, now - f->due_ns);
            }
        }
    }
    while (l->options.rate > 0 && due < l->end_ns) {
        if (is_measured(l, due)) {
            l->unsent++;
            count_latency(l, due, now - due);
        }
        due += l->options.even ? (uint64_t)(1e9 / l->options.rate) : interval_ns(l);
    }
}

static void run(struct load *l) {
    struct options *o = &l->options;
    uint64_t start = now_ns();
    l->begin_ns = start + (uint64_t)(o->warm_seconds * 1e9);
    l->end_ns = l->begin_ns + (uint64_t)(o->seconds * 1e9);
    l->slice_count = (unsigned)ceil(o->seconds * 1000 / o->slice_ms);
    l->slices = must(calloc(l->slice_count, sizeof *l->slices));
    uint64_t due = l->end_ns;
    if (o->rate > 0) {
        due = run_open(l, start);
    } else {
        run_closed(l);
    }
    drain(l);
    count_what_is_left(l, due);
}

/* ---- What is said ---------------------------------------------------------------------------- */

static void print_percentiles(const struct histogram *h) {
    printf("\"percentiles\": [[0, %.1f]", histogram_us(h, 0));
    for (int tenth = 1; tenth <= 60; tenth++) {
        double left = pow(10, -tenth / 10.0);
        if (left * (double)h->count < 1) {
            break;
        }
        printf(", [%.6f, %.1f]", 100 * (1 - left), histogram_us(h, 100 * (1 - left)));
    }
    printf(", [100, %.1f]]", (double)h->longest / 1000);
}

/* A text of a server, within quotes. */
static void print_text(const char *text) {
    putchar('"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        printf(c < 32 || c > 126 || c == '"' || c == '\\' ? "\\u%04x" : "%c", c);
    }
    putchar('"');
}

static void print_all(const struct load *l) {
    const struct options *o = &l->options;
    if (o->server_pid > 0) {
        printf("{\"cpu_s\": %.6f, ", (double)l->cpu_ns / 1e9);
    } else {
        printf("{\"cpu_s\": null, ");
    }
    printf("\"rate\": %.1f, \"seconds\": %.3f, \"answered\": %" PRIu64, o->rate, o->seconds,
           l->answered);
    printf(", \"answered_per_s\": %.1f", (double)l->answered_in_time / o->seconds);
    printf(", \"errors\": %" PRIu64 ", \"nulls\": %" PRIu64 ", \"filled\": %" PRIu64, l->errors,
           l->nulls, l->filled);
    printf(", \"unanswered\": %" PRIu64 ", \"unsent\": %" PRIu64, l->unanswered, l->unsent);
    printf(", \"first_error\": ");
    print_text(l->first_error);
    printf(", \"lag_us\": {\"p50\": %.1f, \"p99\": %.1f}", histogram_us(&l->lag, 50),
           histogram_us(&l->lag, 99));
    printf(", \"latency_us\": {");
    static const char *const names[] = {"50", "95", "99", "99.9", "99.99"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        printf("\"p%s\": %.1f, ", names[i], histogram_us(&l->all, strtod(names[i], NULL)));
    }
    printf("\"max\": %.1f}, ", (double)l->all.longest / 1000);
    print_percentiles(&l->all);
    printf(", \"series\": [");
    for (unsigned i = 0; i < l->slice_count; i++) {
        const struct histogram *h = &l->slices[i];
        printf("%s[%.3f, %" PRIu64 ", %.1f, %.1f, %.1f]", i ? ", " : "", i * o->slice_ms / 1000,
               h->count, histogram_us(h, 50), histogram_us(h, 99), (double)h->longest / 1000);
    }
    printf("]}\n");
}

/* ---- Arguments ------------------------------------------------------------------------------- */

static double number_of(const char *name, const char *text, double least, double most) {
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least && value <= most)) {
        die("--%s takes a number from %g to %g, not %s", name, least, most, text);
    }
    return value;
}

static void choose_keys(struct options *o, const char *text) {
    if (strncmp(text, "zipf", 4) == 0) {
        o->zipf = text[4] == ':' ? number_of("choose zipf", text + 5, 0.01, 5) : 0.99;
    } else if (strncmp(text, "hot", 3) == 0) {
        o->hot = text[3] == ':' ? number_of("choose hot", text + 4, 0.01, 1) : 0.9;
    } else if (strcmp(text, "uniform") != 0) {
        die("--choose takes uniform, zipf[:EXPONENT] or hot[:SHARE], not %s", text);
    }
}

static bool arrive_evenly(const char *text) {
    if (strcmp(text, "even") != 0 && strcmp(text, "poisson") != 0) {
        die("--arrive takes poisson or even, not %s", text);
    }
    return text[0] == 'e';
}

static void parse(struct load *l, int argc, char **argv) {
    static const struct option names[] = {
        {"host", 1, NULL, 'h'},        {"port", 1, NULL, 'p'},   {"rate", 1, NULL, 'r'},
        {"seconds", 1, NULL, 's'},     {"warm", 1, NULL, 'w'},   {"clients", 1, NULL, 'c'},
        {"depth", 1, NULL, 'd'},       {"keys", 1, NULL, 'k'},   {"choose", 1, NULL, 'o'},
        {"value-bytes", 1, NULL, 'v'}, {"arrive", 1, NULL, 'a'}, {"seed", 1, NULL, 'e'},
        {"slice-ms", 1, NULL, 'l'},    {"pid", 1, NULL, 'i'},    {NULL, 0, NULL, 0},
    };
    struct options *o = &l->options;
    *o = (struct options){.host = "127.0.0.1",
                          .port = "6379",
                          .rate = 1000,
                          .seconds = 1,
                          .clients = 50,
                          .depth = 64,
                          .keys = 100000,
                          .value_bytes = 64,
                          .seed = 1,
                          .slice_ms = 100};
    int which = 0;
    for (int c; (c = getopt_long(argc, argv, "", names, &which)) != -1;) {
        const char *name = c == '?' ? "" : names[which].name;
        /* clang-format off */
        switch (c) {
        case 'h': o->host = optarg; break;
        case 'p': o->port = optarg; break;
        case 'r': o->rate = number_of(name, optarg, 0, 1e8); break;
        case 's': o->seconds = number_of(name, optarg, 0.01, 86400); break;
        case 'w': o->warm_seconds = number_of(name, optarg, 0, 3600); break;
        case 'c': o->clients = (unsigned)number_of(name, optarg, 1, 65000); break;
        case 'd': o->depth = (unsigned)number_of(name, optarg, 1, 65536); break;
        case 'k': o->keys = (uint64_t)number_of(name, optarg, 1, 4e9); break;
        case 'v': o->value_bytes = (size_t)number_of(name, optarg, 0, 512e6); break;
        case 'e': o->seed = (uint64_t)number_of(name, optarg, 0, 9e15); break;
        case 'l': o->slice_ms = number_of(name, optarg, 1, 60000); break;
        case 'i': o->server_pid = (long)number_of(name, optarg, 1, 1e9); break;
        case 'o': choose_keys(o, optarg); break;
        case 'a': o->even = arrive_evenly(optarg); break;
        default: exit(2);
        }
        /* clang-format on */
    }
    if (optind == argc) {
        die("no command: for example \"1 GET key:{key}\"");
    }
    l->random = o->seed;
    while (optind < argc) {
        add_command(l, argv[optind++]);
    }
}

int main(int argc, char **argv) {
    struct load *l = must(calloc(1, sizeof *l));
    parse(l, argc, argv);
    if (l->options.zipf > 0) {
        zipf_init(l);
    }
    l->conns = must(calloc(l->options.clients, sizeof *l->conns));
    l->dirty = must(calloc(l->options.clients, sizeof *l->dirty));
    l->read_buffer = must(malloc(READ_BYTES));
    prctl(PR_SET_TIMERSLACK, 1UL);
    connect_all(l);
    run(l);
    print_all(l);
    return l->errors > 0 && l->errors >= l->answered ? 1 : 0;
}
