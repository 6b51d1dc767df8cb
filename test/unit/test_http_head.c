/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/http/http_head.h"

#include <criterion/criterion.h>

#define HOST "Host: localhost\r\n"

static struct http_head head;

static enum http_head_status read_text(const char *text) {
    return http_head_read(bytes_of_text(text), &head);
}

Test(http_head, a_request_is_taken_apart) {
    cr_assert_eq(
        read_text("GET /metrics?all=1 HTTP/1.1\r\nHost: [::1]:9121\r\nauthorization:  Basic x \r\n"
                  "Accept: text/plain, Application/OpenMetrics-Text\r\n\r\nrest"),
        HTTP_HEAD_WHOLE);
    cr_assert(head.method == HTTP_GET && head.keeps_alive && head.open_metrics && !head.has_body);
    cr_assert(bytes_equal(head.path, BYTES("/metrics")));
    cr_assert(bytes_equal(head.host, BYTES("[::1]")));
    cr_assert(bytes_equal(head.authorization, BYTES("Basic x")));
}

Test(http_head, its_end_is_where_the_empty_line_ends) {
    const char text[] = "GET / HTTP/1.1\r\n" HOST "\r\n";
    for (size_t n = 0; n < sizeof text - 1; n++) {
        cr_assert_eq(http_head_read(bytes_make(text, n), &head), HTTP_HEAD_MORE, "%zu", n);
    }
    cr_assert_eq(read_text("GET / HTTP/1.1\r\n" HOST "\r\nGET"), HTTP_HEAD_WHOLE);
    cr_assert_eq(head.bytes, sizeof text - 1);
}

Test(http_head, connections_stay_as_the_version_and_the_field_say) {
    read_text("GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    cr_assert(!head.keeps_alive);
    read_text("GET / HTTP/1.0\r\n\r\n");
    cr_assert(!head.keeps_alive);
    read_text("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    cr_assert(head.keeps_alive);
}

Test(http_head, what_two_could_read_differently_is_bad) {
    cr_assert_eq(read_text("GET / HTTP/1.1\r\n\r\n"), HTTP_HEAD_BAD);
    cr_assert_eq(read_text("GET / HTTP/1.1\r\n" HOST HOST "\r\n"), HTTP_HEAD_BAD);
    cr_assert_eq(read_text("GET / HTTP/1.1\r\n" HOST " goes on\r\n\r\n"), HTTP_HEAD_BAD);
    cr_assert_eq(read_text("GET / HTTP/1.1\r\nHost : x\r\n\r\n"), HTTP_HEAD_BAD);
    cr_assert_eq(read_text("GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n"), HTTP_HEAD_BAD);
    cr_assert_eq(read_text("GET * HTTP/1.1\r\n" HOST "\r\n"), HTTP_HEAD_BAD);
    cr_assert_eq(read_text("GET / HTTP/3\r\n" HOST "\r\n"), HTTP_HEAD_VERSION);
}

Test(http_head, a_long_one_is_refused) {
    static char text[HTTP_HEAD_BYTES_MAX + 100];
    memset(text, 'a', sizeof text);
    memcpy(text, "GET /", 5);
    cr_assert_eq(http_head_read(bytes_make(text, HTTP_HEAD_BYTES_MAX - 1), &head), HTTP_HEAD_MORE);
    cr_assert_eq(http_head_read(bytes_make(text, HTTP_HEAD_BYTES_MAX), &head), HTTP_HEAD_LONG);
    cr_assert_eq(http_head_read(bytes_make(text, sizeof text), &head), HTTP_HEAD_LONG);
}

Test(http_head, a_password_is_what_follows_the_first_colon) {
    char memory[HTTP_PASSWORD_BYTES_MAX];
    struct bytes password;
    cr_assert(http_password(BYTES("Basic dXNlcjpwYTpzcw=="), memory, &password));
    cr_assert(bytes_equal(password, BYTES("pa:ss")));
    cr_assert(http_password(BYTES("basic Og=="), memory, &password));
    cr_assert_eq(password.len, 0);
    cr_assert(!http_password(BYTES("Basic dXNlcg=="), memory, &password), "no colon");
    cr_assert(!http_password(BYTES("Bearer dXNlcjpwYQ=="), memory, &password));
    cr_assert(!http_password(BYTES("Basic dXNl-cjpw"), memory, &password));
    cr_assert(!http_password(BYTES("Basic"), memory, &password));
    cr_assert(!http_password((struct bytes){0}, memory, &password), "nothing was said");
    static char text[3000] = "Basic ";
    memset(text + 6, 'A', sizeof text - 7);
    cr_assert(!http_password(bytes_of_text(text), memory, &password), "longer than any");
}

Test(http_head, numbers_and_localhost_are_our_own_names) {
    cr_assert(http_host_is_own(BYTES("127.0.0.1")) && http_host_is_own(BYTES("[::1]")));
    cr_assert(http_host_is_own(BYTES("LocalHost")));
    cr_assert(!http_host_is_own(BYTES("example.org")) && !http_host_is_own(BYTES("127.0.0.1.x")));
}
