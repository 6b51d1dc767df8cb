/* SPDX-License-Identifier: BSD-3-Clause */
/* scripts: the scripts that the process knows, by their SHA1: what EVAL and SCRIPT LOAD bring, and
 * EVALSHA finds, whatever thread either runs on.
 *
 * Thread: any; a lock that is held for a lookup or an insertion. Each worker keeps those that it
 * has compiled (state.h) and asks here for what it has not, so it is seldom taken. Ownership: a
 * script is counted; who was given one gives it back.
 */
#ifndef SHOAL_SERVER_SCRIPT_SCRIPTS_H
#define SHOAL_SERVER_SCRIPT_SCRIPTS_H

#include "base/bytes.h"
#include "base/sha1.h"

#include <stdbool.h>
#include <stdint.h>

struct text;

enum script_flag {
    SCRIPT_NO_WRITES = 1 << 0,
    SCRIPT_ALLOW_OOM = 1 << 1,
    SCRIPT_ALLOW_STALE = 1 << 2,
    SCRIPT_NO_CLUSTER = 1 << 3,
    SCRIPT_ALLOW_CROSS_SLOT = 1 << 4,
    SCRIPT_COMPATIBLE = 1 << 5, /* it has no first line that says flags: judged by what it calls */
};

struct script;
struct scripts;

struct scripts *scripts_new(void);
void scripts_free(struct scripts *scripts);

/* Reads the first line "#!lua flags=a,b". *ret_code is what is to be compiled: the same lines, the
 * first one empty. False, and the error (with its code): it is none that can be followed. */
bool script_read_shebang(struct bytes body, unsigned *ret_flags, struct bytes *ret_code,
                         struct text *err);
/* The name of a flag, or the next one's by number; NULL behind the last. */
const char *script_flag_name(unsigned index);

/* NULL: it is not known. */
struct script *scripts_find(struct scripts *scripts, const unsigned char sha[SHA1_BYTES]);
/* The one with that body; made, if there is none. `stays`: SCRIPT LOAD brought it; others are
 * forgotten when there are too many (SCRIPTS_MAX), the oldest first. */
#define SCRIPTS_MAX 500
struct script *scripts_add(struct scripts *scripts, struct bytes body,
                           const unsigned char sha[SHA1_BYTES], unsigned flags, bool stays);
void scripts_flush(struct scripts *scripts);
/* Changes with each flush: what was compiled before is forgotten. */
uint64_t scripts_epoch(const struct scripts *scripts);
/* How many there are, how many bytes they take, and how many were forgotten. */
struct scripts_stats {
    uint64_t count, bytes, evicted;
};
struct scripts_stats scripts_stats(struct scripts *scripts);

/* ---- What runs for long ---- */

/* One that a worker runs. The words are copied. */
struct script_running {
    struct bytes name; /* of a function; none of a script */
    const struct bytes *argv;
    uint32_t argc;
    uint64_t began_ns; /* rt_mono_ns */
};
/* NULL: it is over. */
void scripts_note_running(struct scripts *scripts, unsigned worker,
                          const struct script_running *running);
/* One of the functions that run, in one block of malloc; NULL: there is none. */
struct script_running *scripts_running_function(struct scripts *scripts);

/* One that no table has: a function of a library (libraries.h). It has no body. */
struct script *script_of_function(unsigned flags);
void script_unref(struct script *script);
struct bytes script_body(const struct script *script);
const unsigned char *script_sha(const struct script *script);
unsigned script_flags(const struct script *script);
/* Where its keys were. One that has not run yet may do anything: it begins with all shards in view,
 * and so does one that has ever looked for a key in another slot than those it declares. */
enum script_reach { REACH_UNKNOWN, REACH_NEAR, REACH_FAR };
enum script_reach script_reach(const struct script *script);
/* What it was in a run; FAR stays. */
void script_note_reach(struct script *script, enum script_reach reach);

/* 40 hexadecimal digits. */
bool script_parse_sha(struct bytes text, unsigned char ret[SHA1_BYTES]);
#define SCRIPT_SHA_TEXT 41
void script_format_sha(const unsigned char sha[SHA1_BYTES], char ret[SCRIPT_SHA_TEXT]);

#endif
