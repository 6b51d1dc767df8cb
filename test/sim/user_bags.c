/* SPDX-License-Identifier: BSD-3-Clause */
/* user_bags: users who put members into sets, count what they have seen, and move about on a map.
 *
 * A member of a set is a number that nobody adds twice. SMOVE takes it from set to set, SPOP takes
 * it for good. So, wherever the sets lie:
 *
 *  1. It is popped once, by one, and only if somebody has added it.
 *  2. Whoever reads the sets together finds what was added before and is popped later, and nothing
 *     that was popped before.
 *  3. No two sets have it at one moment: what they have in common is nothing.
 *  4. In the end it is there, unless it was popped.
 *
 * HyperLogLogs have what was added to any of them, however they are merged: what they count
 * together never gets less, and is right but for the error of the estimate.
 *
 * On the map pairs move together, by one command: who looks for all that is near a place finds both
 * or none, and so has what is stored of it.
 */
#include "test/sim/user_private.h"

#include "base/check.h"

#include <stdlib.h>

#define BAGS    3
#define COUNTED 3
#define MAPS    2
#define PAIRS   6
#define PLACES  8

static uint64_t now_of(const struct users *users) {
    return sim_now_ns(users->sim);
}

static struct member *member_put(struct users *users, uint64_t number) {
    if (number >= users->members_size) {
        uint64_t size = 2 * number + 64;
        users->members = realloc(users->members, size * sizeof *users->members);
        check(users->members != NULL);
        memset(users->members + users->members_size, 0,
               (size - users->members_size) * sizeof *users->members);
        users->members_size = size;
    }
    return &users->members[number];
}

/* ---- What is sent ---- */

/* Some are numbers, so that sets change their form. */
static void write_add(struct user *user, struct request *request) {
    struct users *users = user->users;
    request->value = ++users->members_last;
    member_put(users, request->value)->began_ns = now_of(users);
    wire_requestf(&user->out, request->value % 16 == 0 ? "SADD bag:%u m%llu" : "SADD bag:%u %llu",
                  request->key, (unsigned long long)request->value);
}

static void write_places(struct user *user, struct request *request) {
    unsigned pair = request->other % PAIRS;
    unsigned place = (unsigned)rng_below(&user->users->rng, PLACES);
    wire_requestf(&user->out, "GEOADD map:%u %u %u p:%u:a %u %u p:%u:b", request->key % MAPS,
                  10 * place, 5 * place, pair, 10 * place, 5 * place, pair);
}

void bag_send(struct user *user, struct request *request) {
    struct users *users = user->users;
    unsigned key = request->key %= BAGS;
    unsigned other = request->other = (unsigned)rng_below(&users->rng, 64);
    switch (request->kind) {
    case KIND_BAG_ADD:
        write_add(user, request);
        break;
    case KIND_BAG_POP:
        request->value = 1 + other % 3;
        if (request->value == 1) {
            wire_requestf(&user->out, "SPOP bag:%u", key);
        } else {
            wire_requestf(&user->out, "SPOP bag:%u %u", key, (unsigned)request->value);
        }
        break;
    case KIND_BAG_MOVE: { /* one that may be there */
        uint64_t back = rng_below(&users->rng, 24);
        request->value = users->members_last > back ? users->members_last - back : 1;
        wire_requestf(&user->out,
                      request->value % 16 == 0 ? "SMOVE bag:%u bag:%u m%llu"
                                               : "SMOVE bag:%u bag:%u %llu",
                      key, (key + 1 + other % 2) % BAGS, (unsigned long long)request->value);
        break;
    }
    case KIND_BAG_COMMON:
        wire_requestf(&user->out,
                      other % 2 ? "SINTERSTORE bag:common bag:%u bag:%u"
                                : "SINTERCARD 2 bag:%u bag:%u",
                      key, (key + 1) % BAGS);
        break;
    case KIND_BAG_READ:
        wire_requestf(&user->out, "SUNION bag:%u bag:%u bag:%u", key, (key + 1) % BAGS,
                      (key + 2) % BAGS);
        break;
    case KIND_SEEN_ADD:
        request->value = ++users->seen.asked;
        wire_requestf(&user->out, "PFADD seen:%u %llu", key, (unsigned long long)request->value);
        break;
    case KIND_SEEN_MERGE:
        wire_requestf(&user->out, "PFMERGE seen:%u seen:%u", key, (key + 1 + other % 2) % COUNTED);
        break;
    case KIND_SEEN_COUNT:
        request->floor = users->seen.answered;
        request->before = users->seen_most;
        wire_requestf(&user->out, "PFCOUNT seen:0 seen:1 seen:2");
        break;
    case KIND_MAP_ADD:
        write_places(user, request);
        break;
    case KIND_MAP_STORE:
        wire_requestf(&user->out, "GEOSEARCHSTORE near:%u map:%u FROMLONLAT %u %u BYRADIUS 50 km",
                      key, other % MAPS, 10 * (other % PLACES), 5 * (other % PLACES));
        break;
    default:
        wire_requestf(&user->out, "ZRANGE near:%u 0 -1", key);
    }
}

