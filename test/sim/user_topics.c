/* SPDX-License-Identifier: BSD-3-Clause */
/* user_topics: users who publish, and users who have subscribed.
 *
 * A message is a number. It is known who sent it, when, and which one the same connection has sent
 * to the same channel before it (`prior`). So of what a subscriber gets can be told:
 *
 *  1. It comes once, and only to who has subscribed: behind the answer to SUBSCRIBE, and never
 *     behind that to UNSUBSCRIBE. What was answered before SUBSCRIBE was sent does not come.
 *  2. Those of one connection come in their order, and none is missing between two. The first one
 *     that comes is not later than the first that was sent after SUBSCRIBE was answered.
 *  3. What was sent after that has come, or comes soon: SOON_NS after it was answered it is there;
 *     and before the answer to UNSUBSCRIBE, if that was sent later.
 *  4. PUBLISH tells how many get it: not fewer than have got it of those who had subscribed before,
 *     and not more than there may be subscriptions.
 *
 * One of the topics are the keyspace events of the counters, of which each change has one: there
 * are as many as changes that were answered, and not more than were asked for.
 */
#include "test/sim/user_private.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#define SOON_NS     (100 * 1000 * 1000) /* threads are held up, and slots move */
#define ALL_TOPIC   CHANNELS            /* a pattern over all channels */
#define EVENT_TOPIC (CHANNELS + 1)

static uint64_t now_of(const struct users *users) {
    return sim_now_ns(users->sim);
}

static bool covers(unsigned topic, unsigned channel) {
    return topic == channel || topic == ALL_TOPIC;
}

/* ---- What is sent ---- */

static struct told *message_put(struct users *users, uint64_t number) {
    if (number >= users->told_size) {
        uint64_t size = 2 * number + 64;
        users->told = realloc(users->told, size * sizeof *users->told);
        check(users->told != NULL);
        memset(users->told + users->told_size, 0, (size - users->told_size) * sizeof *users->told);
        users->told_size = size;
    }
    return &users->told[number];
}

void topic_publish(struct user *user, struct request *request) {
    struct users *users = user->users;
    unsigned channel = (unsigned)rng_below(&users->rng, CHANNELS);
    uint64_t number = ++users->told_last;
    *message_put(users, number) = (struct told){.process = user->process,
                                                .channel = channel,
                                                .prior = user->published[channel],
                                                .began_ns = now_of(users)};
    user->published[channel] = number;
    request->key = channel;
    request->value = number;
    wire_requestf(&user->out, "PUBLISH ch:%u %llu", channel, (unsigned long long)number);
}

static void write_topic(struct user *user, const char *suffix, unsigned topic) {
    char name[48];
    snprintf(name, sizeof name,
             topic == ALL_TOPIC     ? "ch:*"
             : topic == EVENT_TOPIC ? "__keyspace@0__:counter:*"
                                    : "ch:%u",
             topic);
    wire_requestf(&user->out, "%s%s %s", topic >= ALL_TOPIC ? "P" : "", suffix, name);
}

void topic_send(struct user *user, struct request *request) {
    struct users *users = user->users;
    if (request->kind == KIND_PUBLISH || !user->resp3) { /* messages are told from replies there */
        request->kind = KIND_PUBLISH;
        topic_publish(user, request);
        return;
    }
    unsigned topic = (unsigned)rng_below(&users->rng, TOPICS);
    struct subscription *sub = &user->subs[topic];
    request->key = topic;
    if (request->kind == KIND_SUBSCRIBE) {
        request->before = sub->on;
        for (unsigned i = 0; i < COUNTERS && !sub->on && sub->asked == 0; i++) {
            sub->answered[i] = users->counters[i].answered;
        }
        sub->asked++;
        write_topic(user, "SUBSCRIBE", topic);
    } else {
        if (sub->on && !sub->leaving) {
            sub->leaving = true;
            memcpy(sub->due, users->answered_before[1], sizeof sub->due);
        }
        write_topic(user, "UNSUBSCRIBE", topic);
    }
}

/* ---- What comes back ---- */

