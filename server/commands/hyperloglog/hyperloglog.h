/* SPDX-License-Identifier: BSD-3-Clause */
/* hyperloglog: the commands that count different elements in a string of fixed size.
 *
 * Thread: the key's owner.
 */
#ifndef SHOAL_SERVER_COMMANDS_HYPERLOGLOG_HYPERLOGLOG_H
#define SHOAL_SERVER_COMMANDS_HYPERLOGLOG_HYPERLOGLOG_H

#include "server/call/command.h"

command_fn command_pfadd;
command_fn command_pfcount;
command_fn command_pfdebug;
command_fn command_pfmerge;
command_fn command_pfselftest;

/* PFMERGE of one key is read as one of no others. */
command_keys_fn pfmerge_find_keys;

#define ERR_HLL_CORRUPT "INVALIDOBJ Corrupted HLL object detected"

/* Whether a value is one, as far as its header and its length tell; if not, the error is written.
 */
bool hyperloglog_read(const struct exec *x, const struct value *value, struct bytes *ret);

/* Nothing changes but what OBJECT ENCODING says: whoever looks into one to change it makes it raw,
 * as in Valkey. Returns the key's entry. */
struct entry *hyperloglog_make_raw(const struct exec *x, const struct key *key,
                                   struct entry *entry);

#endif