/* ---- What comes back ---- */

static uint64_t number_of(struct bytes text) {
    bool prefixed = text.len > 0 && text.ptr[0] == 'm';
    return value_number(prefixed ? bytes_make(text.ptr + 1, text.len - 1) : text);
}

static struct member *known(struct user *user, const struct request *request,
                            const struct wire_value *value, const struct wire_value *item) {
    struct users *users = user->users;
    uint64_t number = item->type == '$' ? number_of(item->text) : 0;
    user_wants(user, request, value, number > 0 && number <= users->members_last,
               "a member that nobody has added");
    user_wants(user, request, value, !users->members[number].refused, "what was refused was done");
    return &users->members[number];
}

static void popped(struct user *user, const struct request *request, const struct wire_value *value,
                   const struct wire_value *item) {
    struct member *member = known(user, request, value, item);
    user_wants(user, request, value, member->taken_ns == 0, "popped twice");
    user_wants(user, request, value, member->missed_ns == 0 || request->at_ns <= member->missed_ns,
               "popped, and was missing before");
    member->taken_ns = now_of(user->users);
    user->users->counts.popped++;
}

static void reply_pop(struct user *user, const struct request *request,
                      const struct wire_value *value) {
    bool one = request->value == 1;
    user_wants(user, request, value,
               one ? value->type == '$' || value->type == '_'
                   : value->type == '*' && value->count <= request->value,
               "another number of members");
    if (value->type == '$') {
        popped(user, request, value, value);
    }
    for (size_t i = 0; i < value->count; i++) {
        popped(user, request, value, &value->items[i]);
    }
}

/* All sets at one moment. */
static void reply_read(struct user *user, const struct request *request,
                       const struct wire_value *value) {
    struct users *users = user->users;
    uint64_t now_ns = now_of(users);
    user_wants(user, request, value, value->type == '*', "no members");
    for (size_t i = 0; i < value->count; i++) {
        struct member *member = known(user, request, value, &value->items[i]);
        user_wants(user, request, value, member->read != users->bag_reads + 1, "there twice");
        user_wants(user, request, value,
                   member->taken_ns == 0 || member->taken_ns >= request->at_ns,
                   "there, and was popped before");
        member->read = users->bag_reads + 1;
    }
    users->bag_reads++;
    users->bags_left = 0;
    for (uint64_t n = 1; n <= users->members_last; n++) {
        struct member *member = &users->members[n];
        bool due = member->added_ns != 0 && member->added_ns < request->at_ns;
        if (member->read == users->bag_reads) {
            user_wants(user, request, value,
                       member->missed_ns == 0 || request->at_ns <= member->missed_ns ||
                           users->flushed,
                       "there, and was missing before");
        } else if (due && member->taken_ns == 0) {
            users->bags_left++;
            member->missed_ns = member->missed_ns == 0 ? now_ns : member->missed_ns;
        }
    }
}

