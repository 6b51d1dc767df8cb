/* SPDX-License-Identifier: BSD-3-Clause */
/* config_row: one row per directive, the only truth about it: how it is called, read, kept, shown
 * and written back.
 *
 * Inside of server/config*.c; other folders and files use config.h.
 *
 * Thread: any; rows are constant.
 */
#ifndef SHOAL_SERVER_CONFIG_CONFIG_ROW_H
#define SHOAL_SERVER_CONFIG_CONFIG_ROW_H

#include "server/config/config.h"

enum config_row_flag {
    ROW_IMMUTABLE = 1 << 0,  /* CONFIG SET refuses */
    ROW_HIDDEN = 1 << 1,     /* CONFIG GET shows it only by its exact name */
    ROW_PROTECTED = 1 << 2,  /* CONFIG SET asks enable-protected-configs */
    ROW_SENSITIVE = 1 << 3,  /* never in logs */
    ROW_MULTI = 1 << 4,      /* takes several words */
    ROW_NO_LOADING = 1 << 5, /* not while a data set is read */
    ROW_VOLATILE =
        1 << 6,        /* setting it to the same value still does something: files are read again */
    ROW_OWN = 1 << 7,  /* Valkey has no such directive */
    ROW_ACTS = 1 << 8, /* the feature exists; without it the value is only kept */
    ROW_MISSED = 1 << 9,   /* not ROW_ACTS, and who sets it counts on it: the log says so */
    ROW_BY_NODE = 1 << 10, /* cluster-node-per-shard: each node has a value of its own */
};

enum config_kind {
    KIND_BOOL,
    KIND_INT,
    KIND_MEMORY,  /* int64_t, bytes with a unit */
    KIND_SMEMORY, /* the same, plain negative numbers too */
    KIND_UMEMORY, /* uint64_t */
    KIND_PERCENT, /* int64_t: bytes, or a percentage kept as its negative */
    KIND_OCTAL,   /* int64_t */
    KIND_ENUM,    /* enum: one name */
    KIND_FLAGS,   /* unsigned: names or'ed */
    KIND_STRING,  /* struct bytes */
    KIND_SPECIAL, /* its own parse and print */
};

/* What is on the heap behind a field, so that a snapshot can be copied and freed without knowing
 * the directive. */
enum config_heap { HEAP_NONE, HEAP_BYTES, HEAP_SAVES, HEAP_PERCENTILES };

struct config_name {
    const char *name; /* NULL ends */
    unsigned value;
};

/* How a value comes in. */
struct config_input {
    const struct fs *fs; /* NULL: only the values are wanted, nothing may be looked at or moved */
    bool loading_file;   /* file or command line, not CONFIG SET: `save` lines add up */
    bool *save_seen;     /* with loading_file: a save line was read, so the next one adds to it */
    struct text *reason; /* why it was refused */
};

struct config_row;

/* Reads words into the field, or says why not in in->reason and leaves the field alone. */
typedef bool config_parse_fn(const struct config_row *row, struct config *config,
                             const struct bytes *words, size_t count,
                             const struct config_input *in);
typedef void config_print_fn(const struct config_row *row, const struct config *config,
                             struct text *text);
/* NULL if the text will do, else why not. */
typedef const char *config_check_fn(const struct config_row *row, const struct config *config,
                                    const struct config_input *in, struct bytes value);
typedef const char *config_check_flags_fn(unsigned flags);
/* The value that takes the place of one that is in range but out of reach. */
typedef int64_t config_adjust_fn(const struct config *config, int64_t value);

struct config_row {
    const char *name;
    const char *alias; /* an older name, or NULL */
    enum config_kind kind;
    enum config_heap heap;
    size_t offset; /* of the field in struct config */
    const char *initial;
    unsigned flags; /* config_row_flag */
    int64_t min, max;
    const struct config_name *names; /* KIND_ENUM, KIND_FLAGS */
    config_check_fn *refuse;
    config_check_flags_fn *refuse_flags;
    config_adjust_fn *adjust;
    config_parse_fn *parse; /* KIND_SPECIAL */
    config_print_fn *print; /* KIND_SPECIAL */
};

