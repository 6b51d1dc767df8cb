/* SPDX-License-Identifier: BSD-3-Clause */
/* XXH3 because short keys, the usual case, cost it a few nanoseconds, and because it takes a
 * secret. Its code is compiled into this file alone, so nothing has to be linked and no other file
 * pays for the big header. */
#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hash_bytes(const unsigned char secret[HASH_SECRET_BYTES], struct bytes bytes) {
    return XXH3_64bits_withSecret(bytes.ptr, bytes.len, secret, HASH_SECRET_BYTES);
}
