/* SPDX-License-Identifier: BSD-3-Clause */
/* commit: what the program was built from. Linked into shoal-server alone, so that a new commit
 * builds one small file and links one program.
 *
 * Thread: any; constant.
 */
#ifndef SHOAL_SERVER_COMMIT_H
#define SHOAL_SERVER_COMMIT_H

/* Eight digits or a few more, "-dirty" behind them if the tree was not as committed; zeros where
 * there was no repository. */
extern const char build_commit[];

#endif
