/* SPDX-License-Identifier: BSD-3-Clause */
/* When a node has failed: this node cannot reach it (PFAIL), and a majority of the primaries with
 * slots says the same within two node timeouts (FAIL). The first who sees the majority tells all.
 */
#include "cluster/brain/brain_private.h"

#include "base/must.h"

#include <stdlib.h>

void brain_report_add(struct brain *brain, struct brain_node *node, struct brain_node *from) {
    for (uint32_t i = 0; i < node->reports_count; i++) {
        if (node->reports[i].from == from) {
            node->reports[i].at = brain->now.mono_ms;
            return;
        }
    }
    brain_note(brain, BRAIN_VERBOSE, "Node %s reported node %s as not reachable.",
               brain_title(from).text, brain_title(node).text);
    node->reports = must_realloc(node->reports, (node->reports_count + 1) * sizeof *node->reports);
    node->reports[node->reports_count++] = (struct brain_report){from, brain->now.mono_ms};
}

void brain_report_remove(struct brain_node *node, const struct brain_node *from) {
    for (uint32_t i = 0; i < node->reports_count; i++) {
        if (node->reports[i].from == from) {
            node->reports[i] = node->reports[--node->reports_count];
            return;
        }
    }
}

unsigned brain_reports(struct brain *brain, struct brain_node *node) {
    int64_t oldest = brain->now.mono_ms - 2 * brain->settings.node_timeout_ms;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < node->reports_count; i++) {
        if (node->reports[i].at >= oldest) {
            node->reports[kept++] = node->reports[i];
        }
    }
    node->reports_count = kept;
    return kept;
}

void brain_mark_failed(struct brain *brain, struct brain_node *node) {
    node->flags &= ~(uint32_t)MAP_PFAIL;
    node->flags |= MAP_FAIL;
    node->failed = brain->now.mono_ms;
    brain_touch_file(brain);
}

void brain_fail_if_agreed(struct brain *brain, struct brain_node *node) {
    if (!(node->flags & MAP_PFAIL) || (node->flags & MAP_FAIL)) {
        return;
    }
    unsigned agreed = brain_reports(brain, node) + brain_is_voter(brain->self);
    if (agreed < brain_voters(brain) / 2 + 1) {
        return;
    }
    brain_note(brain, BRAIN_NOTICE, "Marking node %s as failing (quorum reached).",
               brain_title(node).text);
    brain_mark_failed(brain, node);
    brain_send_fail(brain, node);
}

void brain_fail_ends(struct brain *brain, struct brain_node *node) {
    if (brain_is_voter(node) &&
        brain->now.mono_ms - node->failed <= 2 * brain->settings.node_timeout_ms) {
        return; /* perhaps it is being replaced */
    }
    brain_note(brain, BRAIN_NOTICE, "Clear FAIL state for node %s: %s", brain_title(node).text,
               !brain_is_primary(node) ? "replica is reachable again."
               : node->slots_count == 0
                   ? "primary without slots is reachable again."
                   : "is reachable again and nobody is serving its slots after "
                     "some time.");
    node->flags &= ~(uint32_t)MAP_FAIL;
    brain_touch_file(brain);
}
