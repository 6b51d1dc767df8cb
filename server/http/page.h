/* SPDX-License-Identifier: BSD-3-Clause */
/* page: page.html, as the build has put it into the program (page.py).
 *
 * Thread: any.
 */
#ifndef SHOAL_SERVER_HTTP_PAGE_H
#define SHOAL_SERVER_HTTP_PAGE_H

#include <stddef.h>

extern const char page_html[];
extern const size_t page_html_bytes;

#endif
