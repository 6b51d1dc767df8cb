/* SPDX-License-Identifier: BSD-3-Clause */
/* tally: what one worker has counted; INFO adds it up.
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_OBSERVE_TALLY_H
#define SHOAL_SERVER_OBSERVE_TALLY_H

#include "base/histogram.h"
#include "server/acl/acl_log.h"

#include <stddef.h>
#include <stdint.h>

/* Statistics of one command (subcommand) on one worker; INFO adds them up. */
struct command_stats {
    uint64_t calls, rejected, failed;
    uint64_t ticks;            /* rt_ticks spent */
    struct histogram *latency; /* made at first use while latency-tracking is on */
};

/* Counters of one worker; INFO adds them up, CONFIG RESETSTAT zeroes those that Valkey zeroes. */
struct worker_stats {
    uint64_t connections_received, connections_rejected;
    uint64_t commands_processed;
    uint64_t ops_here; /* ops of this worker's clients that ran here */
    uint64_t ops_away; /* that were sent to other shards: hops */
    uint64_t ops_for_others;
    uint64_t ops_moved; /* that went on, or were planned anew, as their slot had gone elsewhere */
    uint64_t batches_away; /* trips */
    uint64_t visits;       /* to it, while it slept (visit.h) */
    uint64_t rounds;       /* turns, and visits in between, for mail, without asking the kernel */
    uint64_t looks, looks_found; /* for messages before a sleep; that brought some (look.h) */
    uint64_t txns, txn_refusals; /* operations on several shards; numbers that came too late */
    uint64_t txn_times_moved;    /* because keys had run out while the locks were asked for */
    uint64_t seals;              /* of this shard, for scripts that had written and began anew */
    uint64_t lock_waits;         /* operations on one shard that had to wait for those */
    uint64_t gathered;           /* calls whose effects somebody wanted to know (effects.h) */
    uint64_t net_input, net_output;
    uint64_t net_repl_input, net_repl_output; /* of these: from our primary, to replicas; */
    uint64_t net_import, net_export;          /* slots that came, or left, at once */
    uint64_t reads, writes;
    uint64_t error_replies;
    uint64_t unexpected_errors; /* of what our primary sent */
    uint64_t query_limit_disconnects, output_limit_disconnects, evicted_clients;
    uint64_t denied[ACL_LOG_REASONS]; /* by acl_log_reason */
    uint64_t input_max, output_max;   /* client_recent_max_*_buffer */
    uint64_t cycles, cycle_ticks, cycle_command_ticks;
    uint64_t cycle_log_ticks,
        cycle_cron_ticks;                /* of these: for the log, for what is done by time */
    uint64_t cycle_commands_max;         /* commands of one turn */
    uint64_t expire_ticks;               /* of the turns' work in which keys ran out */
    uint64_t longest_turn_ticks;         /* from the end of its wait to its own */
    uint64_t waited_ticks, looked_ticks; /* in the runtime for news; for messages before that */
};

/* errorstats: counts by error code: of the server's own each, and of those that scripts make up,
 * when they are more than so many, by one name for all others. */
#define ERROR_STATS_MADE_UP_MAX 128
#define ERROR_STATS_OWN_MAX     48
#define ERROR_STATS_MORE        "ERRORSTATS_OVERFLOW"
struct error_stat {
    char code[32];
    bool made_up;
    uint64_t count;
};

/* The rates that are sampled. */
enum worker_rate {
    RATE_COMMANDS,
    RATE_INPUT,
    RATE_OUTPUT,
    RATE_REPLICATION_INPUT,
    RATE_REPLICATION_OUTPUT,
    RATE_TURNS,
    RATE_COUNT
};

/* One that ran commands: for who ends by a fault (report.c). */
struct turn_note {
    int64_t ms; /* monotonic: its end */
    uint64_t ticks;
    uint32_t commands;
    unsigned last_id; /* of the last command */
    uint64_t client;  /* whose it was; 0: nobody's */
};

#define TURNS_KEPT 16

struct tally {
    struct command_stats *commands; /* by command id: command_table.h */
    struct error_stat errors[ERROR_STATS_MADE_UP_MAX + ERROR_STATS_OWN_MAX];
    unsigned errors_count, errors_made_up;
    unsigned last_id;                   /* of the last command that was counted */
    struct turn_note turns[TURNS_KEPT]; /* the last ones, */
    uint64_t turns_noted;               /* of so many */
    size_t memory_peak;                 /* worker 0: the most that all have used at a time */
    struct {
        int64_t since_ms;       /* stats.input_max and output_max count from here */
        uint64_t input, output; /* theirs in the seconds before */
    } recent;
    /* instantaneous_*: rates per second; samples of the last 1.6 s */
    struct {
        int64_t last_ms;
        uint64_t last[RATE_COUNT];
        uint64_t rate[RATE_COUNT][16];
        unsigned index;
    } samples;
};

#endif