static unsigned subscriptions_max(const struct users *users, unsigned channel, uint64_t began_ns) {
    unsigned max = users->subs_lost;
    for (unsigned i = 0; i < users->options.count; i++) {
        for (unsigned topic = 0; topic <= ALL_TOPIC; topic++) {
            const struct subscription *sub = &users->items[i].subs[topic];
            max += covers(topic, channel) &&
                   (sub->on || sub->asked > 0 || (sub->off_ns != 0 && sub->off_ns >= began_ns));
        }
    }
    return max;
}

static void reply_publish(struct user *user, const struct request *request,
                          const struct wire_value *value) {
    struct users *users = user->users;
    struct told *message = &users->told[request->value];
    user_wants(user, request, value, value->type == ':', "no number");
    message->answered_ns = now_of(users);
    message->count = (unsigned)value->integer;
    user_wants(user, request, value,
               message->count <= subscriptions_max(users, message->channel, message->began_ns),
               "more than have subscribed");
}

/* It has been subscribed to since `on_ns`; what is to be there by `until_ns` has come. */
static void check_complete(const struct user *user, unsigned topic, uint64_t until_ns,
                           const uint64_t due[COUNTERS]) {
    const struct users *users = user->users;
    const struct subscription *sub = &user->subs[topic];
    for (uint64_t n = 1; n <= users->told_last && topic <= ALL_TOPIC; n++) {
        const struct told *message = &users->told[n];
        if (covers(topic, message->channel) && message->began_ns > sub->on_ns &&
            message->answered_ns != 0 && message->answered_ns < until_ns &&
            !(message->had[topic] >> user->index & 1)) {
            world_fail(users->world, "user %u has not got message %llu of channel %u, topic %u",
                       user->index, (unsigned long long)n, message->channel, topic);
        }
    }
    for (unsigned i = 0; i < COUNTERS && topic == EVENT_TOPIC && !users->flushed; i++) {
        uint64_t had = sub->events[i], asked = users->counters[i].asked - sub->answered[i];
        uint64_t answered = due[i];
        if (had > asked || had + sub->asked_before[i] < answered) {
            world_fail(users->world,
                       "user %u has had %llu events of counter %u, of %llu changes at least and "
                       "%llu at most",
                       user->index, (unsigned long long)had, i,
                       (unsigned long long)(answered > sub->asked_before[i]
                                                ? answered - sub->asked_before[i]
                                                : 0),
                       (unsigned long long)asked);
        }
    }
}

static uint64_t soon_before(uint64_t now_ns) {
    return now_ns > SOON_NS ? now_ns - SOON_NS : 0;
}

void topic_reply(struct user *user, const struct request *request, const struct wire_value *value) {
    struct users *users = user->users;
    if (request->kind == KIND_PUBLISH) {
        reply_publish(user, request, value);
        return;
    }
    user_wants(user, request, value,
               value->type == '>' && value->count == 3 && value->items[2].type == ':',
               "not told what it has subscribed to");
    struct subscription *sub = &user->subs[request->key];
    if (request->kind == KIND_SUBSCRIBE) {
        sub->asked--;
        if (!sub->on) {
            sub->on = true;
            sub->asked_ns = request->at_ns;
            sub->on_ns = now_of(users);
            memset(sub->last, 0, sizeof sub->last);
            memset(sub->events, 0, sizeof sub->events);
            memset(sub->due, 0, sizeof sub->due);
            sub->leaving = false;
            for (unsigned i = 0; i < COUNTERS; i++) {
                sub->asked_before[i] = users->counters[i].asked;
            }
        }
    } else if (sub->on) {
        check_complete(user, request->key, request->at_ns, sub->due);
        sub->on = false;
        sub->off_ns = now_of(users);
    }
    unsigned count = 0;
    for (unsigned topic = 0; topic < TOPICS; topic++) {
        count += user->subs[topic].on;
    }
    user_wants(user, request, value, (uint64_t)value->items[2].integer == count,
               "another number of subscriptions");
}

/* ---- Messages ---- */

