/* SPDX-License-Identifier: BSD-3-Clause */
/* crc16: the checksum that maps a key to its slot: XMODEM (polynomial 0x1021, start 0, not
 * reflected).
 *
 * Thread: any; pure.
 */
#ifndef SHOAL_BASE_CRC16_H
#define SHOAL_BASE_CRC16_H

#include "base/bytes.h"

#include <stdint.h>

uint16_t crc16(struct bytes bytes);

#endif
