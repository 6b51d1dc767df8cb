/* SPDX-License-Identifier: BSD-3-Clause */
/* sha1: the digest that DEBUG DIGEST is made of and scripts are named by. Not for secrets.
 *
 * Thread: any; pure. Reference: FIPS 180-4.
 */
#ifndef SHOAL_BASE_SHA1_H
#define SHOAL_BASE_SHA1_H

#include "base/bytes.h"

#define SHA1_BYTES 20

void sha1(struct bytes data, unsigned char ret[SHA1_BYTES]);

#endif
