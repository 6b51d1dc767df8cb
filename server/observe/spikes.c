/* SPDX-License-Identifier: BSD-3-Clause */
/* spikes: see the header. Why so: it is written to rarely and read more rarely, so it is a plain
 * ring; two of them are merged as two sorted lists are. Times come from one clock, but threads look
 * at it at different moments: a sample may be a second older than the one before it, and then
 * counts as of that one's second.
 */
#include "server/observe/spikes.h"

static struct spike *last(struct spikes *spikes) {
    return spikes->count == 0 ? NULL
                              : &spikes->kept[(spikes->next + SPIKES_KEPT - 1) % SPIKES_KEPT];
}

static void keep(struct spikes *spikes, struct spike spike) {
    struct spike *before = last(spikes);
    if (before != NULL && before->at_s >= spike.at_s) {
        before->ms = spike.ms > before->ms ? spike.ms : before->ms;
        return;
    }
    spikes->kept[spikes->next] = spike;
    spikes->next = (spikes->next + 1) % SPIKES_KEPT;
    spikes->count += spikes->count < SPIKES_KEPT;
}

void spikes_add(struct spikes *spikes, int64_t at_s, int64_t ms) {
    keep(spikes, (struct spike){at_s, ms});
    spikes->max_ms = ms > spikes->max_ms ? ms : spikes->max_ms;
    spikes->sum_ms += ms;
    spikes->all++;
}

const struct spike *spikes_at(const struct spikes *spikes, uint32_t n) {
    return &spikes->kept[(spikes->next + SPIKES_KEPT - spikes->count + n) % SPIKES_KEPT];
}

void spikes_merge(struct spikes *target, const struct spikes *source) {
    const struct spikes old = *target;
    *target = (struct spikes){
        .max_ms = source->max_ms > old.max_ms ? source->max_ms : old.max_ms,
        .sum_ms = old.sum_ms + source->sum_ms,
        .all = old.all + source->all,
    };
    uint32_t a = 0, b = 0;
    while (a < old.count || b < source->count) {
        bool from_old = b == source->count ||
                        (a < old.count && spikes_at(&old, a)->at_s <= spikes_at(source, b)->at_s);
        keep(target, *(from_old ? spikes_at(&old, a++) : spikes_at(source, b++)));
    }
}
