/* SPDX-License-Identifier: BSD-3-Clause */
/* DEBUG in a cluster: links that break, and packets that do not arrive, when a test wants it. How
 * nodes get along then is what Valkey's own tests ask, so the switches are its own.
 */
#include "cluster/brain/brain_private.h"

#include "base/num.h"

#define DROP_ALL (-2)

static bool is_on(struct bytes word) {
    int64_t n;
    return num_parse_i64(word, &n) && n != 0;
}

/* Both ends of what a node has with this one; `to`: the link that this one has made. */
static void kill_links(struct brain *brain, struct brain_node *node, bool to, bool from) {
    if (to && node->out != NULL) {
        brain_link_close(brain, node->out);
    }
    if (from && node->in != NULL) {
        brain_link_close(brain, node->in);
    }
}

static void kill(struct brain *brain, const struct bytes *words, struct reply *reply) {
    struct brain_node *node = words[3].len == ID ? brain_node_find(brain, words[3].ptr) : NULL;
    bool all = bytes_is(words[2], "all");
    bool to = all || bytes_is(words[2], "to"), from = all || bytes_is(words[2], "from");
    if (node == NULL) {
        reply_errorf(reply, "ERR Unknown node %.*s", (int)(words[3].len < 128 ? words[3].len : 128),
                     words[3].ptr);
    } else if (node == brain->self) {
        reply_error(reply, "ERR Cannot free cluster link(s) to myself");
    } else if (!to && !from) {
        reply_errorf(reply, "ERR Unknown direction %.*s",
                     (int)(words[2].len < 128 ? words[2].len : 128), words[2].ptr);
    } else {
        kill_links(brain, node, to, from);
        reply_ok(reply);
    }
}

void brain_debug(struct brain *brain, const struct bytes *words, unsigned count,
                 struct reply *reply) {
    struct brain_debug *debug = &brain->debug;
    if (bytes_is(words[0], "clusterlink") && count == 4) {
        kill(brain, words, reply);
        return;
    }
    if (bytes_is(words[0], "drop-cluster-packet-filter")) {
        int64_t type = -1;
        if (!num_parse_i64(words[1], &type)) {
            reply_error(reply, "ERR value is not an integer or out of range");
            return;
        }
        debug->drops = type == DROP_ALL || type >= 0;
        debug->dropped = type;
    } else if (bytes_is(words[0], "close-cluster-link-on-packet-drop")) {
        debug->drop_closes = is_on(words[1]);
    } else if (bytes_is(words[0], "disable-cluster-random-ping")) {
        debug->no_sample = is_on(words[1]);
    } else if (bytes_is(words[0], "slotmigration") && bytes_is(words[1], "prevent-pause")) {
        debug->no_pause = is_on(words[2]);
    } else if (bytes_is(words[0], "slotmigration")) {
        debug->no_claim = is_on(words[2]);
    } else {
        debug->no_links = is_on(words[1]);
    }
    reply_ok(reply);
}

bool brain_debug_drops(struct brain *brain, struct brain_link *link, unsigned type) {
    const struct brain_debug *debug = &brain->debug;
    if (!debug->drops || (debug->dropped != DROP_ALL && debug->dropped != (int64_t)type)) {
        return false;
    }
    if (debug->drop_closes) {
        brain_link_close(brain, link);
    }
    return true;
}
