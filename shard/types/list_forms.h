/* SPDX-License-Identifier: BSD-3-Clause */
/* list_forms: the form that only lists have, for the table in value.c.
 *
 * Thread: any; constant.
 */
#ifndef SHOAL_SHARD_TYPES_LIST_FORMS_H
#define SHOAL_SHARD_TYPES_LIST_FORMS_H

#include "shard/types/value.h"

extern const struct form list_form_quicklist;

#endif
