/* SPDX-License-Identifier: BSD-3-Clause */
/* errors: the one list of error texts that more than one place gives. Code first, as reply_error
 * wants them.
 *
 * Thread: constants.
 */
#ifndef SHOAL_SERVER_CALL_ERRORS_H
#define SHOAL_SERVER_CALL_ERRORS_H

#define ERR_WRONG_TYPE   "WRONGTYPE Operation against a key holding the wrong kind of value"
#define ERR_NO_KEY       "ERR no such key"
#define ERR_SYNTAX       "ERR syntax error"
#define ERR_NOT_INTEGER  "ERR value is not an integer or out of range"
#define ERR_NOT_FLOAT    "ERR value is not a valid float"
#define ERR_OUT_OF_RANGE "ERR index out of range"
#define ERR_SAME_OBJECT  "ERR source and destination objects are the same"
#define ERR_OVERFLOW     "ERR increment or decrement would overflow"
#define ERR_NO_AUTH      "NOAUTH Authentication required."
#define ERR_READONLY     "READONLY You can't write against a read only replica."
#define ERR_STALE        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
#define ERR_NOT_SAVED                                                                              \
    "MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to " \
    "disk. Commands that may modify the data set are disabled, because this instance is "          \
    "configured to report errors during writes if RDB snapshotting fails "                         \
    "(stop-writes-on-bgsave-error option). Please check the Valkey logs for details about the "    \
    "RDB error."
#define ERR_NO_REPLICAS     "NOREPLICAS Not enough good replicas to write."
#define ERR_NO_LOG          "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."
#define ERR_OOM             "OOM command not allowed when used memory > 'maxmemory'."
#define ERR_DB_INDEX        "ERR DB index is out of range"
#define ERR_VALUE_RANGE     "ERR value is out of range"
#define ERR_NOT_POSITIVE    "ERR value is out of range, must be positive"
#define ERR_STRING_TOO_LONG "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
#define ERR_INT_RANGE       "ERR value is out of range, value must between -2147483648 and 2147483647"
/* With the command's name, for reply_errorf. */
#define ERR_EXPIRE_TIME "ERR invalid expire time in '%s' command"
#define ERR_LFU_SELECTED                                                                           \
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when "       \
    "switching between policies at runtime LRU and LFU data will take some time to adjust."
#define ERR_LFU_NOT_SELECTED                                                                       \
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that " \
    "when switching between policies at runtime LRU and LFU data will take some time to adjust."
#define ERR_TIMEOUT_NOT_INTEGER "ERR timeout is not an integer or out of range"
#define ERR_TIMEOUT_NOT_FLOAT   "ERR timeout is not a float or out of range"
#define ERR_TIMEOUT_NEGATIVE    "ERR timeout is negative"
#define ERR_TIMEOUT_RANGE       "ERR timeout is out of range"

#define ERR_UNBLOCKED "UNBLOCKED client unblocked via CLIENT UNBLOCK"
#define ERR_DEMOTED                                                                                \
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"

#define ERR_DEBUG_NOT_ALLOWED                                                                      \
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you "  \
    "can run it from a local connection, otherwise you need to set this option in the "            \
    "configuration file, and then restart the server."
#define ERR_MAX_CLIENTS            "ERR max number of clients reached"
#define ERR_MAX_CLIENTS_OF_ADDRESS "ERR max number of clients of this address reached"

#define ERR_PROTECTED_MODE                                                                         \
    "DENIED This server is in protected mode: it has no password, so it talks to clients on its "  \
    "own machine only. To let others in, set a password (requirepass), or bind it to addresses "   \
    "that only trusted hosts reach and turn protected mode off (CONFIG SET protected-mode no, "    \
    "or protected-mode no in the configuration file)."

#endif
