/* SPDX-License-Identifier: BSD-3-Clause */
/* main: from the command line to running workers and back.
 *
 * The main thread reads the configuration, makes what all share, starts a thread per shard, and
 * then does nothing but wait for signals. Worker 0 starts listening once every worker is up, so no
 * connection meets half a server.
 */
#include "base/must.h"
#include "base/text.h"
#include "net/crash.h"
#include "net/process.h"
#include "net/rt.h"
#include "server/client/listen.h"
#include "server/cluster/cluster.h"
#include "server/commands/families.h"
#include "server/commit.h"
#include "server/handlers.h"
#include "server/http/http.h"
#include "server/node_group.h"
#include "server/observe/advice.h"
#include "server/observe/log.h"
#include "server/persistence/data_lock.h"
#include "server/persistence/load.h"
#include "server/report.h"
#include "server/server.h"
#include "server/supervision.h"
#include "server/worker/loop.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"
#include "shard/memory/sysmem.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct launch {
    struct server *server;
    const struct config *config;
    pthread_t main_thread;
    pthread_barrier_t made;    /* every thread is there */
    pthread_barrier_t started; /* main has looked at that: go, or stop */
    pthread_barrier_t ended;   /* nobody sends or wakes any more */
    bool go;
    unsigned running;
    bool ending;           /* a worker is about to end: its runtime may go */
    pthread_mutex_t mutex; /* of `running`, `ending` and the reasons */
    struct text reason;    /* why the start failed */
    struct rt **rts;       /* by worker, which takes its own over */
    struct crash_crew *crew;
    char *no_uring; /* why there is no io_uring, or NULL */
    const char *backend;
    bool configured; /* there was more than the name of the program */
};

struct launch_thread {
    struct launch *launch;
    unsigned id;
    pthread_t thread;
};

static void launch_failed(struct launch *launch, const char *reason) {
    pthread_mutex_lock(&launch->mutex);
    if (launch->reason.len == 0) {
        text_append_text(&launch->reason, reason);
    }
    pthread_mutex_unlock(&launch->mutex);
}

static void thread_over(struct launch *launch) {
    pthread_mutex_lock(&launch->mutex);
    launch->running--;
    pthread_mutex_unlock(&launch->mutex);
    pthread_kill(launch->main_thread, SIGUSR2);
}

/* shard-cpulist: thread n, or that of node n, runs on the n-th of the listed processors, round and
 * round. */
static void pin_thread(const struct config *config, unsigned id) {
    int cpus[CPU_SETSIZE];
    size_t n = config_cpus(config->shard_cpulist, cpus, CPU_SETSIZE);
    if (n > 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)cpus[(config->node_index + id) % n], &set);
        pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    }
}

/* The thread of the cluster, which is the last. */
static void *cluster_thread(void *arg) {
    struct launch_thread *self = arg;
    struct launch *launch = self->launch;
    struct server *server = launch->server;
    pthread_setname_np(pthread_self(), "cluster");
    struct report report = {.worker = NULL};
    last_line_init(&report.line, server->fs, server->build.begins, &server->at_start);
    struct crash_stack *crash_stack =
        crash_stack_new("cluster", report_say, report_more, &report, launch->crew, self->id);
    struct text reason;
    text_init(&reason);
    struct cluster *cluster = cluster_new(server, launch->rts[self->id], &reason);
    if (cluster == NULL) {
        launch_failed(launch, reason.ptr);
    }
    text_fini(&reason);
    pthread_barrier_wait(&launch->made);
    pthread_barrier_wait(&launch->started); /* main decides */
    pthread_barrier_wait(&launch->started);
    if (launch->go) {
        cluster_run(cluster);
    }
    pthread_barrier_wait(&launch->ended);
    cluster_free(cluster);
    thread_over(launch);
    crash_stack_free(crash_stack);
    return NULL;
}

