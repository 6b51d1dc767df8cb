/* SPDX-License-Identifier: BSD-3-Clause */
/* txn_conclude: what the parts have brought home, and what follows from it for the commands: votes,
 * and where a command runs now that its inputs, which their owners lend, are known.
 */
#include "server/txn/txn_private.h"
#include "server/worker/worker.h"
#include "shard/types/value.h"

/* ---- Votes ---- */

void txn_count_votes(struct txn *txn) {
    EACH_PART(txn, part) {
        struct txn_task *task = part->refuses ? part->first : NULL;
        for (; task != NULL; task = task->next) {
            if (task->refusal != NULL && task->command->refusal == NULL) {
                task->command->refusal = task->refusal;
            }
            if (txn->queue != NULL && txn->refusal == NULL) {
                txn->refusal = task->refusal;
            }
        }
    }
}

void txn_forget_votes(struct txn *txn) {
    txn->refusal = NULL;
    for (uint32_t i = 0; i < txn->count; i++) {
        txn->commands[i].refusal = txn->commands[i].forbidden;
    }
}

/* ---- Inputs, and what the tasks of a phase say ---- */

/* Its inputs are known. */
static int largest_input(const struct txn_command *command) {
    int at = command->first->worker;
    size_t largest = 0;
    for (uint32_t i = 0; i < command->keys_count; i++) {
        const struct loan *loan = &command->inputs[i].loan;
        size_t bytes = loan->present ? value_memory(&value_forms, &loan->value) : 0;
        if (bytes > largest) {
            largest = bytes;
            at = command->keys[i].worker;
        }
    }
    return at;
}

/* The first key that has a value, or just the first. */
static int first_input(struct txn_command *command) {
    uint32_t i = 0;
    while (i < command->keys_count && !command->inputs[i].loan.present) {
        i++;
    }
    const struct keyset_key *key = &command->keys[i < command->keys_count ? i : 0];
    command->only = key->index;
    return key->worker;
}

/* What has come of a command's tasks in this phase says what it does in the next ones. */
static void conclude_command(struct txn *txn, struct txn_command *command) {
    if (command->spread < SPREAD_IF) {
        return;
    }
    if (command->inputs != NULL && command->at < 0) {
        command->at =
            command->spread == SPREAD_FIRST ? first_input(command) : largest_input(command);
    }
    bool all_wait = true, waited = command->waits;
    for (struct txn_task *task = command->first; task != NULL; task = task->peer) {
        if (task->phase == txn->phase) {
            all_wait &= task->stage == STAGE_ACT && task->outcome.waits;
            command->denied |= task->stage == STAGE_ASK && task->outcome.reply_bytes > 0;
            command->takes |= task->stage == STAGE_AT && task->outcome.takes;
            command->waits |= task->stage == STAGE_AT && task->outcome.waits;
        }
    }
    command->waits |= command->spread == SPREAD_EACH && all_wait;
    if (command->waits && !waited) {
        blocked_waits(txn->blocked);
    }
    if (command->spread == SPREAD_SEND && command->phase == txn->phase && !command->denied &&
        command->refusal == NULL) {
        txn->sender = command;
    }
}

void txn_conclude(struct txn *txn) {
    for (uint32_t i = txn->concluded; i < txn->count && txn->commands[i].phase <= txn->phase; i++) {
        conclude_command(txn, &txn->commands[i]);
    }
    while (txn->concluded < txn->count && txn->commands[txn->concluded].last_phase <= txn->phase) {
        txn->concluded++;
    }
}
