/* SPDX-License-Identifier: BSD-3-Clause */
/* generic: the functions that generic_rows.c names.
 *
 * Thread: the shard that owns the keys; KEYS, RANDOMKEY, SCAN and WAIT: the client's home.
 */
#ifndef SHOAL_SERVER_COMMANDS_GENERIC_GENERIC_H
#define SHOAL_SERVER_COMMANDS_GENERIC_GENERIC_H

#include "server/call/command.h"

command_fn command_copy;
command_fn command_del;
command_fn command_exists;
command_fn command_expire;
command_fn command_expireat;
command_fn command_expiretime;
/* KEYS; command_keys finds the keys of a call (command_table.h). */
command_fn command_list_keys;
command_fn command_move;
command_fn command_object_encoding;
command_fn command_object_freq;
command_fn command_object_help;
command_fn command_object_idletime;
command_fn command_object_refcount;
command_fn command_persist;
command_fn command_pexpire;
command_fn command_pexpireat;
command_fn command_pexpiretime;
command_fn command_pttl;
command_fn command_randomkey;
command_fn command_rename;
command_fn command_renamenx;
command_fn command_scan;
command_fn command_clusterscan;
command_fn command_sort;
command_fn command_touch;
command_fn command_ttl;
command_fn command_type;
command_fn command_unlink;
command_fn command_wait;
command_fn command_waitaof;
command_keys_fn sort_find_keys;
command_fn sort_run; /* where its keys are, or all are in view */
/* The slot that all keys of this pattern are in, if it is one: it has no wildcard, or none before
 * the end of its {tag}; else -1. */
int pattern_slot(struct bytes pattern);
bool sort_reads_everywhere(const struct bytes *argv, uint32_t argc);
command_db_args_fn copy_db_args;
command_db_args_fn move_db_args;
command_dbs_fn copy_name_dbs;
command_dbs_fn move_name_dbs;

/* As TYPE says them. */
extern const char *const type_names[TYPE_COUNT];
/* False, with the error: no type is called that. */
bool type_parse(const struct exec *x, struct bytes name, int *ret_type);

#endif
