/* SPDX-License-Identifier: BSD-3-Clause */
/* handlers: who does what, for those who cannot know (server/worker/handlers.h).
 *
 * Thread: constant.
 */
#ifndef SHOAL_SERVER_HANDLERS_H
#define SHOAL_SERVER_HANDLERS_H

#include "server/worker/handlers.h"

extern const struct handlers server_handlers;

#endif
