/* SPDX-License-Identifier: BSD-3-Clause */
/* user_caches: users who keep what they have read of the shared keys, and are told when it changes
 * (CLIENT TRACKING). What a server must keep to:
 *
 *     Whoever has asked for something after any write of a key was answered, to whomever, has been
 *     told of that write before he is answered.
 *
 * So of what is kept two times are known: when it was read, and when a write that was sent after
 * that was answered first. A reply to what was sent later still must not find it kept. Which value
 * it was does not matter.
 */
#include "test/sim/user_private.h"

#include "base/check.h"

#include <stdio.h>

void cache_send(struct user *user, struct request *request) {
    struct users *users = user->users;
    if (!user->resp3) { /* who speaks RESP2 is not told */
        request->kind = KIND_ECHO;
        user_ops[KIND_ECHO].send(user, request);
        return;
    }
    if (user->track_asked && rng_below(&users->rng, 4) > 0) { /* it goes on, and reads */
        request->kind = KIND_SHARED_GET;
        user_ops[KIND_SHARED_GET].send(user, request);
        return;
    }
    request->other = !user->track_asked;
    if (user->track_asked) {
        user->track_asked = false;
        wire_requestf(&user->out, "CLIENT TRACKING OFF");
        return;
    }
    user->track_asked = true;
    request->floor = rng_below(&users->rng, 3) == 0;
    wire_requestf(&user->out, "CLIENT TRACKING ON%s%s",
                  rng_below(&users->rng, 3) == 0 ? " BCAST PREFIX shared:" : "",
                  request->floor ? " NOLOOP" : "");
}

static void keep_nothing(struct user *user) {
    for (unsigned i = 0; i < SHARED_MAX; i++) {
        user->cache[i].held = false;
    }
}

void cache_reply(struct user *user, const struct request *request, const struct wire_value *value) {
    user_wants(user, request, value, value_is_ok(value), "not OK");
    user->tracks = request->other;
    user->noloop = request->other != 0 && request->floor != 0;
    keep_nothing(user);
}

bool cache_message(struct user *user, const struct wire_value *value) {
    if (value->type != '>' || value->count != 2 ||
        !bytes_equal(value->items[0].text, BYTES("invalidate"))) {
        return false;
    }
    const struct wire_value *keys = &value->items[1];
    if (keys->type == '_') { /* all of them */
        keep_nothing(user);
        return true;
    }
    for (size_t i = 0; i < keys->count; i++) {
        struct bytes key = keys->items[i].text;
        if (key.len == 8 && memcmp(key.ptr, "shared:", 7) == 0) {
            struct cached *cached = &user->cache[(unsigned)(key.ptr[7] - '0') % SHARED_MAX];
            user->users->counts.told_changed += cached->held;
            cached->held = false;
        }
    }
    return true;
}

void cache_read(struct user *user, unsigned key) {
    if (user->tracks) {
        user->cache[key] = (struct cached){.held = true, .read_ns = sim_now_ns(user->users->sim)};
    }
}

void cache_written(struct user *writer, const struct request *request, unsigned key) {
    struct users *users = writer->users;
    for (unsigned i = 0; i < users->options.count; i++) {
        struct user *user = &users->items[i];
        struct cached *cached = &user->cache[key];
        if (user == writer && user->noloop) {
            cached->held = false; /* it knows by itself, and is told of nothing more */
        } else if (cached->held && cached->due_ns == 0 && request->at_ns > cached->read_ns) {
            cached->due_ns = sim_now_ns(users->sim);
        }
    }
}

void cache_look(const struct user *user, const struct request *request) {
    for (unsigned i = 0; user->tracks && i < SHARED_MAX; i++) {
        const struct cached *cached = &user->cache[i];
        if (cached->held && cached->due_ns != 0 && request->at_ns > cached->due_ns) {
            world_fail(user->users->world,
                       "user %u, %s: keeps shared:%u since %.6f ms, a write of it was answered at "
                       "%.6f ms, and this was asked at %.6f ms",
                       user->index, user_ops[request->kind].name, i, (double)cached->read_ns / 1e6,
                       (double)cached->due_ns / 1e6, (double)request->at_ns / 1e6);
        }
    }
}

void cache_lost(struct user *user) {
    user->tracks = user->noloop = user->track_asked = false;
    keep_nothing(user);
}
