/* SPDX-License-Identifier: BSD-3-Clause */
/* hash_forms: the form of a large hash, for the table in value.c; small ones are in packed_forms.h.
 *
 * Thread: any; constant.
 */
#ifndef SHOAL_SHARD_TYPES_HASH_FORMS_H
#define SHOAL_SHARD_TYPES_HASH_FORMS_H

#include "shard/types/value.h"

extern const struct form hash_form_table;

#endif
