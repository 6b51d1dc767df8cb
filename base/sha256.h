/* SPDX-License-Identifier: BSD-3-Clause */
/* sha256: the digest by which configuration and ACL files hold passwords.
 *
 * Thread: any; pure. Reference: FIPS 180-4.
 */
#ifndef SHOAL_BASE_SHA256_H
#define SHOAL_BASE_SHA256_H

#include "base/bytes.h"

#define SHA256_BYTES 32

void sha256(struct bytes data, unsigned char ret[SHA256_BYTES]);

#endif
