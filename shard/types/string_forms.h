/* SPDX-License-Identifier: BSD-3-Clause */
/* string_forms: the forms of a string, for the table in value.c.
 *
 * Thread: any; constant.
 */
#ifndef SHOAL_SHARD_TYPES_STRING_FORMS_H
#define SHOAL_SHARD_TYPES_STRING_FORMS_H

#include "shard/types/value.h"

extern const struct form string_form_inline, string_form_int, string_form_blob;

#endif