static void *worker_thread(void *arg) {
    struct launch_thread *self = arg;
    struct launch *launch = self->launch;
    struct server *server = launch->server;
    char name[16];
    snprintf(name, sizeof name, "shard-%u", self->id);
    pthread_setname_np(pthread_self(), name);
    pin_thread(launch->config, self->id);
    struct report report = {.worker = NULL};
    last_line_init(&report.line, server->fs, server->build.begins, &server->at_start);
    struct crash_stack *crash_stack =
        crash_stack_new(name, report_say, report_more, &report, launch->crew, self->id);
    struct worker *worker = worker_new(server, self->id, launch->config, launch->rts[self->id]);
    worker->loop.crash_stack = crash_stack;
    report.line.config = &worker->config;
    pthread_barrier_wait(&launch->made);
    if (self->id == 0) {
        struct text reason;
        text_init(&reason);
        if (listen_start(worker, &reason) != 0 || http_start(worker, &reason) != 0) {
            launch_failed(launch, reason.ptr);
        }
        text_fini(&reason);
    }
    pthread_barrier_wait(&launch->started); /* main decides */
    pthread_barrier_wait(&launch->started);
    if (launch->go) {
        report.worker = worker;
        worker_run(worker);
        report.worker = NULL;
    } else if (self->id == 0) {
        listen_stop(worker);
        http_stop(worker);
    }
    pthread_mutex_lock(&launch->mutex);
    launch->ending = true;
    pthread_mutex_unlock(&launch->mutex);
    pthread_barrier_wait(&launch->ended);
    report.line.config = &server->at_start;
    worker_free(worker); /* here, because a runtime belongs to its thread */
    thread_over(launch);
    crash_stack_free(crash_stack);
    return NULL;
}

/* ---- Server ---- */

static void tell_ready(struct server *server); /* below, with what it says */

static void tell_stopping(void) {
    supervision_stopping(CONFIG_SUPERVISED_SYSTEMD);
}

/* Before the workers begin and when they have ended: in between the configuration is theirs. */
static void say(struct server *server, enum log_level level, const char *text) {
    log_line(server->config, server->fs, rt_wall_us_early(), level, "%s", text);
}

/* A node of several is watched over by its parent, and not itself. */
static bool is_node_of_group(const struct server *server) {
    return server->at_start->nodes_count > 0;
}

static void remove_pid_file(struct server *server) {
    if (!is_node_of_group(server)) {
        supervision_remove_pid(server->config, server->supervised, server->fs);
    }
}

/* In the middle of a script that does not end. */
static void leave(struct server *server) {
    remove_pid_file(server);
    say(server, LOG_WARNING, "Shoal leaves in the middle of a script, bye bye...");
    _exit(0);
}

/* What the machine and chance give a server. NULL with a line for the terminal. */
static struct server *make_server(struct config *config, enum config_supervised supervised) {
    struct rt_usage usage;
    rt_usage(&usage);
    struct server_options options = {
        .config = config,
        .workers = config->shards > 0 ? (unsigned)config->shards : rt_cpus(),
        .fs = fs_real(),
        .handlers = &server_handlers,
        .families = command_families,
        .supervised = supervised,
        .ready = tell_ready,
        .leave = leave,
        .ending = supervised == CONFIG_SUPERVISED_SYSTEMD ? tell_stopping : NULL,
        .stays = config->nodes_count > 0 ? node_group_stays : NULL,
        .process_id = process_id(),
        .commit = build_commit,
        .kill_point = process_kill_point(),
        .start_wall_ms = rt_wall_us_early() / 1000,
        .string_bytes_max =
            usage.total_system_bytes > 0 ? (int64_t)(usage.total_system_bytes / 2) : INT64_MAX,
    };
    rt_random_early(options.random, sizeof options.random);
    char executable[sizeof(((struct server *)0)->executable)];
    ssize_t n = readlink("/proc/self/exe", executable, sizeof executable - 1);
    executable[n > 0 ? n : 0] = 0;
    options.executable = executable;
    struct text reason;
    text_init(&reason);
    struct server *server = server_new(&options, &reason);
    if (server == NULL) {
        fprintf(stderr, "%s\n", reason.ptr);
    }
    text_fini(&reason);
    return server;
}

/* ---- Signals ---- */

static void block_signals(sigset_t *ret_set) {
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGTERM);
    sigaddset(ret_set, SIGINT);
    sigaddset(ret_set, SIGUSR2); /* a worker thread has ended */
    sigaddset(ret_set, SIGALRM); /* somebody wants to know where the threads are */
    pthread_sigmask(SIG_BLOCK, ret_set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
}

static unsigned still_running(struct launch *launch) {
    pthread_mutex_lock(&launch->mutex);
    unsigned n = launch->running;
    pthread_mutex_unlock(&launch->mutex);
    return n;
}

/* Why there will be no server: for the log, and for who started it. */
static void refuse(struct server *server, const char *reason) {
    say(server, LOG_WARNING, reason);
    fprintf(stderr, "shoal-server: %s\n", reason);
}

