/* SPDX-License-Identifier: BSD-3-Clause */
/* claim: see the header. An exchange is enough: whoever finds it free has it. What belongs to the
 * wait travels by messages, so nothing else is ordered by it; but it costs nothing to be strict,
 * where every use stands beside a message.
 */
#include "shard/watchers/claim.h"

void claim_init(struct claim *claim) {
    atomic_init(&claim->claimed, false);
}

bool claim_take(struct claim *claim) {
    return !atomic_exchange(&claim->claimed, true);
}

bool claim_is_taken(const struct claim *claim) {
    return atomic_load(&claim->claimed);
}
