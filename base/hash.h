/* SPDX-License-Identifier: BSD-3-Clause */
/* hash: keyed 64-bit hash of bytes for tables (XXH3 with a secret).
 *
 * Thread: any; pure. With a secret that clients cannot know, they cannot aim for collisions.
 */
#ifndef SHOAL_BASE_HASH_H
#define SHOAL_BASE_HASH_H

#include "base/bytes.h"

#include <stdint.h>

#define HASH_SECRET_BYTES 192

uint64_t hash_bytes(const unsigned char secret[HASH_SECRET_BYTES], struct bytes bytes);

#endif
