/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of forms, and what works for all of them. */
#include "shard/types/value.h"

#include "base/check.h"
#include "base/must.h"
#include "shard/keys/keyspace.h"
#include "shard/types/hash_forms.h"
#include "shard/types/list_forms.h"
#include "shard/types/packed_forms.h"
#include "shard/types/set_forms.h"
#include "shard/types/stream.h"
#include "shard/types/string_forms.h"
#include "shard/types/zset_tree.h"

const struct forms value_forms = {
    .of =
        {
            [TYPE_STRING] =
                {
                    [FORM_INLINE] = &string_form_inline,
                    [FORM_INT] = &string_form_int,
                    [FORM_BLOB] = &string_form_blob,
                },
            [TYPE_LIST] =
                {
                    [FORM_INLINE] = &packed_form_inline,
                    [FORM_LISTPACK] = &packed_form_block,
                    [FORM_QUICKLIST] = &list_form_quicklist,
                },
            [TYPE_SET] =
                {
                    [FORM_INLINE] = &packed_form_inline,
                    [FORM_INTS] = &set_form_ints,
                    [FORM_LISTPACK] = &packed_form_block,
                    [FORM_INTSET] = &set_form_intset,
                    [FORM_TABLE] = &set_form_table,
                },
            [TYPE_ZSET] =
                {
                    [FORM_INLINE] = &packed_form_inline_scores,
                    [FORM_LISTPACK] = &packed_form_block_scores,
                    [FORM_TREE] = &zset_form_tree,
                },
            [TYPE_HASH] =
                {
                    [FORM_INLINE] = &packed_form_inline_pairs,
                    [FORM_LISTPACK] = &packed_form_block_pairs,
                    [FORM_TABLE] = &hash_form_table,
                },
            [TYPE_STREAM] =
                {
                    [FORM_STREAM] = &stream_form,
                },
        },
};

void value_free(const struct forms *forms, struct shard_heap *heap, struct value *value) {
    size_t budget = SIZE_MAX;
    while (value_is_rooted(value) && !forms_find(forms, value)->free_some(heap, value, &budget)) {
        budget = SIZE_MAX;
    }
}

struct value value_copy(const struct forms *forms, struct shard_heap *heap,
                        const struct value *from) {
    struct value to = {.type = from->type, .form = from->form, .raw = from->raw};
    uint64_t cursor = 0;
    size_t budget = SIZE_MAX;
    while (!forms_find(forms, from)->copy_some(heap, from, &to, &cursor, &budget)) {
        budget = SIZE_MAX;
    }
    if (UNLIKELY(to.root == NULL)) {
        memory_exhausted(value_memory(forms, from), __FILE__, __LINE__);
    }
    return to;
}

int64_t value_elements_due(const struct forms *forms, const struct value *value) {
    const struct form *form = forms_find(forms, value);
    return form->next_deadline != NULL ? form->next_deadline(value) : NO_EXPIRY;
}

size_t value_memory(const struct forms *forms, const struct value *value) {
    return value_is_rooted(value) ? forms_find(forms, value)->memory(value) : 0;
}
