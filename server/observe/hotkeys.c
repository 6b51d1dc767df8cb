/* SPDX-License-Identifier: BSD-3-Clause */
/* hotkeys: what is counted; see the header. Why commands and not look-ups: a command may look its
 * key up twice, and one that is sent to another shard once more; what an operator asks is whose
 * traffic it is. A command with many keys counts once for each: when it is looked at, one of them,
 * by chance, gets the weight of all.
 *
 * Why a gap that follows the load: at a fixed one, small numbers say nothing, and large ones cost.
 * It doubles whenever LOOKS_A_SECOND have been reached within one second, and falls back between
 * two seconds; so a burst costs a few times that at most.
 */
#include "server/observe/hotkeys.h"

#include "server/call/call.h"
#include "server/call/keyset.h"

#define LOOKS_A_SECOND 4096
#define GAP_MAX        (1u << 20)

/* Each second takes a 16th: half of it is gone in 11. */
#define FADE_SHIFT 4
/* After so many seconds nothing is left. */
#define SECONDS_MAX 300

void hotkeys_init(struct hotkeys *hot, uint64_t seed, int64_t mono_ms) {
    hot->left = hot->gap = 1;
    hot->looked = 0;
    hot->second_ms = mono_ms;
    hot->seconds = 0;
    rng_seed(&hot->rng, seed);
    topk_clear(&hot->top);
}

void hotkeys_fini(struct hotkeys *hot) {
    topk_fini(&hot->top);
}

size_t hotkeys_memory(const struct hotkeys *hot) {
    return topk_memory(&hot->top) - sizeof hot->top; /* which is the worker's */
}

static void count_key(struct hotkeys *hot, uint32_t db, const struct key *key, uint64_t times) {
    topk_add(&hot->top, key->hash, db, key->name, times * hot->gap * HOTKEYS_PARTS);
}

static void count_one_of(struct hotkeys *hot, const struct keyset *keys) {
    if (keys->count > 0 && !keys->is_script) { /* what a script calls counts by itself */
        const struct keyset_key *one = &keys->list[rng_below(&hot->rng, keys->count)];
        count_key(hot, one->db, &one->key, keys->count);
    }
}

void hotkeys_look(struct hotkeys *hot, uint32_t db, const struct call *what) {
    if (what != NULL && what->keys != NULL) {
        count_one_of(hot, what->keys);
    } else if (what != NULL && what->key->name.ptr != NULL) {
        count_key(hot, db, what->key, 1);
    }
    if (++hot->looked >= LOOKS_A_SECOND && hot->gap < GAP_MAX) {
        hot->gap *= 2;
        hot->looked /= 2;
    }
    /* Even over 1 to 2 * gap - 1: no rhythm of commands can keep step with it. */
    hot->left = 1 + (uint32_t)rng_below(&hot->rng, 2 * (uint64_t)hot->gap - 1);
}

static void second_over(struct hotkeys *hot) {
    uint64_t gap = (uint64_t)hot->looked * hot->gap / LOOKS_A_SECOND;
    hot->gap = gap < 1 ? 1 : gap > GAP_MAX ? GAP_MAX : (uint32_t)gap;
    hot->looked = 0;
    hot->seconds += 1 - (hot->seconds + 1) / (1 << FADE_SHIFT);
    topk_fade(&hot->top, FADE_SHIFT);
}

void hotkeys_tick(struct hotkeys *hot, int64_t mono_ms) {
    int64_t over = (mono_ms - hot->second_ms) / 1000;
    hot->second_ms += over * 1000;
    for (int64_t i = 0; i < over && i < SECONDS_MAX; i++) {
        second_over(hot);
    }
    if (over > 0 && hot->left > 2 * hot->gap) {
        hot->left = 2 * hot->gap;
    }
}
