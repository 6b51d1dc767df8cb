/* SPDX-License-Identifier: BSD-3-Clause */
/* http_head: see the header. Why by hand: it is the first thing that a stranger's bytes meet, and
 * what is needed of HTTP is small: a line, fields by their names, an empty line. Everything that
 * two readers could understand differently (a line end inside of a field, a field that goes on in
 * the next line, two lengths) is refused instead of being mended.
 */
#include "server/http/http_head.h"

/* ---- Lines ---- */

static bool is_token(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* The next line without its end, and moves on; false: it is not all there. */
static bool next_line(struct bytes *rest, struct bytes *ret_line) {
    const char *end = memchr(rest->ptr, '\n', rest->len);
    if (end == NULL) {
        return false;
    }
    size_t len = (size_t)(end - rest->ptr);
    *ret_line = bytes_make(rest->ptr, len > 0 && end[-1] == '\r' ? len - 1 : len);
    *rest = bytes_make(end + 1, rest->len - len - 1);
    return true;
}

/* The word up to a space, and moves on behind it. */
static struct bytes next_word(struct bytes *line) {
    const char *space = memchr(line->ptr, ' ', line->len);
    size_t len = space != NULL ? (size_t)(space - line->ptr) : line->len;
    struct bytes word = bytes_make(line->ptr, len);
    size_t passed = space != NULL ? len + 1 : len;
    *line = bytes_make(line->ptr + passed, line->len - passed);
    return word;
}

static struct bytes trimmed(struct bytes b) {
    while (b.len > 0 && (b.ptr[0] == ' ' || b.ptr[0] == '\t')) {
        b = bytes_make(b.ptr + 1, b.len - 1);
    }
    while (b.len > 0 && (b.ptr[b.len - 1] == ' ' || b.ptr[b.len - 1] == '\t')) {
        b.len--;
    }
    return b;
}

static bool printable(struct bytes b) {
    for (size_t i = 0; i < b.len; i++) {
        unsigned char c = (unsigned char)b.ptr[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

/* `needle` is lower case. */
static bool contains(struct bytes b, struct bytes needle) {
    for (size_t i = 0; i + needle.len <= b.len; i++) {
        if (bytes_equal_nocase(bytes_make(b.ptr + i, needle.len), needle)) {
            return true;
        }
    }
    return false;
}

/* ---- The parts ---- */

static enum http_head_status read_first(struct bytes line, struct http_head *head) {
    struct bytes method = next_word(&line), target = next_word(&line), version = line;
    if (method.len == 0 || target.len == 0 || target.ptr[0] != '/' || !printable(target)) {
        return HTTP_HEAD_BAD;
    }
    for (size_t i = 0; i < method.len; i++) {
        if (!is_token(method.ptr[i])) {
            return HTTP_HEAD_BAD;
        }
    }
    head->method = bytes_equal(method, BYTES("GET"))    ? HTTP_GET
                   : bytes_equal(method, BYTES("HEAD")) ? HTTP_HEAD
                                                        : HTTP_OTHER;
    const char *query = memchr(target.ptr, '?', target.len);
    head->path = bytes_make(target.ptr, query != NULL ? (size_t)(query - target.ptr) : target.len);
    if (bytes_equal(version, BYTES("HTTP/1.1"))) {
        head->keeps_alive = true;
        return HTTP_HEAD_WHOLE;
    }
    return bytes_equal(version, BYTES("HTTP/1.0")) ? HTTP_HEAD_WHOLE : HTTP_HEAD_VERSION;
}

/* "name:port", "[::1]:port", without the port. */
static struct bytes without_port(struct bytes host) {
    if (host.len > 0 && host.ptr[0] == '[') {
        const char *end = memchr(host.ptr, ']', host.len);
        return end != NULL ? bytes_make(host.ptr, (size_t)(end - host.ptr) + 1) : host;
    }
    const char *colon = memchr(host.ptr, ':', host.len);
    return colon != NULL ? bytes_make(host.ptr, (size_t)(colon - host.ptr)) : host;
}

static bool read_field(struct bytes line, struct http_head *head) {
    const char *colon = memchr(line.ptr, ':', line.len);
    if (colon == NULL || colon == line.ptr || !printable(line)) {
        return false;
    }
    struct bytes name = bytes_make(line.ptr, (size_t)(colon - line.ptr));
    struct bytes value = trimmed(bytes_make(colon + 1, line.len - name.len - 1));
    for (size_t i = 0; i < name.len; i++) {
        if (!is_token(name.ptr[i])) {
            return false;
        }
    }
    if (bytes_is(name, "host")) {
        if (head->host.len > 0) {
            return false;
        }
        head->host = without_port(value);
    } else if (bytes_is(name, "authorization")) {
        head->authorization = value;
    } else if (bytes_is(name, "connection")) {
        head->keeps_alive = contains(value, BYTES("close"))        ? false
                            : contains(value, BYTES("keep-alive")) ? true
                                                                   : head->keeps_alive;
    } else if (bytes_is(name, "accept")) {
        head->open_metrics |= contains(value, BYTES("application/openmetrics-text"));
    } else if (bytes_is(name, "content-length")) {
        head->has_body |= !bytes_equal(value, BYTES("0"));
    } else if (bytes_is(name, "transfer-encoding")) {
        head->has_body = true;
    }
    return true;
}

static enum http_head_status read_all(struct bytes input, struct http_head *head) {
    struct bytes rest = input, line;
    if (!next_line(&rest, &line)) {
        return HTTP_HEAD_MORE;
    }
    enum http_head_status status = read_first(line, head);
    if (status != HTTP_HEAD_WHOLE) {
        return status;
    }
    bool new_version = head->keeps_alive;
    for (;;) {
        if (!next_line(&rest, &line)) {
            return HTTP_HEAD_MORE;
        }
        if (line.len == 0) {
            break;
        }
        if (!read_field(line, head)) {
            return HTTP_HEAD_BAD;
        }
    }
    head->bytes = input.len - rest.len;
    return new_version && head->host.len == 0 ? HTTP_HEAD_BAD : HTTP_HEAD_WHOLE;
}

enum http_head_status http_head_read(struct bytes input, struct http_head *ret_head) {
    *ret_head = (struct http_head){.method = HTTP_OTHER};
    bool full = input.len >= HTTP_HEAD_BYTES_MAX;
    if (full) {
        input.len = HTTP_HEAD_BYTES_MAX;
    }
    enum http_head_status status = read_all(input, ret_head);
    return status == HTTP_HEAD_MORE && full ? HTTP_HEAD_LONG : status;
}

/* ---- Who asks ---- */

static int sextet(char c) {
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* Returns how many bytes that is, or -1. */
static long decode(struct bytes text, char *memory, size_t room) {
    while (text.len > 0 && text.ptr[text.len - 1] == '=') {
        text.len--;
    }
    size_t n = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < text.len; i++) {
        int value = sextet(text.ptr[i]);
        if (value < 0) {
            return -1;
        }
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 != 0) {
            if (n == room) {
                return -1;
            }
            memory[n++] = (char)(bits >> (6 - 2 * (i % 4)));
        }
    }
    return (long)n;
}

bool http_password(struct bytes authorization, char memory[HTTP_PASSWORD_BYTES_MAX],
                   struct bytes *ret_password) {
    if (authorization.len == 0 || !bytes_is(next_word(&authorization), "basic")) {
        return false;
    }
    long n = decode(trimmed(authorization), memory, HTTP_PASSWORD_BYTES_MAX);
    const char *colon = n > 0 ? memchr(memory, ':', (size_t)n) : NULL;
    if (colon == NULL) {
        return false;
    }
    *ret_password = bytes_make(colon + 1, (size_t)(memory + n - colon - 1));
    return true;
}

bool http_host_is_own(struct bytes host) {
    if (host.len == 0 || bytes_is(host, "localhost") || host.ptr[0] == '[') {
        return true;
    }
    for (size_t i = 0; i < host.len; i++) {
        if ((host.ptr[i] < '0' || host.ptr[i] > '9') && host.ptr[i] != '.') {
            return false;
        }
    }
    return true;
}
