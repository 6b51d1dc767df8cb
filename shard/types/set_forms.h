/* SPDX-License-Identifier: BSD-3-Clause */
/* set_forms: the forms that only sets have, for the table of forms.
 *
 * Thread: constants.
 */
#ifndef SHOAL_SHARD_TYPES_SET_FORMS_H
#define SHOAL_SHARD_TYPES_SET_FORMS_H

#include "shard/types/value.h"

extern const struct form set_form_ints, set_form_intset, set_form_table;

#endif
