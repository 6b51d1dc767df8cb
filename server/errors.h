/* SPDX-License-Identifier: BSD-3-Clause */
/* errors: the one list of error texts that more than one place gives. Code first, as reply_error wants them.
 *
 * Thread: constants.
 */
#ifndef SHOAL_SERVER_ERRORS_H
#define SHOAL_SERVER_ERRORS_H

#define ERR_WRONG_TYPE   "WRONGTYPE Operation against a key holding the wrong kind of value"
#define ERR_NO_KEY       "ERR no such key"
#define ERR_SYNTAX       "ERR syntax error"
#define ERR_NOT_INTEGER  "ERR value is not an integer or out of range"
#define ERR_NOT_FLOAT    "ERR value is not a valid float"
#define ERR_OUT_OF_RANGE "ERR index out of range"
#define ERR_SAME_OBJECT  "ERR source and destination objects are the same"
#define ERR_OVERFLOW     "ERR increment or decrement would overflow"
#define ERR_NO_AUTH      "NOAUTH Authentication required."
#define ERR_DB_INDEX     "ERR DB index is out of range"
#define ERR_VALUE_RANGE  "ERR value is out of range"
#define ERR_STRING_TOO_LONG "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
#define ERR_CROSS_SHARD  "ERR keys lie on several shards: not served until transactions over shards are there. Use keys with one {hash tag}, or start the server with `shards 1`"

#endif
