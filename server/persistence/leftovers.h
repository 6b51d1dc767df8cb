/* SPDX-License-Identifier: BSD-3-Clause */
/* leftovers: files in the directory of the data that are none: a crash has left them between the
 * change of the manifest and their removal (data.h).
 *
 * Thread: main, at the start, before the workers.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_LEFTOVERS_H
#define SHOAL_SERVER_PERSISTENCE_LEFTOVERS_H

#include "net/file.h"
#include "persist/log/manifest.h"

/* There is a manifest: removes snapshots and segments that are older than those it names. Younger
 * ones are left: is it the manifest that is an old one, they are data. False: not all could be. */
bool leftovers_remove(const struct fs *fs, const char *dir, const struct manifest *manifest);

/* There is none. `gone` is what stands in one that was given up on purpose (MANIFEST_GONE_NAME), or
 * empty: it says what was its, and that is removed, with all that is older; it stays as long as
 * some of that does. False, with the path of a segment that has records ("... has records"): nobody
 * gave its manifest up, so that is missing. Or it cannot be read. */
bool leftovers_without(const struct fs *fs, const char *dir, struct bytes gone,
                       struct text *ret_why);

#endif
