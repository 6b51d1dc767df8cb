/* SPDX-License-Identifier: BSD-3-Clause */
/* claim: see the header. To compare and exchange is enough: whoever finds it free has it. What
 * belongs to the wait travels by messages, so nothing else is ordered by it; but it costs nothing
 * to be strict, where every use stands beside a message.
 */
#include "shard/watchers/claim.h"

void claim_init(struct claim *claim) {
    atomic_init(&claim->claimed, CLAIM_FREE);
}

enum claim_state claim_take(struct claim *claim, enum claim_state wanted) {
    enum claim_state was = CLAIM_FREE;
    atomic_compare_exchange_strong(&claim->claimed, &was, wanted);
    return was;
}

void claim_give_back(struct claim *claim) {
    atomic_store(&claim->claimed, CLAIM_FREE);
}

enum claim_state claim_look(const struct claim *claim) {
    return atomic_load(&claim->claimed);
}
