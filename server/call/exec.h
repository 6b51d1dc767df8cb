/* SPDX-License-Identifier: BSD-3-Clause */
/* exec: what commands ask of the call they run in: their keys, their numbers, their limits.
 *
 * Thread: the one that runs the command.
 * The functions that read an argument answer with the error themselves when it makes no sense, and
 * return false: the command then only returns.
 */
#ifndef SHOAL_SERVER_CALL_EXEC_H
#define SHOAL_SERVER_CALL_EXEC_H

#include "base/check.h"
#include "server/call/command.h"
#include "shard/types/string.h"

struct config;
struct rng;
struct script_run;

/* The key at a position of argv: hashed when the command was routed, or now, if what routed it did
 * not take it for a key. */
struct key exec_key(const struct exec *x, uint32_t argv_index);

#define EXEC_KEYS_MAX 16

/* The keys at positions first, first + step .. below end, up to EXEC_KEYS_MAX of them; memory is
 * asked for where they will be looked up, for all at once. Returns how many. */
uint32_t exec_keys(const struct exec *x, uint32_t first, uint32_t end, uint32_t step,
                   struct key keys[EXEC_KEYS_MAX]);

/* For SPREAD_ELEMENTS: after the array's header, and after each element. */
static inline void exec_element(struct exec *x) {
    if (x->elements.ends != NULL) {
        x->elements.ends[x->elements.count++] = x->reply->out->bytes - x->elements.start;
    }
}

/* For SPREAD_IF. Only whether the keys here let it run is asked; or that was asked, and all do. */
static inline bool exec_is_asked(const struct exec *x) {
    return x->stage == STAGE_ASK;
}
static inline bool exec_is_agreed(const struct exec *x) {
    return x->stage == STAGE_ACT;
}

/* For SPREAD_EACH: whether it is to work on the key at this position of argv; and why it does not
 * run, which was written, is what the n-th of its keys says. */
bool exec_has(const struct exec *x, uint32_t argv_index);
static inline void exec_denies(struct exec *x, uint32_t n) {
    x->denied_at = n;
}

/* For SPREAD_AT and SPREAD_MOVE: the value of the key at a position of argv, which the command only
 * reads, wherever it lies. False, and *ret says so, if there is none. Looks it up, touches and
 * counts as keyspace_find does, so it is called once for each key, in the order of argv. */
bool exec_input(const struct exec *x, uint32_t argv_index, unsigned lookup_flags, struct loan *ret);
/* Gives a key the value of an input, wherever that lies: keyspace_put, and the effect that another
 * shard's value needs. What is long to copy from another shard is there, with its event and effect,
 * after the command, and before anybody sees the key: a command does nothing with it after this. */
void exec_put(struct exec *x, uint32_t db, const struct key *key, const struct loan *from,
              enum key_event event);
/* Whether some of its keys lie on other shards: what it writes here it states itself, as nobody
 * could run it again with what is here (effect_state_key). */
static inline bool exec_is_apart(const struct exec *x) {
    return x->stage == STAGE_AT;
}

/* For what reads keys that no argument names (row->reads_everywhere). Whether it may look at one.
 * If not, then it runs once more, where it may: it asks so about all that it will look at, as far
 * as it knows them, writes nothing and changes nothing. What it has looked at did not count. */
bool exec_has_named(const struct exec *x, struct bytes name);
/* What one has at which it may look, as exec_input. */
bool exec_named(const struct exec *x, struct bytes name, struct loan *ret);
/* All shards are in view: it may look at any key. And the keyspace of one. */
bool exec_sees_all(const struct exec *x);
struct keyspace *exec_keyspace(const struct exec *x, const struct key *key);

/* Whether this is a node of a cluster. */
bool exec_is_in_cluster(const struct exec *x);

/* Whether a script calls it. */
bool exec_is_of_script(const struct exec *x);
struct script_run *exec_script(const struct exec *x); /* or NULL */

/* For SPREAD_MOVE: what it took from another shard is here now; its owner runs the command once
 * more, and exec_takes says so there: x->key goes, or what was taken of it. */
static inline void exec_take(struct exec *x) {
    x->takes = true;
}
static inline bool exec_takes(const struct exec *x) {
    return x->stage == STAGE_TAKE;
}

/* ---- Commands that look for the first of their keys that has something, or wait for one ---- */

/* Whether it has to look at the key at this position of argv: not if it is known that another one
 * is the first that has a value (SPREAD_FIRST), or is what its client was waiting for. Asked for
 * each key, in their order. */
bool exec_looks_at(const struct exec *x, uint32_t argv_index);

/* None of its keys has anything for it, and nothing was written: its client waits for those that it
 * accesses (KEY_ACCESS), so many ms at most (0: for ever). When one has something (row->ready), the
 * command runs again, where that key is, and looks at no other. If the client's time is up it is
 * answered with a null array. False: nobody may wait here (EXEC, a script), and it answers itself.
 */