/* Until all workers have ended. A SIGINT that is not the first signal ends the process at once: who
 * presses Ctrl+C twice means it. A supervisor that says SIGTERM twice does not. When what had to be
 * saved could not be, the server goes on, and the next signal is a first one. */
static void wait_for_end(struct launch *launch, const sigset_t *signals) {
    struct server *server = launch->server;
    while (still_running(launch) > 0) {
        int signal_number = 0;
        sigwait(signals, &signal_number);
        if (signal_number == SIGALRM) {
            log_line(server->at_start, server->fs, rt_wall_us_early(), LOG_WARNING,
                     "Received SIGALRM: where the threads are.");
            crash_crew_show(launch->crew);
            continue;
        }
        bool ends = signal_number == SIGTERM || signal_number == SIGINT;
        int before = shared_stop_signal(server->shared);
        bool asked = before == SIGTERM || before == SIGINT;
        if (!ends || (asked && signal_number == SIGTERM)) {
            continue;
        }
        if (asked) {
            log_line(server->at_start, server->fs, rt_wall_us_early(), LOG_WARNING,
                     "You insist... exiting now.");
            _exit(1);
        }
        /* Worker 0 logs it: the configuration, and so the log, is the workers'. */
        shared_ask_stop(server->shared, signal_number);
        pthread_mutex_lock(&launch->mutex);
        if (!launch->ending) {
            rt_wake(NULL, server->workers[0]->rt);
        }
        pthread_mutex_unlock(&launch->mutex);
    }
}

/* ---- Start ---- */

static bool make_runtimes(struct launch *launch) {
    struct server *server = launch->server;
    launch->rts = must_calloc(server->threads_count, sizeof(struct rt *));
    int error = worker_runtimes(server, launch->rts, &launch->no_uring);
    if (error == 0) {
        launch->backend = rt_backend_name(launch->rts[0]);
        return true;
    }
    struct text reason;
    text_init(&reason);
    if (server->config->io_backend == CONFIG_IO_URING) {
        text_appendf(&reason,
                     "io-backend is uring, and io_uring is not available here for %u shards (%s).",
                     server->workers_count, launch->no_uring);
    } else {
        text_appendf(&reason, "Could not set up the runtimes of %u shards: %s",
                     server->workers_count, strerror(-error));
    }
    refuse(server, reason.ptr);
    text_fini(&reason);
    return false;
}

/* A picture for who starts a server by hand, with what he looks for first. The lines of it are no
 * lines of a log, so it is drawn where people read, or where it is asked for. Tools that start
 * servers (the test suites of Redis and Valkey) find mode, port and PID in it. */
static void log_mode(struct server *server) {
    const struct config *config = server->config;
    const char *mode = config->cluster_enabled ? "cluster" : "standalone";
    int port = config->port > 0 ? config->port : config->tls_port;
    bool is_read = !config->syslog_enabled && config->logfile.len == 0 && process_is_watched();
    if (config->log_format != CONFIG_LOG_LEGACY || !(is_read || config->always_show_logo)) {
        log_line(config, server->fs, rt_wall_us_early(), LOG_NOTICE, "Running mode=%s, port=%d.",
                 mode, port);
        return;
    }
    struct text picture;
    text_init(&picture);
    text_appendf(&picture,
                 "\n"
                 "        _____  /|\n"
                 "      /o     \\/ |    Shoal %s (%s), %d bit\n"
                 "      \\_<____/\\ |    Running in %s mode\n"
                 "    _____  /|  \\|    Port: %d\n"
                 "  /o     \\/ |  _____  /|\n"
                 "  \\_<____/\\ |/o     \\/ |    PID: %d\n"
                 "          \\|\\_<____/\\ |    Shards: %u\n"
                 "                     \\|\n"
                 "\n",
                 SHOAL_VERSION, server->build.commit, (int)sizeof(void *) * 8, mode, port,
                 server->process_id, server->workers_count);
    log_picture(config, server->fs, LOG_NOTICE, text_bytes(&picture));
    text_fini(&picture);
}

