/* SPDX-License-Identifier: BSD-3-Clause */
/* rules: up to which size collections are one row of bytes, and what is saved of how keys were
 * used, as the configuration says.
 *
 * Thread: any that may read the configuration.
 */
#ifndef SHOAL_SERVER_COMMANDS_PERSISTENCE_RULES_H
#define SHOAL_SERVER_COMMANDS_PERSISTENCE_RULES_H

#include "persist/codec/value_build.h"
#include "persist/snapshot/usage.h"
#include "server/config/config.h"

static inline struct value_rules value_rules_of(const struct config *config) {
    return (struct value_rules){
        .list = {config->list_max_listpack_size, config->list_compress_depth, 0},
        .set = {(uint64_t)config->set_max_intset_entries,
                (uint64_t)config->set_max_listpack_entries,
                (uint64_t)config->set_max_listpack_value},
        .zset = {(uint64_t)config->zset_max_listpack_entries,
                 (uint64_t)config->zset_max_listpack_value},
        .hash = {(uint64_t)config->hash_max_listpack_entries,
                 (uint64_t)config->hash_max_listpack_value},
    };
}

static inline enum usage_kind usage_kind_of(const struct config *config) {
    if (config_eviction_is_lfu(config->maxmemory_policy)) {
        return USAGE_FREQUENCY;
    }
    return config_eviction_is_lru(config->maxmemory_policy) ? USAGE_IDLE : USAGE_UNSAID;
}

#endif
