/* SPDX-License-Identifier: BSD-3-Clause */
/* The head of a request to the metrics listener: what is found lies within what came, it is found
 * the same however the bytes arrive, and what is shorter than a whole head is none.
 */
#include "base/check.h"
#include "server/http/http_head.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_within(struct bytes part, struct bytes all) {
    check(part.len == 0 || (part.ptr >= all.ptr && part.ptr + part.len <= all.ptr + all.len));
}

static void check_whole(const struct http_head *head, struct bytes input) {
    check(head->bytes > 0 && head->bytes <= input.len && head->bytes <= HTTP_HEAD_BYTES_MAX);
    check(input.ptr[head->bytes - 1] == '\n');
    check(head->path.len > 0 && head->path.ptr[0] == '/');
    check_within(head->path, input);
    check_within(head->host, input);
    check_within(head->authorization, input);
    check(memchr(head->path.ptr, '?', head->path.len) == NULL);
    char memory[HTTP_PASSWORD_BYTES_MAX];
    struct bytes password;
    if (http_password(head->authorization, memory, &password)) {
        check(password.ptr > memory && password.ptr + password.len <= memory + sizeof memory);
    }
    http_host_is_own(head->host);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (size_t part = 0; part <= size; part += part + 1 < size ? 1 + size / 64 : 1) {
        /* Of its own size, so that a sanitizer sees who reads on. */
        char *copy = malloc(part ? part : 1);
        memcpy(copy, data, part);
        struct bytes input = bytes_make(copy, part);
        struct http_head head, whole;
        enum http_head_status status = http_head_read(input, &head);
        enum http_head_status of_all = http_head_read(bytes_make((const char *)data, size), &whole);
        if (status == HTTP_HEAD_WHOLE) {
            check_whole(&head, input);
            check(of_all == HTTP_HEAD_WHOLE && whole.bytes == head.bytes);
            check(head.method == whole.method && bytes_equal(head.path, whole.path));
        } else if (status != HTTP_HEAD_MORE) {
            check(of_all == status);
        }
        check(status != HTTP_HEAD_MORE || part < HTTP_HEAD_BYTES_MAX);
        free(copy);
    }
    return 0;
}