static void log_begin(struct server *server, const struct launch *launch) {
    const struct config *config = server->config;
    log_line(config, server->fs, rt_wall_us_early(), LOG_NOTICE,
             "Shoal %s (speaks Valkey %s) starts: pid=%d, shards=%u, io-backend=%s, commit=%s, "
             "modified=%d",
             SHOAL_VERSION, SHOAL_VALKEY_VERSION, server->process_id, server->workers_count,
             launch->backend, server->build.commit, server->build.modified);
    if (launch->no_uring != NULL) {
        log_line(config, server->fs, rt_wall_us_early(), LOG_WARNING,
                 "io_uring is not available here (%s): all shards use epoll. Set io-backend epoll "
                 "to choose it.",
                 launch->no_uring);
    }
    if (config->config_file.len > 0) {
        log_line(config, server->fs, rt_wall_us_early(), LOG_NOTICE, "Configuration loaded from %s",
                 config->config_file.ptr);
    } else if (launch->configured) {
        say(server, LOG_NOTICE, "Configuration loaded, without a file");
    } else {
        log_line(config, server->fs, rt_wall_us_early(), LOG_WARNING,
                 "Warning: No config file specified, using the default config. In order to "
                 "specify a config file use %s /path/to/shoal.conf",
                 server->executable);
    }
    log_mode(server);
    log_missed(config, NULL, server->fs, rt_wall_us_early());
    advice_log(config, server->fs, rt_wall_us_early());
    log_line(config, server->fs, rt_wall_us_early(), LOG_NOTICE, "Server initialized");
}

static void log_ready(struct server *server) {
    const struct config *config = server->config;
    listen_log(server->workers[0]); /* it waits for main */
    http_log(server->workers[0]);
    if (config->port > 0) {
        say(server, LOG_NOTICE, "Ready to accept connections tcp");
    }
    if (config->unixsocket.len > 0) {
        say(server, LOG_NOTICE, "Ready to accept connections unix");
    }
    if (config->tls_port > 0) {
        say(server, LOG_NOTICE, "Ready to accept connections tls");
    }
}

static void tell_ready(struct server *server) {
    log_ready(server);
    if (is_node_of_group(server)) {
        node_group_ready();
    } else {
        supervision_ready(server->config, server->supervised, server->fs);
    }
}

/* If the configuration says so. Who started the server hears of what fails before. */
static bool go_to_background(struct server *server) {
    if (is_node_of_group(server) ||
        !supervision_in_background(server->config, server->supervised)) {
        return true;
    }
    int error = process_daemonize();
    if (error != 0) {
        fprintf(stderr, "shoal-server: could not go to the background: %s\n", strerror(-error));
        return false;
    }
    server->process_id = process_id();
    return true;
}

/* Room for maxclients among the open files; where the system gives less, fewer clients are let in.
 * False if there would be none. */
static bool fit_maxclients(struct server *server) {
    struct config *config = server->config;
    int64_t wanted = server_files_wanted(server, config);
    int64_t limit = rt_file_limit_early(wanted);
    if (limit >= wanted) {
        return true;
    }
    int64_t clients = limit - SERVER_FILES_RESERVED(server->workers_count);
    if (clients <= 0) {
        struct text reason;
        text_init(&reason);
        text_appendf(&reason,
                     "The limit of open files ('ulimit -n') is %lld: too low to serve anybody. %u "
                     "shards and maxclients %lld want %lld.",
                     (long long)limit, server->workers_count, (long long)config->maxclients,
                     (long long)wanted);
        refuse(server, reason.ptr);
        text_fini(&reason);
        return false;
    }
    log_line(
        config, server->fs, rt_wall_us_early(), LOG_WARNING,
        "The limit of open files is %lld: maxclients is lowered from %lld to %lld. Raise it with "
        "'ulimit -n' (or LimitNOFILE of the unit) to have more.",
        (long long)limit, (long long)config->maxclients, (long long)clients);
    config->maxclients = clients;
    return true;
}

/* Those that are there wait for the others and have done nothing yet. */
static _Noreturn void refuse_threads(struct server *server, int error) {
    struct text reason;
    text_init(&reason);
    text_appendf(&reason, "Could not start a thread for each of %u shards: %s",
                 server->workers_count, strerror(error));
    refuse(server, reason.ptr);
    _exit(1);
}

/* What there is of the last time: the workers load it. */
static void find_data(struct launch *launch) {
    struct server *server = launch->server;
    struct text said, why;
    text_init(&said);
    text_init(&why);
    if (!load_plan(server, &said, &why)) {
        launch_failed(launch, why.ptr);
    } else if (said.len > 0) {
        say(server, LOG_NOTICE, said.ptr);
    }
    text_fini(&said);
    text_fini(&why);
}

