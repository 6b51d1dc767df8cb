/* SPDX-License-Identifier: BSD-3-Clause */
/* packed_forms: the forms of what is one listpack, for the table in value.c.
 *
 * Thread: any; constant.
 */
#ifndef SHOAL_SHARD_TYPES_PACKED_FORMS_H
#define SHOAL_SHARD_TYPES_PACKED_FORMS_H

#include "shard/types/value.h"

/* In the entry, and in a block of its own: of single elements (list, set), of pairs (a hash), of
 * members and scores. */
extern const struct form packed_form_inline, packed_form_block;
extern const struct form packed_form_inline_pairs, packed_form_block_pairs;
extern const struct form packed_form_inline_scores, packed_form_block_scores;

/* For forms that are one block of the heap whose bytes packed_bytes knows. */
size_t packed_block_memory(const struct value *value);
bool packed_block_free_some(struct shard_heap *heap, struct value *value, size_t *budget);
bool packed_block_copy_some(struct shard_heap *heap, const struct value *from, struct value *to,
                            uint64_t *cursor, size_t *budget);
bool packed_block_relocate_some(struct shard_heap *heap, struct value *value, uint64_t *cursor,
                                size_t *budget);
size_t packed_inline_memory(const struct value *value);

#endif
