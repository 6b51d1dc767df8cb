/* SPDX-License-Identifier: BSD-3-Clause */
/* library_dump: libraries as RDB has them: in files and in what FUNCTION DUMP returns, byte for
 * byte as in Redis and Valkey.
 *
 *     dump:  for each library: the opcode and its text; version and checksum, as behind a key's
 * value
 *
 * Thread: the worker's that reads or writes.
 */
#ifndef SHOAL_SERVER_SCRIPT_LIBRARY_DUMP_H
#define SHOAL_SERVER_SCRIPT_LIBRARY_DUMP_H

#include "base/text.h"
#include "server/script/libraries.h"

struct worker;

/* Behind what is in `out`. */
void library_dump_put(struct text *out, struct libraries *libraries, bool compress);
/* A dump of all. */
void library_dump_write(struct text *out, struct libraries *libraries, bool compress);

/* Makes the libraries of a dump, and joins them to `libraries`, or not: then false, and the error.
 */
bool library_dump_read(struct worker *worker, struct bytes dump, bool relaxed,
                       struct libraries *libraries, enum libraries_policy policy, struct text *err);
/* Makes a library of a text as RDB has it, and joins it: however long it takes to load. False, and
 * the error: it does not load, or one of its name is there. */
bool library_dump_add(struct worker *worker, struct bytes text, struct libraries *libraries,
                      enum libraries_policy policy, struct text *err);
/* What was made and is not joined is not compiled here any longer. */
void library_dump_forget(struct worker *worker, struct libraries *made);

#endif
