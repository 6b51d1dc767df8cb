/* SPDX-License-Identifier: BSD-3-Clause */
/* http_head: the head of an HTTP/1.x request, as far as the metrics listener needs it: found in
 * place, within hard limits.
 *
 * Thread: any; pure. Slices point into what was read.
 */
#ifndef SHOAL_SERVER_HTTP_HTTP_HEAD_H
#define SHOAL_SERVER_HTTP_HTTP_HEAD_H

#include "base/bytes.h"

#include <stdint.h>

#define HTTP_HEAD_BYTES_MAX     8192
#define HTTP_PASSWORD_BYTES_MAX 1024

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_OTHER };

struct http_head {
    enum http_method method;
    struct bytes path; /* without what follows '?' */
    struct bytes host; /* without the port; empty: there is none */
    struct bytes authorization;
    bool keeps_alive;
    bool open_metrics; /* what it accepts names OpenMetrics */
    bool has_body;
    size_t bytes; /* of the head, with the empty line */
};

enum http_head_status {
    HTTP_HEAD_MORE, /* it has not come as a whole */
    HTTP_HEAD_WHOLE,
    HTTP_HEAD_BAD,
    HTTP_HEAD_LONG,
    HTTP_HEAD_VERSION, /* neither HTTP/1.0 nor HTTP/1.1 */
};

enum http_head_status http_head_read(struct bytes input, struct http_head *ret_head);

/* The password of "Basic <base64 of user:password>", in the caller's memory; any user will do.
 * False: it is nothing of the kind. */
bool http_password(struct bytes authorization, char memory[HTTP_PASSWORD_BYTES_MAX],
                   struct bytes *ret_password);

/* A numeric address or localhost: what no foreign name server can have made a browser use. */
bool http_host_is_own(struct bytes host);

#endif