static void reply_count(struct user *user, const struct request *request,
                        const struct wire_value *value) {
    struct users *users = user->users;
    user_wants(user, request, value, value->type == ':', "no number");
    uint64_t count = (uint64_t)value->integer;
    user_wants(user, request, value, count <= users->seen.asked + users->seen.asked / 10 + 2,
               "more than was added");
    if (!users->flushed) {
        user_wants(user, request, value, count >= request->before, "less than before");
        user_wants(user, request, value, count + 2 >= request->floor - request->floor / 10,
                   "less than was added");
    }
    users->seen_most = count > users->seen_most ? count : users->seen_most;
}

/* The pairs of which one or both are there. */
static void reply_near(struct user *user, const struct request *request,
                       const struct wire_value *value) {
    unsigned found[PAIRS] = {0};
    user_wants(user, request, value, value->type == '*', "no members");
    for (size_t i = 0; i < value->count; i++) {
        struct bytes name = value->items[i].text;
        user_wants(user, request, value, name.len == 5 && name.ptr[2] >= '0', "nobody's name");
        unsigned pair = (unsigned)(name.ptr[2] - '0');
        user_wants(user, request, value, pair < PAIRS, "nobody's name");
        found[pair]++;
    }
    for (unsigned i = 0; i < PAIRS; i++) {
        user_wants(user, request, value, found[i] != 1, "one of a pair");
    }
}

void bag_reply(struct user *user, const struct request *request, const struct wire_value *value) {
    struct users *users = user->users;
    if (user_refused(user, request, value)) {
        if (request->kind == KIND_BAG_ADD) {
            users->members[request->value].refused = true;
        }
        return;
    }
    bool number = value->type == ':';
    switch (request->kind) {
    case KIND_BAG_ADD:
        user_wants(user, request, value, number && value->integer == 1, "it was there already");
        users->members[request->value].added_ns = now_of(users);
        break;
    case KIND_BAG_POP:
        reply_pop(user, request, value);
        break;
    case KIND_BAG_MOVE:
        user_wants(user, request, value, number && value->integer <= 1, "neither moved nor not");
        users->counts.moved += value->integer == 1;
        break;
    case KIND_BAG_COMMON:
        user_wants(user, request, value, number && value->integer == 0, "it is in two sets");
        break;
    case KIND_BAG_READ:
        reply_read(user, request, value);
        break;
    case KIND_SEEN_ADD:
        user_wants(user, request, value, number, "no number");
        users->seen.answered++;
        break;
    case KIND_SEEN_MERGE:
        user_wants(user, request, value,
                   value->type == '+' && bytes_equal(value->text, BYTES("OK")), "not OK");
        break;
    case KIND_SEEN_COUNT:
        reply_count(user, request, value);
        break;
    case KIND_MAP_ADD:
        user_wants(user, request, value, number && value->integer % 2 == 0, "one of a pair is new");
        break;
    case KIND_MAP_STORE:
        user_wants(user, request, value, number && value->integer % 2 == 0, "one of a pair");
        users->counts.near += value->integer > 0;
        break;
    default:
        reply_near(user, request, value);
    }
}

/* ---- The end ---- */

void bag_lost(struct user *user, const struct request *request) {
    if (request->kind == KIND_BAG_POP) {
        user->users->bag_pops_lost += request->value;
    }
}

void bags_account(struct users *users) {
    if (users->options.bags && !users->flushed && users->bags_left > users->bag_pops_lost) {
        world_fail(users->world, "%llu members of sets are gone, and %llu at most were popped",
                   (unsigned long long)users->bags_left, (unsigned long long)users->bag_pops_lost);
    }
}
