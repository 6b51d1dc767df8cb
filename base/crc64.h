/* SPDX-License-Identifier: BSD-3-Clause */
/* crc64: the checksum behind dumps of values and RDB files: Jones' polynomial, reflected, begun
 * with 0 and not turned over at the end.
 *
 * Thread: any; pure. Reference: the value for "123456789" is e9c6d914c4b8d9ca.
 */
#ifndef SHOAL_BASE_CRC64_H
#define SHOAL_BASE_CRC64_H

#include "base/bytes.h"

#include <stdint.h>

/* Of what `crc` (0 at first) is of, and these bytes behind it. */
uint64_t crc64(uint64_t crc, struct bytes bytes);

#endif
