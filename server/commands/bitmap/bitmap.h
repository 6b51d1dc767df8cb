/* SPDX-License-Identifier: BSD-3-Clause */
/* bitmap: the commands that take strings for rows of bits.
 *
 * Thread: the key's owner.
 */
#ifndef SHOAL_SERVER_COMMANDS_BITMAP_BITMAP_H
#define SHOAL_SERVER_COMMANDS_BITMAP_BITMAP_H

#include "server/call/command.h"
#include "shard/keys/change.h"

command_fn command_bitcount;
command_fn command_bitfield;
command_fn command_bitfield_ro;
command_fn command_bitop;
command_fn command_bitpos;
command_fn command_getbit;
command_fn command_setbit;

/* Reads the place of a bit. `width`: of the fields that "#1" counts; 0: that may not be said.
 * False: it is none, and the error is written. */
bool bitmap_offset(const struct exec *x, uint32_t argv_index, unsigned width, uint64_t *ret);
/* Opens a change of the string at the command's key so that it has this bit and can be written to;
 * zeros come in. False: the key holds something else, and the error is written. */
struct bitmap_edit {
    struct change change;
    char *bytes;
    size_t length;
    bool grown;
};
bool bitmap_open(const struct exec *x, uint64_t last_bit, struct bitmap_edit *edit);

/* BITFIELD's key is only read if it has nothing but GET. */
command_keys_fn bitfield_find_keys;

#endif