bool exec_wait(const struct exec *x, int64_t timeout_ms);
/* While it waits this word of argv, which has one letter, is another one of up to EXEC_WORD_MAX
 * bytes: the last entry of a stream is meant as it was when the wait began. */
#define EXEC_WORD_MAX 44
void exec_wait_word(const struct exec *x, uint32_t argv_index, struct bytes word);
/* A timeout as an argument says it: in seconds, fractions too; in milliseconds, whole ones. */
bool exec_arg_timeout(const struct exec *x, uint32_t argv_index, int64_t *ret_ms);
bool exec_arg_timeout_ms(const struct exec *x, uint32_t argv_index, int64_t *ret_ms);

/* For row->ready: what x->key has, and nothing is touched or counted; NULL if it has nothing. */
const struct entry *exec_peek(const struct exec *x);
/* The same of another of its keys; NULL, too, if it may not look at that. */
const struct entry *exec_peek_at(const struct exec *x, uint32_t argv_index);
/* The answer of commands that wait until their key has a value of this type. */
enum waiter_answer exec_ready(const struct exec *x, enum value_type type);

/* The time at which a key must be alive to be seen: now, or, for who sees dead ones, none. For what
 * takes its look at keys elsewhere. */
int64_t exec_alive_ms(const struct exec *x);

/* ---- Arguments ---- */

bool exec_arg_i64(const struct exec *x, uint32_t argv_index, int64_t *ret);
/* The same within bounds; `error` is the answer to anything else, NULL: the usual ones. */
bool exec_arg_range(const struct exec *x, uint32_t argv_index, int64_t min, int64_t max,
                    const char *error, int64_t *ret);
/* How many elements are to be drawn at random; negative: the same may come up again. */
bool exec_arg_draws(const struct exec *x, uint32_t argv_index, int64_t *ret);
/* Asked once there is something to draw from: an error if the reply takes more memory than there
 * is, which nobody waits for. */
bool exec_draws_fit(const struct exec *x, int64_t count);
/* A number of a database that exists. */
bool exec_arg_db(const struct exec *x, uint32_t argv_index, uint32_t *ret_db);

/* Writes "ERR wrong number of arguments for ..." for checks that arity cannot make. */
void exec_arity_error(const struct exec *x);

/* ---- Keys ---- */

/* The live entry of a key, or NULL, that must hold a value of this type if it holds anything.
 * False: it holds something else, and the error is written. */
bool exec_find(const struct exec *x, const struct key *key, enum value_type type,
               unsigned lookup_flags, struct entry **ret_entry);
static inline bool exec_find_string(const struct exec *x, const struct key *key,
                                    unsigned lookup_flags, struct entry **ret_entry) {
    return exec_find(x, key, TYPE_STRING, lookup_flags, ret_entry);
}

/* Makes a deadline of a number that is not negative and not 0: `ms` says its unit, `absolute`
 * whether it is a time or a duration. False: no such deadline, and the error is written. */
bool exec_deadline(const struct exec *x, int64_t value, bool ms, bool absolute, int64_t *ret_ms);

/* What a string_set of this key needs to know: a TTL that stays. */
struct string_target exec_target(const struct exec *x, const struct key *key, enum key_event event);
/* Sets a key to an argument, as string_set does. One that was received into a block of its own is
 * not copied: it may be stored only once, and not be read after that. */
void exec_store_argument(const struct exec *x, const struct key *key, uint32_t argv_index,
                         int64_t expires_at, enum key_event event);

/* The value of a string as a bulk string; large ones are lent, not copied. */
void exec_reply_string(const struct exec *x, struct entry *entry);

/* The dice of the thread that runs it. */
struct rng *exec_rng(const struct exec *x);

/* ---- Configuration ---- */

/* The snapshot of it that this thread has: thresholds of encodings and the like. */
const struct config *exec_config(const struct exec *x);

/* How long a string may grow: proto-max-bulk-len, but never beyond what the machine can hold. */
int64_t exec_bulk_len_max(const struct exec *x);
/* lazyfree-lazy-user-del: DEL frees as UNLINK does. */
bool exec_lazy_user_del(const struct exec *x);
/* lazyfree-lazy-expire: the same for what is deleted because its time is over. */
bool exec_lazy_expire(const struct exec *x);
/* A key that is given this deadline is deleted instead. Not in import mode: its source will say
 * when that goes. */
bool exec_is_past(const struct exec *x, int64_t deadline);
/* Deletes it; false if it was missing. */
bool exec_run_out(const struct exec *x, const struct key *key);
/* maxmemory-policy counts accesses (LFU) instead of noting times. */
bool exec_policy_is_lfu(const struct exec *x);

#endif