static void got(struct user *user, unsigned topic, uint64_t number, bool known) {
    struct users *users = user->users;
    const char *why = NULL;
    struct subscription *sub = &user->subs[topic];
    struct told *message = known ? &users->told[number] : NULL;
    if (message == NULL) {
        why = "a message that nobody has sent to that channel";
    } else if (!sub->on) {
        why = "a message of what it has not subscribed to";
    } else if (message->answered_ns != 0 && message->answered_ns < sub->asked_ns) {
        why = "a message that is older than its subscription";
    } else {
        struct told_last *last = &sub->last[message->channel][message->process % TOLD_LAST];
        const struct told *prior = &users->told[message->prior];
        if (last->process == message->process) {
            why = message->prior != last->number ? "one that does not follow the last" : NULL;
        } else if (message->prior != 0 && prior->began_ns > sub->on_ns &&
                   !(prior->had[topic] >> user->index & 1)) {
            why = "and not the one that was sent before it";
        } else if (message->began_ns > sub->on_ns && (message->had[topic] >> user->index & 1)) {
            why = "for the second time";
        }
        *last = (struct told_last){message->process, number};
        message->had[topic] |= (uint16_t)(1u << user->index);
        message->deliveries += sub->on_ns < message->began_ns;
        users->counts.told++;
    }
    if (why != NULL) {
        world_fail(users->world, "user %u gets message %llu of topic %u: %s", user->index,
                   (unsigned long long)number, topic, why);
    }
}

static void got_event(struct user *user, struct bytes channel, struct bytes event) {
    static const char *const changes[] = {"incrby", "hincrby", "zincr", "setbit"};
    unsigned counter = (unsigned)(channel.ptr[channel.len - 1] - '0');
    check(counter < COUNTERS);
    if (!user->subs[EVENT_TOPIC].on) {
        world_fail(user->users->world, "user %u gets an event and has not subscribed", user->index);
    }
    for (unsigned i = 0; i < 4; i++) {
        if (bytes_equal(event, bytes_of_text(changes[i]))) {
            user->subs[EVENT_TOPIC].events[counter]++;
            user->users->counts.events++;
        }
    }
}

bool topic_message(struct user *user, const struct wire_value *value) {
    if (value->type != '>' || value->count < 3) {
        return false;
    }
    const struct wire_value *items = value->items;
    bool pattern = bytes_equal(items[0].text, BYTES("pmessage"));
    if (!pattern && !bytes_equal(items[0].text, BYTES("message"))) {
        return false;
    }
    struct bytes channel = items[pattern ? 2 : 1].text, text = items[pattern ? 3 : 2].text;
    if (channel.len > 4) {
        got_event(user, channel, text);
        return true;
    }
    uint64_t number = value_number(text);
    unsigned of = channel.len == 4 ? (unsigned)(channel.ptr[3] - '0') : CHANNELS;
    const struct users *users = user->users;
    got(user, pattern ? ALL_TOPIC : of, number,
        of < CHANNELS && number > 0 && number <= users->told_last &&
            users->told[number].channel == of);
    return true;
}

/* ---- Over time ---- */

void topics_lost(struct user *user) {
    for (unsigned topic = 0; topic < TOPICS; topic++) {
        user->users->subs_lost += user->subs[topic].on || user->subs[topic].asked > 0;
        user->subs[topic] = (struct subscription){.on = false};
    }
    memset(user->published, 0, sizeof user->published);
    user->resp3 = false;
}

void topics_look(struct users *users) {
    uint64_t now_ns = now_of(users);
    if (!users->options.topics || now_ns < users->answered_since_ns + SOON_NS) {
        return;
    }
    users->answered_since_ns = now_ns;
    for (unsigned i = 0; i < COUNTERS; i++) {
        users->answered_before[1][i] = users->answered_before[0][i];
        users->answered_before[0][i] = users->counters[i].answered;
    }
}

void topics_leave(struct user *user) {
    for (unsigned topic = 0; topic < TOPICS; topic++) {
        if (user->subs[topic].on) {
            check_complete(user, topic, soon_before(now_of(user->users)),
                           user->users->answered_before[1]);
        }
    }
    topics_lost(user);
}

void topics_account(struct users *users) {
    for (uint64_t n = 1; n <= users->told_last; n++) {
        const struct told *message = &users->told[n];
        if (message->answered_ns != 0 && message->deliveries > message->count) {
            world_fail(users->world,
                       "message %llu was told to be for %u, and %u have it who had subscribed",
                       (unsigned long long)n, message->count, message->deliveries);
        }
    }
}
