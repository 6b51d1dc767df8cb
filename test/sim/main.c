/* SPDX-License-Identifier: BSD-3-Clause */
/* shoal-sim: runs seeds one after the other, ./dev sim's program.
 *
 *     shoal-sim [--seeds N | --seconds N] [--first N] [--twice]    many; says which fail
 *     shoal-sim ... --must-fail     until the users of one see nonsense, and a history is refused
 *     shoal-sim ... --must-see      until the users of one see nonsense
 *     shoal-sim --seed N [--trace FILE]                            one, with its trace
 *
 *     shoal-sim-crash ... --log     servers keep a log
 *
 * --twice runs each seed again and compares the hashes of the traces: nothing may depend on an
 * address, real time or real chance. What must fail may also fail a check, which ends a process: so
 * each seed has one of its own then.
 */
#include "test/sim/scenario.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct arguments {
    uint64_t first, seeds;
    double seconds;
    bool one, twice, log, must_fail, must_see;
    const char *trace;
};

/* The seed at work and its trace, for the handler of a failed check; the only state of the program.
 */
static volatile uint64_t current_seed;
static FILE *current_trace;

static void on_abort(int number) {
    char text[96];
    int n = snprintf(text, sizeof text, "\nFAILED seed %" PRIu64 ": a check failed (signal %d)\n",
                     current_seed, number);
    ssize_t r = write(STDOUT_FILENO, text, (size_t)n);
    (void)r;
    if (current_trace != NULL) {
        fflush(current_trace); /* not safe in a handler in general; here nothing else runs */
    }
    signal(number, SIG_DFL);
    raise(number);
}

static double now_seconds(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void print_line(void *arg, const char *line) {
    fprintf(arg, "%s\n", line);
}

static void usage(void) {
    fputs("shoal-sim [--seeds N | --seconds N] [--first N] [--twice] [--log] "
          "[--must-fail | --must-see]\n"
          "shoal-sim [--log] --seed N [--trace FILE]\n",
          stderr);
    exit(2);
}

static struct arguments read_arguments(int argc, char **argv) {
    struct arguments args = {.first = 1, .seeds = 100};
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--twice") == 0) {
            args.twice = true;
            continue;
        }
        if (strcmp(word, "--log") == 0) {
            args.log = true;
            continue;
        }
        if (strcmp(word, "--must-fail") == 0 || strcmp(word, "--must-see") == 0) {
            args.must_fail = true;
            args.must_see = strcmp(word, "--must-see") == 0;
            continue;
        }
        const char *value = ++i < argc ? argv[i] : NULL;
        if (value == NULL) {
            usage();
        } else if (strcmp(word, "--seeds") == 0) {
            args.seeds = strtoull(value, NULL, 10);
        } else if (strcmp(word, "--seconds") == 0) {
            args.seconds = strtod(value, NULL);
        } else if (strcmp(word, "--first") == 0) {
            args.first = strtoull(value, NULL, 10);
        } else if (strcmp(word, "--trace") == 0) {
            args.trace = value;
        } else if (strcmp(word, "--seed") == 0) {
            args.first = strtoull(value, NULL, 10);
            args.one = true;
        } else {
            usage();
        }
    }
    return args;
}

/* What failed is left in the middle of something, and its memory with it: not for a leak detector
 * to speak of, whose report would be all that is seen. */
static void leave(int status, bool failed) __attribute__((noreturn));

static void leave(int status, bool failed) {
    if (failed || scenario_leaks) {
        fflush(NULL);
        _exit(status);
    }
    exit(status);
}

static void run_one(const struct arguments *args) __attribute__((noreturn));

static void run_one(const struct arguments *args) {
    FILE *file = args->trace != NULL ? fopen(args->trace, "w") : NULL;
    if (args->trace != NULL && file == NULL) {
        perror(args->trace);
        exit(2);
    }
    if (file != NULL) {
        current_trace = file;
    }
    struct scenario_result result;
    current_seed = args->first;
    scenario_run(args->first, args->log, file != NULL ? print_line : NULL, file, &result);
    printf("seed %" PRIu64 ": %s%s\n%" PRIu64 " requests answered, %" PRIu64
           " events in %.3f virtual seconds, hash %016" PRIx64 "\n",
           args->first, result.ok ? "passed" : "FAILED: ", result.reason, result.answered,
           result.events, (double)result.virtual_ns / 1e9, result.hash);
    if (file != NULL) {
        fclose(file);
    }
    leave(result.ok ? 0 : 1, !result.ok);
}

