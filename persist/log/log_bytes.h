/* SPDX-License-Identifier: BSD-3-Clause */
/* log_bytes: numbers as a log has them: little endian, wherever they lie.
 *
 * Thread: any; pure.
 */
#ifndef SHOAL_PERSIST_LOG_LOG_BYTES_H
#define SHOAL_PERSIST_LOG_LOG_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline void log_put_u32(char *to, uint32_t number) {
    number = htole32(number);
    memcpy(to, &number, sizeof number);
}
static inline void log_put_u64(char *to, uint64_t number) {
    number = htole64(number);
    memcpy(to, &number, sizeof number);
}
static inline uint32_t log_get_u32(const char *from) {
    uint32_t number;
    memcpy(&number, from, sizeof number);
    return le32toh(number);
}
static inline uint64_t log_get_u64(const char *from) {
    uint64_t number;
    memcpy(&number, from, sizeof number);
    return le64toh(number);
}

#endif