/* Starts the threads, waits for the end; the exit code. */
static int run(struct server *server, int argc, char **argv) {
    sigset_t signals;
    block_signals(&signals);
    struct launch launch = {
        .server = server,
        .config = server->config,
        .main_thread = pthread_self(),
        .crew = crash_crew_new(server->threads_count),
        .running = server->threads_count,
        .configured = argc > 1,
    };
    if (!make_runtimes(&launch)) {
        crash_crew_free(launch.crew);
        free(launch.rts);
        free(launch.no_uring);
        return 1;
    }
    text_init(&launch.reason);
    pthread_mutex_init(&launch.mutex, NULL);
    pthread_barrier_init(&launch.made, NULL, server->threads_count);
    pthread_barrier_init(&launch.started, NULL, server->threads_count + 1);
    pthread_barrier_init(&launch.ended, NULL, server->threads_count);
    struct launch_thread *threads = must_calloc(server->threads_count, sizeof *threads);
    for (unsigned i = 0; i < server->threads_count; i++) {
        bool works = i < server->workers_count;
        threads[i] = (struct launch_thread){.launch = &launch, .id = i};
        int error = pthread_create(&threads[i].thread, NULL, works ? worker_thread : cluster_thread,
                                   &threads[i]);
        if (error != 0) {
            refuse_threads(server, error);
        }
    }
    pthread_barrier_wait(&launch.started);
    if (launch.reason.len == 0) {
        log_begin(server, &launch);
        find_data(&launch);
    }
    launch.go = launch.reason.len == 0;
    if (launch.go) {
        if (!is_node_of_group(server)) {
            supervision_write_pid(server->config, server->supervised, server->fs,
                                  server->process_id);
        }
        server->title = process_title(argc, argv);
        server_show_title(server);
        if (server->load == NULL) { /* else worker 0 does so */
            tell_ready(server);
        }
    }
    pthread_barrier_wait(&launch.started);
    wait_for_end(&launch, &signals);
    for (unsigned i = 0; i < server->threads_count; i++) {
        pthread_join(threads[i].thread, NULL);
    }
    free(threads);
    free(launch.rts);
    free(launch.no_uring);
    crash_crew_free(launch.crew);
    data_unlock(server);
    if (launch.go) {
        remove_pid_file(server);
    }
    const char *failure = launch.go ? load_failure(server->load) : launch.reason.ptr;
    if (failure != NULL) {
        refuse(server, failure);
    } else {
        say(server, LOG_WARNING, "Shoal is now ready to exit, bye bye...");
    }
    text_fini(&launch.reason);
    load_free(server->load);
    return failure != NULL ? 1 : 0;
}

/* v= is what scripts and test suites look at to know what the server can do: the Valkey it speaks.
 */
static void print_version(void) {
    struct build build = build_of(build_commit);
    printf("Shoal server v=%s shoal=%s sha=%s:%d malloc=%s bits=%d build=%s\n",
           SHOAL_VALKEY_VERSION, SHOAL_VERSION, build.commit, build.modified, SHOAL_ALLOCATOR,
           (int)sizeof(long) * 8, build.id);
}

static void print_help(void) {
    puts(
        "Usage: shoal-server [/path/to/shoal.conf | -] [--directive value ...]\n"
        "       shoal-server -v or --version\n"
        "       shoal-server -h or --help\n"
        "\n"
        "The configuration file has the form of redis.conf and valkey.conf; those files work as "
        "they are.\n"
        "`-` reads the configuration from standard input. Directives on the command line come last "
        "and win.\n"
        "\n"
        "Examples:\n"
        "       shoal-server                       the defaults: port 6379, a shard per processor\n"
        "       shoal-server /etc/valkey/valkey.conf\n"
        "       shoal-server --port 7777 --shards 4\n"
        "       shoal-server /etc/shoal.conf --loglevel verbose -\n"
        "\n"
        "Directives of Shoal's own: shards, pipeline-order, shard-cpulist, io-backend, "
        "save-format, metrics-port, cluster-node-per-shard,\n"
        "metrics-bind, metrics-password, unauthenticated-maxmemory, address-maxclients.");
}

