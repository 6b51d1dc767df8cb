/* SPDX-License-Identifier: BSD-3-Clause */
/* config_nodes: one file for several nodes (cluster-node-per-shard).
 *
 * The file says what the process is to have. What two nodes cannot share is marked in the table
 * (ROW_BY_NODE), and the kind of a row says how its value becomes a node's: a number is a port, and
 * counts up; a text names something, and gets the node's number; a size is memory, and is shared
 * out. Each of these can be taken back, so that any node may rewrite the file for all.
 */
#include "server/config/config_row.h"

#include "base/check.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

static void count_on(int64_t *port, int64_t by) {
    if (*port > 0) {
        *port += by;
    }
}

/* Where a name's number goes: before its extension. */
static size_t stem_len(struct bytes name) {
    const char *slash = memrchr(name.ptr, '/', name.len);
    size_t from = slash != NULL ? (size_t)(slash - name.ptr) + 1 : 0;
    const char *dot = name.len > from ? memrchr(name.ptr + from, '.', name.len - from) : NULL;
    return dot != NULL && dot > name.ptr + from ? (size_t)(dot - name.ptr) : name.len;
}

static void name_node(const struct config_row *row, struct config *config, bool split) {
    struct bytes *name = config_field(row, config);
    if (name->len == 0) {
        return;
    }
    char number[16];
    size_t digits = (size_t)snprintf(number, sizeof number, "-%u", config->node_index);
    size_t stem = stem_len(*name);
    struct text text;
    text_init(&text);
    if (split) {
        text_append(&text, name->ptr, stem);
        text_append(&text, number, digits);
        text_append(&text, name->ptr + stem, name->len - stem);
    } else {
        check(stem > digits && memcmp(name->ptr + stem - digits, number, digits) == 0);
        text_append(&text, name->ptr, stem - digits);
        text_append(&text, name->ptr + stem, name->len - stem);
    }
    config_row_keep(row, config, text.ptr, text.len);
    text_fini(&text);
}

/* Negative sizes are percentages. What is limited stays so. */
static void share_out(int64_t *size, int64_t nodes, bool split) {
    if (*size > 0) {
        int64_t whole = *size > INT64_MAX / nodes ? INT64_MAX : *size * nodes;
        *size = !split ? whole : *size >= nodes ? *size / nodes : 1;
    }
}

static void convert(struct config *config, bool split) {
    for (const struct config_row *row = config_rows; row->name != NULL; row++) {
        if ((row->flags & ROW_BY_NODE) == 0) {
            continue;
        }
        switch (row->kind) {
        case KIND_INT:
            count_on(config_field(row, config),
                     split ? (int64_t)config->node_index : -(int64_t)config->node_index);
            break;
        case KIND_STRING:
            name_node(row, config, split);
            break;
        case KIND_MEMORY:
        case KIND_UMEMORY:
        case KIND_PERCENT:
            share_out(config_field(row, config), config->nodes_count, split);
            break;
        default:
            check(!"a kind of directive that knows no nodes");
        }
    }
    config->shards = split ? 1 : config->nodes_count;
}

void config_nodes_split(struct config *config, const struct config *like) {
    config->node_index = like->node_index;
    config->nodes_count = like->nodes_count;
    if (config->nodes_count > 0) {
        convert(config, true);
    }
}

struct config *config_nodes_join(const struct config *config) {
    struct config *process = config_copy(config);
    if (process->nodes_count > 0) {
        convert(process, false);
    }
    return process;
}

void config_become_node(struct config *config, unsigned index, unsigned count) {
    check(index < count && config->nodes_count == 0);
    config->node_index = index;
    config->nodes_count = count;
    convert(config, true);
}