/* What all runs have reached; false when many never reached something. */
#define SEEDS_THAT_REACH_ALL 200

static bool print_reached(const uint64_t sums[REACHED_MAX], uint64_t seeds, bool log) {
    unsigned missing = 0;
    for (unsigned i = 0; i < reached_count; i++) {
        printf("%s%" PRIu64 " %s", i > 0 ? ", " : "", sums[i], reached_name(i));
        missing += sums[i] == 0 && (log || (reached_with_log >> i & 1) == 0);
    }
    printf("\n");
    if (missing > 0 && seeds >= SEEDS_THAT_REACH_ALL) {
        printf("FAILED: %" PRIu64 " seeds have not reached everything\n", seeds);
        return false;
    }
    return true;
}

/* Failures, and by what: what users see themselves, what the history of all of them shows, and what
 * the program's own checks stop, which says of neither that it is not blind. */
struct failures {
    unsigned seen, refuted, stopped;
};

struct sums {
    uint64_t answered, reached[REACHED_MAX];
    struct failures failures;
};

static void run_seed(uint64_t seed, const struct arguments *args, struct sums *sums) {
    struct failures *failures = &sums->failures;
    struct scenario_result result, again;
    current_seed = seed;
    scenario_run(seed, args->log, NULL, NULL, &result);
    sums->answered += result.answered;
    for (unsigned i = 0; i < reached_count; i++) {
        sums->reached[i] += result.reached[i];
    }
    if (!result.ok) {
        printf("FAILED seed %" PRIu64 ": %s\n", seed, result.reason);
        fflush(stdout);
        failures->refuted += result.refuted;
        failures->seen += !result.refuted;
        return;
    }
    if (args->twice) {
        scenario_run(seed, args->log, NULL, NULL, &again);
        if (again.hash != result.hash || again.events != result.events) {
            printf("FAILED seed %" PRIu64 ": the second run differs: %" PRIu64
                   " events, hash %016" PRIx64 ", then %" PRIu64 " events, hash %016" PRIx64 "\n",
                   seed, result.events, result.hash, again.events, again.hash);
            failures->seen++;
        }
    }
}

/* The sums must be memory that a child shares. */
static void run_seed_apart(uint64_t seed, const struct arguments *args, struct sums *sums) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        run_seed(seed, args, sums);
        fflush(NULL);
        _exit(0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("shoal-sim");
        exit(2);
    }
    sums->failures.stopped += status != 0;
}

static struct sums *shared_sums(void) {
    struct sums *sums =
        mmap(NULL, sizeof *sums, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sums == MAP_FAILED) {
        perror("shoal-sim");
        exit(2);
    }
    return sums;
}

static bool as_wanted(const struct arguments *args, const struct failures *failures) {
    return failures->seen > 0 && (args->must_see || failures->refuted > 0);
}

int main(int argc, char **argv) {
    struct arguments args = read_arguments(argc, argv);
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    if (args.one) {
        run_one(&args);
    }
    double start = now_seconds();
    uint64_t done = 0;
    struct sums *sums = shared_sums();
    const struct failures *failures = &sums->failures;
    double slowest = 0, last = start;
    uint64_t slowest_seed = 0;
    while (args.seconds > 0 ? now_seconds() - start < args.seconds : done < args.seeds) {
        (args.must_fail || scenario_leaks ? run_seed_apart : run_seed)(args.first + done, &args,
                                                                       sums);
        double now = now_seconds();
        if (now - last > slowest) {
            slowest = now - last;
            slowest_seed = args.first + done;
        }
        last = now;
        done++;
        if (args.must_fail && as_wanted(&args, failures)) {
            break;
        }
    }
    double seconds = now_seconds() - start;
    unsigned failed = failures->seen + failures->refuted + failures->stopped;
    printf("%" PRIu64 " seeds from %" PRIu64 "%s, %u failed; %" PRIu64
           " requests answered; %.0f seeds a minute; the slowest, %" PRIu64 ", took %.2f s\n",
           done, args.first, args.twice ? ", each twice" : "", failed, sums->answered,
           (double)done / seconds * 60, slowest_seed, slowest);
    if (args.must_fail) {
        bool wanted = as_wanted(&args, failures);
        printf("%u seen by users, %u by the history, %u stopped by a check: %s\n", failures->seen,
               failures->refuted, failures->stopped,
               wanted ? "as wanted" : "FAILED: one of them is blind");
        leave(wanted ? 0 : 1, failed > 0);
    }
    bool good = print_reached(sums->reached, done, args.log) && failed == 0;
    leave(good ? 0 : 1, failed > 0);
}