/* Ended by a row with name NULL. */
extern const struct config_row config_rows[];

/* By name or alias in any case; *ret_name (may be NULL) is the one of both that was meant. NULL if
 * there is none. */
const struct config_row *config_row_find(struct bytes name, const char **ret_name);

/* What the lines of a file, and of what it includes, make of a snapshot: values only, no effects
 * (config_load.c). False at the first line that is wrong. */
bool config_load_values(struct config *config, const struct fs *fs, struct bytes content);

/* ---- config_value.c ---- */

bool config_row_parse(const struct config_row *row, struct config *config,
                      const struct bytes *words, size_t count, const struct config_input *in);
/* As CONFIG SET gives it: one text, which directives that take several words split at single
 * blanks. */
bool config_row_parse_text(const struct config_row *row, struct config *config, struct bytes value,
                           const struct config_input *in);
/* The value as CONFIG GET shows it. */
void config_row_print(const struct config_row *row, const struct config *config, struct text *text);
/* The value as one line of a file has it: sizes with units, text quoted. */
void config_row_print_line(const struct config_row *row, const struct config *config,
                           struct text *text);

/* Replaces what is behind a field on the heap by a copy of `count` elements (of the size that
 * row->heap says). */
void config_row_keep(const struct config_row *row, struct config *config, const void *items,
                     size_t count);
size_t config_heap_element_bytes(enum config_heap heap);
void config_reason(const struct config_input *in, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static inline void *config_field(const struct config_row *row, struct config *config) {
    return (char *)config + row->offset;
}

static inline const void *config_field_const(const struct config_row *row,
                                             const struct config *config) {
    return (const char *)config + row->offset;
}

/* Why the server must not run with the value that the directive has now, or NULL. config.c */
const char *config_row_refusal(const struct config_row *row, const struct config *config);

/* ---- config_nodes.c ---- */

/* Makes what a file says to the process what its node runs with; for a node that is the whole
 * process it changes nothing. `like` tells which node of how many. */
void config_nodes_split(struct config *config, const struct config *like);
/* Of this node alone: it would be another's, too, in the file that all have. Sizes are not. */
static inline bool config_is_by_node(const struct config_row *row, const struct config *config) {
    return config->nodes_count > 0 && (row->flags & ROW_BY_NODE) != 0 &&
           (row->kind == KIND_INT || row->kind == KIND_STRING);
}
/* The other way round, on a copy. */
struct config *config_nodes_join(const struct config *config);

/* ---- config_special.c, config_check.c ---- */

config_parse_fn config_parse_bind, config_parse_rdma_bind, config_parse_dir, config_parse_save,
    config_parse_replicaof, config_parse_oom_values, config_parse_percentiles, config_parse_notify,
    config_parse_output_limits;
config_print_fn config_print_bind, config_print_rdma_bind, config_print_dir, config_print_save,
    config_print_replicaof, config_print_oom_values, config_print_percentiles, config_print_notify,
    config_print_output_limits;

config_check_fn config_check_locale, config_check_logfile, config_check_proc_title,
    config_check_filename, config_check_dirname, config_check_ipv4, config_check_ipv6,
    config_check_hostname, config_check_nodename, config_check_announce_ip, config_check_cpulist;
config_check_flags_fn config_check_shutdown;
config_adjust_fn config_adjust_backlog, config_adjust_hz, config_adjust_watchdog;

/* Appends "class hard soft seconds" with sizes as they are (units false) or in units; `class` as
 * CONFIG GET calls it, or as files do. */
void config_print_output_limit(const struct config *config, enum config_output_class class,
                               bool line, struct text *text);

/* The class that a file or CONFIG SET names, or -1. */
int config_output_class_find(struct bytes name);

/* Appends a size in the largest unit that divides it: 64mb, 1000. */
void config_print_memory(uint64_t bytes, struct text *text);

#endif