/* Words that are no configuration; true if there was one, and *ret_code is what to exit with. */
static bool handle_switch(int argc, char **argv, int *ret_code) {
    *ret_code = 0;
    if (argc < 2) {
        return false;
    }
    const char *word = argv[1];
    if (strcmp(word, "-v") == 0 || strcmp(word, "--version") == 0) {
        print_version();
        return true;
    }
    if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
        print_help();
        return true;
    }
    if (strcmp(word, "--test-memory") == 0 || strcmp(word, "--check-system") == 0 ||
        strcmp(word, "--sentinel") == 0) {
        fprintf(stderr, "shoal-server: %s is not supported.%s\n", word,
                strcmp(word, "--sentinel") == 0
                    ? " Sentinels of Redis and Valkey watch over Shoals: packages redis-sentinel "
                      "and valkey-sentinel."
                    : "");
        *ret_code = 1;
        return true;
    }
    return false;
}

static struct config *read_config(int argc, char **argv) {
    struct config *config = config_defaults();
    struct text err;
    text_init(&err);
    bool bad = config_load(config, fs_real(), argc, argv, &err) != 0;
    if (!bad && config_refusals(config, &err)) {
        bad = true;
    }
    if (bad) {
        fprintf(stderr, "%s%s", err.ptr, err.len > 0 && err.ptr[err.len - 1] == '\n' ? "" : "\n");
        config_free(config);
        config = NULL;
    }
    text_fini(&err);
    return config;
}

/* As a process would that is started now, from the directory that the first one was started in:
 * CONFIG REWRITE and hands may have changed the file. What was read from standard input, or cannot
 * be read any more, stays as it was. */
static struct config *read_config_again(struct config *old, int argc, char **argv,
                                        const char *begun_in) {
    const struct fs *fs = fs_real();
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-") == 0) {
            return old;
        }
    }
    fs->change_dir(fs->arg, begun_in);
    struct config *fresh = read_config(argc, argv);
    if (fresh == NULL) {
        log_line(old, fs, rt_wall_us_early(), LOG_WARNING,
                 "The configuration cannot be read any more: this node runs with the one that all "
                 "were started with.");
        fs->change_dir(fs->arg, old->dir.ptr);
        return old;
    }
    config_free(old);
    return fresh;
}

/* Before there are threads, and before processors are counted: server-cpulist, disable-thp. */
static void fit_process(const struct config *config) {
    int cpus[CPU_SETSIZE];
    size_t count = config_cpus(config->server_cpulist, cpus, CPU_SETSIZE);
    int error = count > 0 ? process_use_cpus(cpus, count) : 0;
    if (error != 0) {
        log_line(config, fs_real(), rt_wall_us_early(), LOG_WARNING,
                 "server-cpulist: the system does not let the server run there (%s); it runs "
                 "where it may.",
                 strerror(-error));
    }
    if (config->disable_thp && advice_huge_pages_for_all(fs_real())) {
        process_without_huge_pages();
    }
}

int main(int argc, char **argv) {
    int code = process_open_standard_streams();
    if (code != 0) {
        return 1;
    }
    crash_handle();
    if (handle_switch(argc, argv, &code)) {
        return code;
    }
    tzset();
    char begun_in[4096];
    if (fs_real()->current_dir(fs_real()->arg, begun_in, sizeof begun_in) != 0) {
        begun_in[0] = 0;
    }
    sysmem_return_at_once();
    struct config *config = read_config(argc, argv);
    if (config == NULL) {
        return 1;
    }
    fit_process(config);
    enum config_supervised supervised = supervision_find(config, fs_real());
    if (config->cluster_node_per_shard) {
        struct node_place place;
        code = node_group_run(config, supervised, &place);
        if (code >= 0) {
            config_free(config);
            return code;
        }
        if (place.again) {
            config = read_config_again(config, argc, argv, begun_in);
        }
        config_become_node(config, place.index, place.count);
        supervised = CONFIG_SUPERVISED_NO;
    }
    struct server *server = make_server(config, supervised);
    if (server == NULL) {
        return 1;
    }
    if (!go_to_background(server)) {
        server_free(server);
        return 1;
    }
    struct last_line last_line;
    last_line_init(&last_line, server->fs, server->build.begins, &server->at_start);
    struct crash_stack *crash_stack =
        crash_stack_new("main", last_line_say, NULL, &last_line, NULL, 0);
    oom_score_doubt(server->fs, rt_wall_us_early(), config);
    oom_score_follow(&server->oom_score, server->fs, rt_wall_us_early(), config);
    code = fit_maxclients(server) ? run(server, argc, argv) : 1;
    crash_stack_free(crash_stack);
    server_free(server);
    return code;
}
