/* SPDX-License-Identifier: BSD-3-Clause */
/* user_whole: users whose transactions are about all keys, and take several turns of each shard, of
 * a server with one, too; and who let whole databases change places meanwhile. What a transaction
 * has written it finds again, whatever they do. In databases that nobody else looks into.
 */
#include "test/sim/user_private.h"

#define SWAPS 2 /* in one transaction */

static void queue(struct user *user) {
    user_issue(user, KIND_QUEUED, 0);
}

void whole_send(struct user *user, struct request *request) {
    if (request->kind == KIND_EXEC_WHOLE) {
        wire_requestf(&user->out, "EXEC");
        return;
    }
    request->other = rng_below(&user->users->rng, 3) == 0;
    if (request->other != 0) {
        wire_requestf(&user->out, "SWAPDB 5 6");
        return;
    }
    uint64_t value = ++user->users->values;
    wire_requestf(&user->out, "MULTI");
    queue(user);
    wire_requestf(&user->out, "SELECT 5");
    queue(user);
    wire_requestf(&user->out, "SET whole:%u %llu", user->index, (unsigned long long)value);
    for (unsigned i = 0; i < SWAPS; i++) {
        queue(user);
        wire_requestf(&user->out, "SWAPDB 6 5");
    }
    queue(user);
    wire_requestf(&user->out, "GET whole:%u", user->index);
    queue(user);
    wire_requestf(&user->out, "DEL whole:%u", user->index);
    queue(user);
    wire_requestf(&user->out, "SELECT 0");
    user_issue(user, KIND_EXEC_WHOLE, 0);
    pending_at(user, user->pending_count - 1)->value = value;
}

void whole_reply(struct user *user, const struct request *request, const struct wire_value *value) {
    if (request->kind == KIND_WHOLE) {
        user_wants(user, request, value, value_is_ok(value), "not OK");
        return;
    }
    user_wants(user, request, value, value->type == '*' && value->count == 5 + SWAPS,
               "not a reply to each");
    const struct wire_value *got = &value->items[2 + SWAPS];
    user_wants(user, request, value, got->type == '$' && value_number(got->text) == request->value,
               "what it had written has gone");
    user->users->counts.wholes++;
}
