/* SPDX-License-Identifier: BSD-3-Clause */
/* Files through the runtime: each operation, its errors, and many under way at once. */
#include "net/rt_file.h"

#include "net/rt_private.h"
#include "test/unit/rt_harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>

/* ---- An operation that remembers its result ---- */

struct job {
    struct rt_file_op op;
    int64_t result;
    unsigned calls;
    struct iovec vectors[8];
};

static void job_done(struct rt_file_op *op, int64_t result) {
    struct job *job = (struct job *)op;
    job->result = result;
    job->calls++;
}

static struct job job_made(void) {
    return (struct job){.op.done = job_done};
}

static int64_t result_of(struct rt *rt, struct job *job) {
    pump(rt, job->calls > 0);
    cr_assert_eq(job->calls, 1);
    return job->result;
}

static int64_t open_on(struct rt *rt, const char *path, unsigned flags) {
    struct job job = job_made();
    rt_file_open(rt, &job.op, path, flags, 0);
    cr_assert_eq(job.calls, 0);
    return result_of(rt, &job);
}

static rt_file opened(struct rt *rt, const char *path, unsigned flags) {
    int64_t r = open_on(rt, path, flags);
    cr_assert_geq(r, 0, "open %s: %s", path, strerror((int)-r));
    return (rt_file)r;
}

static void close_on(struct rt *rt, rt_file file) {
    struct job job = job_made();
    rt_file_close(rt, &job.op, file);
    cr_assert_eq(result_of(rt, &job), 0);
}

/* Writes in up to three vectors, one of them empty. */
static int64_t write_on(struct rt *rt, rt_file file, const char *data, size_t n, uint64_t offset,
                        bool sync) {
    struct job job = job_made();
    job.vectors[0] = (struct iovec){(void *)data, n / 3};
    job.vectors[1] = (struct iovec){NULL, 0};
    job.vectors[2] = (struct iovec){(void *)(data + n / 3), n - n / 3};
    (sync ? rt_file_write_sync : rt_file_write)(rt, &job.op, file, job.vectors, 3, offset);
    return result_of(rt, &job);
}

static int64_t read_on(struct rt *rt, rt_file file, char *ret, size_t n, uint64_t offset) {
    struct job job = job_made();
    rt_file_read(rt, &job.op, file, ret, n, offset);
    return result_of(rt, &job);
}

static int64_t sync_on(struct rt *rt, rt_file file, enum rt_sync what) {
    struct job job = job_made();
    rt_file_sync(rt, &job.op, file, what);
    return result_of(rt, &job);
}

static int64_t size_on(struct rt *rt, rt_file file) {
    struct job job = job_made();
    rt_file_size(rt, &job.op, file);
    return result_of(rt, &job);
}

static int64_t truncate_on(struct rt *rt, rt_file file, uint64_t bytes) {
    struct job job = job_made();
    rt_file_truncate(rt, &job.op, file, bytes);
    return result_of(rt, &job);
}

static int64_t rename_on(struct rt *rt, const char *path, const char *target) {
    struct job job = job_made();
    rt_file_rename(rt, &job.op, path, target);
    return result_of(rt, &job);
}

static int64_t remove_on(struct rt *rt, const char *path) {
    struct job job = job_made();
    rt_file_remove(rt, &job.op, path);
    return result_of(rt, &job);
}

static int64_t dir_on(struct rt *rt, const char *path,
                      void (*what)(struct rt *rt, struct rt_file_op *op, const char *path)) {
    struct job job = job_made();
    what(rt, &job.op, path);
    return result_of(rt, &job);
}

static void make_dir(struct rt *rt, struct rt_file_op *op, const char *path) {
    rt_dir_make(rt, op, path, 0);
}

#define READ_WRITE  (RT_OPEN_READ | RT_OPEN_WRITE)
#define FRESH       (READ_WRITE | RT_OPEN_CREATE | RT_OPEN_TRUNCATE)
#define FRESH_ALONE (READ_WRITE | RT_OPEN_CREATE | RT_OPEN_EXCLUSIVE)

static char *pattern(size_t n, unsigned seed) {
    char *data = malloc(n);
    for (size_t i = 0; i < n; i++) {
        data[i] = (char)((i * 131 + seed * 7 + i / 251) & 0xff);
    }
    return data;
}

/* ---- A directory of the test's own ---- */

static char room_path[] = "rt_file_XXXXXX";

static struct rt *in_room(enum rt_backend backend) {
    struct rt *rt = rt_made(backend);
    if (harness_sim == NULL) {
        cr_assert_not_null(mkdtemp(room_path));
        cr_assert_eq(chdir(room_path), 0);
    }
    return rt;
}

static void leave_room(struct rt *rt) {
    rt_free(rt);
    if (harness_sim == NULL) {
        cr_assert_eq(chdir(".."), 0);
        char command[64];
        snprintf(command, sizeof(command), "rm -rf %s", room_path);
        cr_assert_eq(system(command), 0);
    }
}

/* ---- Each operation ---- */

EACH(rt_file, what_was_written_is_read) {
    struct rt *rt = in_room(backend);
    rt_file file = opened(rt, "a", FRESH);
    char *data = pattern(300000, 1), *have = malloc(300010);
    for (int sync = 0; sync < 2; sync++) {
        cr_assert_eq(write_on(rt, file, data, 300000, 0, sync), 300000);
        cr_assert_eq(read_on(rt, file, have, 300010, 0), 300000);
        cr_assert_arr_eq(have, data, 300000);
        cr_assert_eq(write_on(rt, file, "middle", 6, 1000, sync), 6);
        cr_assert_eq(read_on(rt, file, have, 8, 999), 8);
        cr_assert_arr_eq(have + 1, "middle", 6);
        cr_assert_eq(have[0], data[999]);
        cr_assert_eq(have[7], data[1006]);
    }
    cr_assert_eq(read_on(rt, file, have, 10, 299995), 5);
    cr_assert_eq(read_on(rt, file, have, 10, 300000), 0);
    cr_assert_eq(read_on(rt, file, have, 10, 1 << 30), 0);
    cr_assert_eq(read_on(rt, file, have, 0, 0), 0);
    close_on(rt, file);
    free(data);
    free(have);
    leave_room(rt);
}

EACH(rt_file, a_write_of_nothing_is_done) {
    struct rt *rt = in_room(backend);
    rt_file file = opened(rt, "a", FRESH);
    struct job job = job_made();
    rt_file_write(rt, &job.op, file, NULL, 0, 5);
    cr_assert_eq(result_of(rt, &job), 0);
    job = job_made();
    job.vectors[0] = (struct iovec){NULL, 0};
    rt_file_write_sync(rt, &job.op, file, job.vectors, 1, 5);
    cr_assert_eq(result_of(rt, &job), 0);
    cr_assert_eq(size_on(rt, file), 0);
    close_on(rt, file);
    leave_room(rt);
}

EACH(rt_file, a_hole_reads_as_zeros) {
    struct rt *rt = in_room(backend);
    rt_file file = opened(rt, "a", FRESH);
    char have[8];
    cr_assert_eq(write_on(rt, file, "end", 3, 5000, true), 3);
    cr_assert_eq(size_on(rt, file), 5003);
    cr_assert_eq(read_on(rt, file, have, 8, 4995), 8);
    cr_assert_arr_eq(have, "\0\0\0\0\0end", 8);
    close_on(rt, file);
    leave_room(rt);
}

EACH(rt_file, a_file_is_cut_and_made_longer) {
    struct rt *rt = in_room(backend);
    rt_file file = opened(rt, "a", FRESH);
    char have[16];
    cr_assert_eq(write_on(rt, file, "0123456789", 10, 0, false), 10);
    cr_assert_eq(truncate_on(rt, file, 4), 0);
    cr_assert_eq(size_on(rt, file), 4);
    cr_assert_eq(truncate_on(rt, file, 8), 0);
    cr_assert_eq(size_on(rt, file), 8);
    cr_assert_eq(read_on(rt, file, have, 16, 0), 8);
    cr_assert_arr_eq(have, "0123\0\0\0\0", 8);
    cr_assert_eq(sync_on(rt, file, RT_SYNC_ALL), 0);
    cr_assert_eq(sync_on(rt, file, RT_SYNC_DATA), 0);
    close_on(rt, file);
    leave_room(rt);
}

EACH(rt_file, room_is_made_and_the_size_stays) {
    struct rt *rt = in_room(backend);
    rt_file file = opened(rt, "a", FRESH);
    struct job job = job_made();
    rt_file_allocate(rt, &job.op, file, 0, 100000);
    int64_t r = result_of(rt, &job);
    cr_assert(r == 0 || r == -EOPNOTSUPP);
    cr_assert_eq(size_on(rt, file), 0);
    close_on(rt, file);
    leave_room(rt);
}

EACH(rt_file, flags_of_opening_mean_what_they_say) {
    struct rt *rt = in_room(backend);
    cr_assert_eq(open_on(rt, "a", READ_WRITE), -ENOENT);
    rt_file file = opened(rt, "a", FRESH_ALONE);
    cr_assert_eq(write_on(rt, file, "hello", 5, 0, false), 5);
    close_on(rt, file);
    cr_assert_eq(open_on(rt, "a", FRESH_ALONE), -EEXIST);
    file = opened(rt, "a", READ_WRITE | RT_OPEN_CREATE);
    cr_assert_eq(size_on(rt, file), 5);
    close_on(rt, file);
    file = opened(rt, "a", RT_OPEN_READ);
    cr_assert_eq(write_on(rt, file, "x", 1, 0, false), -EBADF);
    close_on(rt, file);
    file = opened(rt, "a", RT_OPEN_WRITE);
    char byte;
    cr_assert_eq(read_on(rt, file, &byte, 1, 0), -EBADF);
    close_on(rt, file);
    file = opened(rt, "a", RT_OPEN_WRITE | RT_OPEN_TRUNCATE);
    cr_assert_eq(size_on(rt, file), 0);
    close_on(rt, file);
    cr_assert_eq(open_on(rt, "no/a", FRESH), -ENOENT);
    cr_assert_eq(open_on(rt, "a/b", FRESH), -ENOTDIR);
    leave_room(rt);
}

BOTH(rt_file, files_are_their_owners_not_inherited_and_no_links) {
    struct rt *rt = in_room(backend);
    rt_file file = opened(rt, "a", FRESH);
    struct stat stat;
    cr_assert_eq(fstat(file, &stat), 0);
    cr_assert_eq(stat.st_mode & 0777, 0600);
    cr_assert(fcntl(file, F_GETFD) & FD_CLOEXEC);
    close_on(rt, file);
    cr_assert_eq(symlink("a", "link"), 0);
    cr_assert_eq(open_on(rt, "link", RT_OPEN_READ), -ELOOP);
    cr_assert_eq(dir_on(rt, "d", make_dir), 0);
    cr_assert_eq(lstat("d", &stat), 0);
    cr_assert_eq(stat.st_mode & 0777, 0700);
    struct job job = job_made();
    rt_file_open(rt, &job.op, "b", FRESH, 0640);
    close_on(rt, (rt_file)result_of(rt, &job));
    cr_assert_eq(lstat("b", &stat), 0);
    cr_assert_eq(stat.st_mode & 0777, 0640);
    leave_room(rt);
}

EACH(rt_file, names_are_made_changed_and_removed) {
    struct rt *rt = in_room(backend);
    cr_assert_eq(dir_on(rt, "d", make_dir), 0);
    cr_assert_eq(dir_on(rt, "d", make_dir), -EEXIST);
    cr_assert_eq(dir_on(rt, "no/d", make_dir), -ENOENT);
    rt_file file = opened(rt, "d/a", FRESH);
    cr_assert_eq(write_on(rt, file, "new", 3, 0, true), 3);
    close_on(rt, file);
    close_on(rt, opened(rt, "d/b", FRESH));
    cr_assert_eq(rename_on(rt, "d/a", "d/b"), 0);
    cr_assert_eq(rename_on(rt, "d/a", "d/b"), -ENOENT);
    cr_assert_eq(open_on(rt, "d/a", RT_OPEN_READ), -ENOENT);
    cr_assert_eq(dir_on(rt, "d", rt_dir_sync), 0);
    cr_assert_eq(dir_on(rt, ".", rt_dir_sync), 0);
    cr_assert_eq(dir_on(rt, "no", rt_dir_sync), -ENOENT);
    cr_assert_eq(dir_on(rt, "d/b", rt_dir_sync), -ENOTDIR);
    file = opened(rt, "d/b", RT_OPEN_READ);
    cr_assert_eq(size_on(rt, file), 3);
    cr_assert_eq(remove_on(rt, "d/b"), 0);
    cr_assert_eq(remove_on(rt, "d/b"), -ENOENT);
    char have[3]; /* it is there as long as somebody has it open */
    cr_assert_eq(read_on(rt, file, have, 3, 0), 3);
    cr_assert_arr_eq(have, "new", 3);
    close_on(rt, file);
    leave_room(rt);
}

EACH(rt_file, many_under_way_are_each_told_once) {
    enum { JOBS = 700, BYTES = 3000 };
    struct rt *rt = in_room(backend);
    rt_file files[4];
    char *data = pattern(JOBS * BYTES, 3), *have = malloc(BYTES);
    struct job *jobs = aligned_alloc(16, JOBS * sizeof(*jobs));
    for (int i = 0; i < 4; i++) {
        char name[] = {(char)('a' + i), 0};
        files[i] = opened(rt, name, FRESH);
    }
    unsigned calls = 0;
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = job_made();
        jobs[i].vectors[0] = (struct iovec){data + i * BYTES, BYTES};
        (i % 16 == 0 ? rt_file_write_sync : rt_file_write)(
            rt, &jobs[i].op, files[i % 4], jobs[i].vectors, 1, (uint64_t)(i / 4) * BYTES);
        cr_assert_eq(jobs[i].calls, 0);
    }
    int64_t limit = now_ms() + PUMP_LIMIT_MS;
    while (calls < JOBS) {
        cr_assert_lt(now_ms(), limit);
        rt_turn(rt, 5 * 1000 * 1000);
        calls = 0;
        for (int i = 0; i < JOBS; i++) {
            calls += jobs[i].calls;
        }
    }
    for (int i = 0; i < JOBS; i++) {
        cr_assert_eq(jobs[i].calls, 1);
        cr_assert_eq(jobs[i].result, BYTES);
        cr_assert_eq(read_on(rt, files[i % 4], have, BYTES, (uint64_t)(i / 4) * BYTES), BYTES);
        cr_assert_arr_eq(have, data + i * BYTES, BYTES);
    }
    for (int i = 0; i < 4; i++) {
        close_on(rt, files[i]);
    }
    free(jobs);
    free(data);
    free(have);
    leave_room(rt);
}

/* ---- When it is told ---- */

/* A log: the next block is asked for where the last is told. */
struct chain {
    struct rt_file_op op;
    struct rt *rt;
    rt_file file;
    struct iovec vector;
    unsigned left, written;
};

static void chain_next(struct rt_file_op *op, int64_t result) {
    struct chain *chain = (struct chain *)op;
    cr_assert_eq(result, chain->written > 0 ? 100 : 0);
    if (chain->left-- > 0) {
        static char block[100];
        memset(block, 'a' + (int)chain->written % 26, sizeof(block));
        chain->vector = (struct iovec){block, sizeof(block)};
        rt_file_write_sync(chain->rt, op, chain->file, &chain->vector, 1,
                           (uint64_t)chain->written++ * sizeof(block));
    }
}

EACH(rt_file, an_operation_may_be_asked_for_where_it_was_told) {
    struct rt *rt = in_room(backend);
    rt_file file = opened(rt, "a", FRESH);
    struct chain chain = {.op.done = chain_next, .rt = rt, .file = file, .left = 30};
    rt_file_sync(rt, &chain.op, file, RT_SYNC_DATA);
    pump(rt, chain.left == UINT32_MAX);
    char have[100];
    cr_assert_eq(size_on(rt, file), 3000);
    cr_assert_eq(read_on(rt, file, have, 100, 2900), 100);
    cr_assert_eq(have[99], 'a' + 29 % 26);
    close_on(rt, file);
    leave_room(rt);
}

EACH(rt_file, who_asks_has_work_and_then_waits_for_the_end) {
    struct rt *rt = in_room(backend);
    rt_file file = opened(rt, "a", FRESH);
    pump_for(rt, 2);
    cr_assert_not(rt_has_work(rt));
    struct job job = job_made();
    rt_file_sync(rt, &job.op, file, RT_SYNC_ALL);
    cr_assert(rt_has_work(rt));
    int64_t start = now_ms();
    while (job.calls == 0) { /* nothing else would end the wait */
        cr_assert_not(rt_turn(rt, 30000 * 1000000ll), "woken by nobody");
    }
    cr_assert_lt(now_ms() - start, 20000);
    cr_assert_not(rt_has_work(rt));
    close_on(rt, file);
    leave_room(rt);
}

/* Ends when a byte comes, and results in how many did. */
static int64_t wait_for_byte(void *arg) {
    char byte;
    return read(*(const int *)arg, &byte, 1);
}

/* Work of which nobody knows how long it takes: a log that waited for it would hold up replies. */
BOTH(rt_file, nothing_waits_for_what_runs_beside) {
    struct rt *rt = in_room(backend);
    int pipes[2];
    cr_assert_eq(pipe(pipes), 0);
    struct job work = job_made(), next = job_made();
    rt_file_beside(rt, &work.op, wait_for_byte, &pipes[0]);
    rt_file_beside(rt, &next.op, wait_for_byte, &pipes[0]);
    rt_file file = opened(rt, "a", FRESH);
    for (int sync = 0; sync < 2; sync++) {
        cr_assert_eq(write_on(rt, file, "logged", 6, 0, sync), 6);
    }
    cr_assert_eq(sync_on(rt, file, RT_SYNC_DATA), 0);
    cr_assert_eq(rename_on(rt, "a", "b"), 0);
    cr_assert_eq(dir_on(rt, ".", rt_dir_sync), 0);
    close_on(rt, file);
    cr_assert_eq(work.calls + next.calls, 0);
    cr_assert_eq(write(pipes[1], "x", 1), 1);
    cr_assert_eq(result_of(rt, &work), 1);
    cr_assert_eq(next.calls, 0, "one such work after the other");
    close(pipes[1]);
    cr_assert_eq(result_of(rt, &next), 0);
    close(pipes[0]);
    leave_room(rt);
}

static bool never(void *arg) {
    (void)arg;
    return false;
}

BOTH(rt_file, a_look_submits_and_tells_nothing) {
    struct rt *rt = in_room(backend);
    rt_file file = opened(rt, "a", FRESH);
    struct job job = job_made();
    job.vectors[0] = (struct iovec){(void *)"looked", 6};
    rt_file_write(rt, &job.op, file, job.vectors, 1, 0);
    struct stat stat = {0};
    for (int64_t limit = now_ms() + PUMP_LIMIT_MS; stat.st_size != 6;) {
        rt_look(rt, never, NULL, 100000);
        cr_assert_eq(fstat(file, &stat), 0);
        cr_assert_lt(now_ms(), limit);
    }
    cr_assert_eq(job.calls, 0);
    cr_assert_eq(result_of(rt, &job), 6);
    close_on(rt, file);
    leave_room(rt);
}

/* ---- Who watches ---- */

struct watcher {
    struct rt_file_sight sights[4];
    unsigned asked, over, wants;
    rt_file half; /* of what is written to it, half is written at once; or -1 */
};

static unsigned watcher_asked(void *arg, struct rt_file_op *op) {
    struct watcher *watcher = arg;
    rt_file_look(op, &watcher->sights[watcher->asked % 4]);
    if (op->kind == RT_FILE_WRITE && op->file == watcher->half) {
        rt_file_write_half(op);
        op->left = 0; /* as if the process ended here */
        op->count = 0;
    }
    return ++watcher->asked == watcher->wants ? 7 : 0;
}

static void watcher_over(void *arg, unsigned noted) {
    struct watcher *watcher = arg;
    cr_assert_eq(noted, 7);
    watcher->over++;
}

EACH(rt_file, a_watcher_sees_what_is_asked_for_and_the_end_of_what_it_wants) {
    struct rt *rt = in_room(backend);
    struct watcher watcher = {.wants = 2, .half = -1};
    rt_file_watch(rt, watcher_asked, watcher_over, &watcher);
    rt_file file = opened(rt, "watched", FRESH);
    cr_assert_eq(watcher.over, 0);
    cr_assert_eq(write_on(rt, file, "0123456789", 10, 5, false), 10);
    cr_assert_eq(watcher.over, 1);
    close_on(rt, file);
    cr_assert_eq(remove_on(rt, "watched"), 0);
    cr_assert_eq(watcher.asked, 4);
    cr_assert_eq(watcher.over, 1, "it wanted no more");
    static const enum rt_file_kind kinds[] = {RT_FILE_OPEN, RT_FILE_WRITE, RT_FILE_CLOSE,
                                              RT_FILE_REMOVE};
    for (unsigned i = 0; i < 4; i++) {
        const struct rt_file_sight *sight = &watcher.sights[i];
        bool by_name = i == 0 || i == 3;
        cr_assert_eq(sight->kind, kinds[i]);
        cr_assert_eq(sight->creates, i == 0);
        if (by_name || backend != RT_SIM) { /* there a file has no name that could be asked for */
            const char *slash = strrchr(sight->path, '/');
            cr_assert_str_eq(slash != NULL ? slash + 1 : sight->path, "watched");
        }
    }
    cr_assert_eq(watcher.sights[1].offset, 5);
    rt_file_watch(rt, NULL, NULL, NULL);
    leave_room(rt);
}

BOTH(rt_file, half_of_a_write_is_what_a_kill_leaves) {
    struct rt *rt = in_room(backend);
    struct watcher watcher = {.half = -1};
    rt_file_watch(rt, watcher_asked, watcher_over, &watcher);
    rt_file file = opened(rt, "torn", FRESH);
    watcher.half = file;
    write_on(rt, file, "0123456789", 10, 3, false);
    char have[16];
    cr_assert_eq(read_on(rt, file, have, sizeof(have), 0), 8);
    cr_assert_arr_eq(have + 3, "01234", 5);
    close_on(rt, file);
    rt_file_watch(rt, NULL, NULL, NULL);
    leave_room(rt);
}

/* ---- Faults ---- */

EACH(rt_file, a_short_write_goes_on_where_it_stopped) {
    struct rt *rt = in_room(backend);
    rt_file file = opened(rt, "a", FRESH);
    char *data = pattern(10000, 5), have[10000];
    for (int sync = 0; sync < 2; sync++) {
        for (int part = 1; part < 9000; part = part * 3 + 1) {
            cr_assert_eq(truncate_on(rt, file, 0), 0);
            rt_inject(rt, RT_FAULT_FILE_WRITE, part, 1);
            cr_assert_eq(write_on(rt, file, data, 10000, 0, sync), 10000);
            cr_assert_eq(read_on(rt, file, have, 10000, 0), 10000);
            cr_assert_arr_eq(have, data, 10000);
        }
    }
    close_on(rt, file);
    free(data);
    leave_room(rt);
}

EACH(rt_file, a_write_that_fails_says_why) {
    static const int errors[] = {ENOSPC, EIO, EDQUOT};
    struct rt *rt = in_room(backend);
    rt_file file = opened(rt, "a", FRESH);
    for (int i = 0; i < 6; i++) {
        rt_inject(rt, RT_FAULT_FILE_WRITE, -errors[i / 2], 1);
        cr_assert_eq(write_on(rt, file, "data", 4, 0, i % 2), -errors[i / 2]);
        cr_assert_eq(size_on(rt, file), 0);
    }
    cr_assert_eq(write_on(rt, file, "data", 4, 0, true), 4);
    close_on(rt, file);
    leave_room(rt);
}

EACH(rt_file, a_sync_that_fails_says_so_also_behind_its_write) {
    struct rt *rt = in_room(backend);
    rt_file file = opened(rt, "a", FRESH);
    for (int what = 0; what < 2; what++) {
        rt_inject(rt, RT_FAULT_FILE_SYNC, -EIO, 1);
        cr_assert_eq(sync_on(rt, file, what ? RT_SYNC_ALL : RT_SYNC_DATA), -EIO);
        rt_inject(rt, RT_FAULT_FILE_SYNC, -ENOSPC, 1);
        cr_assert_eq(write_on(rt, file, "data", 4, 0, true), -ENOSPC);
    }
    cr_assert_eq(sync_on(rt, file, RT_SYNC_DATA), 0);
    close_on(rt, file);
    leave_room(rt);
}

/* The system's own short write: less than asked for goes into a file at the limit of its size, and
 * the next call fails. The sync must not have been taken for the answer of the write. */
BOTH(rt_file, a_write_that_the_system_cuts_short_and_then_refuses_fails) {
    struct rt *rt = in_room(backend);
    rt_file file = opened(rt, "a", FRESH);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 6000;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    char *data = pattern(10000, 6), have[10000];
    for (int sync = 0; sync < 2; sync++) {
        cr_assert_eq(write_on(rt, file, data, 10000, 0, sync), -EFBIG);
        cr_assert_eq(size_on(rt, file), 6000);
        cr_assert_eq(read_on(rt, file, have, 10000, 0), 6000);
        cr_assert_arr_eq(have, data, 6000);
        cr_assert_eq(write_on(rt, file, "data", 4, 6000, sync), -EFBIG);
        cr_assert_eq(write_on(rt, file, "data", 4, 100, sync), 4);
        cr_assert_eq(truncate_on(rt, file, 0), 0);
    }
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    close_on(rt, file);
    free(data);
    leave_room(rt);
}

/* What cannot be synced must not be taken for written and synced. */
BOTH(rt_file, what_cannot_be_synced_fails) {
    struct rt *rt = in_room(backend);
    int pipes[2];
    cr_assert_eq(pipe(pipes), 0);
    cr_assert_eq(sync_on(rt, pipes[1], RT_SYNC_DATA), -EINVAL);
    cr_assert_eq(write_on(rt, 1 << 20, "data", 4, 0, true), -EBADF);
    cr_assert_eq(sync_on(rt, 1 << 20, RT_SYNC_ALL), -EBADF);
    cr_assert_eq(truncate_on(rt, pipes[1], 0), -EINVAL);
    close(pipes[0]);
    close(pipes[1]);
    leave_room(rt);
}

BOTH(rt_file, queues_of_a_few_entries_do_all_the_same) {
    enum { JOBS = 100 };
    struct rt *rt = rt_of(&(struct rt_options){
        .backend = backend, .recv_buffers = 16, .recv_buffer_bytes = 256, .queue_entries = 4});
    cr_assert_not_null(mkdtemp(room_path));
    cr_assert_eq(chdir(room_path), 0);
    rt_file file = opened(rt, "a", FRESH);
    struct job jobs[JOBS];
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = job_made();
        jobs[i].vectors[0] = (struct iovec){(void *)"block", 5};
        rt_file_write_sync(rt, &jobs[i].op, file, jobs[i].vectors, 1, (uint64_t)i * 5);
        rt_inject(rt, RT_FAULT_ENTER, -EBUSY, i % 3 == 0);
    }
    for (int i = 0; i < JOBS; i++) {
        cr_assert_eq(result_of(rt, &jobs[i]), 5);
    }
    cr_assert_eq(size_on(rt, file), JOBS * 5);
    close_on(rt, file);
    leave_room(rt);
}

/* ---- The end ---- */

/* What is under way reads memory that is freed behind it. */
EACH(rt_file, the_end_waits_for_what_is_under_way) {
    enum { JOBS = 40, BYTES = 200000 };
    for (int turns = 0; turns < 3; turns++) {
        struct rt *rt = in_room(backend);
        rt_file file = opened(rt, "a", FRESH);
        char *data = pattern((size_t)JOBS * BYTES, 9);
        struct job *jobs = aligned_alloc(16, (JOBS + 3) * sizeof(*jobs));
        for (int i = 0; i < JOBS + 3; i++) {
            jobs[i] = job_made();
        }
        for (int i = 0; i < JOBS; i++) {
            jobs[i].vectors[0] = (struct iovec){data + (size_t)i * BYTES, BYTES};
            rt_file_write_sync(rt, &jobs[i].op, file, jobs[i].vectors, 1, (uint64_t)i * BYTES);
        }
        rt_file_open(rt, &jobs[JOBS].op, "b", FRESH, 0);
        rt_dir_sync(rt, &jobs[JOBS + 1].op, ".");
        rt_file_size(rt, &jobs[JOBS + 2].op, file);
        for (int i = 0; i < turns; i++) {
            rt_turn(rt, 0);
        }
        unsigned told = 0;
        for (int i = 0; i < JOBS + 3; i++) {
            told += jobs[i].calls;
        }
        if (jobs[JOBS].calls > 0 && harness_sim == NULL) {
            close((int)jobs[JOBS].result);
        }
        if (harness_sim == NULL) {
            leave_room(rt);
            memset(data, 0, (size_t)JOBS * BYTES); /* nobody writes that */
            char *have = malloc(BYTES);
            for (int i = 0; i < JOBS && turns > 0; i++) {
                ssize_t n = pread(file, have, BYTES, (off_t)i * BYTES);
                bool zeros = n == BYTES;
                for (int j = 0; j < BYTES && zeros; j++) {
                    zeros = have[j] == 0;
                }
                cr_assert_not(zeros);
            }
            free(have);
            close(file);
            strcpy(room_path, "rt_file_XXXXXX");
        } else {
            rt_free(rt);
        }
        unsigned after = 0;
        for (int i = 0; i < JOBS + 3; i++) {
            after += jobs[i].calls;
        }
        cr_assert_eq(after, told, "told by the end");
        free(jobs);
        free(data);
    }
}

static int open_descriptors(void) {
    int n = 0;
    for (int fd = 0; fd < 1024; fd++) {
        n += fcntl(fd, F_GETFD) >= 0;
    }
    return n;
}

/* Runtimes are made and freed by the main thread, and turned by others. */
struct life {
    struct rt *rt;
    struct job jobs[8];
};

static void *life_thread(void *arg) {
    struct life *life = arg;
    rt_turn(life->rt, 0);
    for (int i = 0; i < 8; i++) {
        life->jobs[i] = job_made();
        rt_file_open(life->rt, &life->jobs[i].op, "a", FRESH, 0);
    }
    rt_turn(life->rt, 0);
    return NULL;
}

BOTH(rt_file, what_a_thread_that_ended_had_under_way_is_waited_for) {
    struct rt *outer = in_room(backend);
    close_on(outer, opened(outer, "a", FRESH)); /* by now it has its helper */
    struct life life = {.rt = rt_made(backend)};
    pthread_t thread;
    pthread_create(&thread, NULL, life_thread, &life);
    pthread_join(thread, NULL);
    rt_free(life.rt);
    for (int i = 0; i < 8; i++) {
        if (life.jobs[i].calls > 0) {
            close((int)life.jobs[i].result);
        }
    }
    leave_room(outer);
}

BOTH(rt_file, no_descriptor_is_left_behind) {
    struct rt *rt = in_room(backend);
    rt_free(rt);
    int before = open_descriptors();
    for (int i = 0; i < 3; i++) {
        rt = rt_made(backend);
        close_on(rt, opened(rt, "a", FRESH));
        cr_assert_eq(dir_on(rt, ".", rt_dir_sync), 0);
        struct job job = job_made(), other = job_made();
        rt_file_open(rt, &job.op, "a", FRESH, 0);
        rt_dir_sync(rt, &other.op, ".");
        for (int turn = 0; turn < i; turn++) {
            rt_turn(rt, 0);
        }
        rt_free(rt);
        if (job.calls > 0) {
            close((int)job.result);
        }
        cr_assert_eq(open_descriptors(), before);
    }
    leave_room(rt_made(backend));
}

/* ---- A visitor ---- */

/* Another thread takes the sleeper's place and asks for something; only the owner is told. */
struct visit {
    struct rt *rt;
    rt_file file;
    pthread_t owner;
    pthread_mutex_t mutex;
    bool sleeps, stop;
    struct job job;
    unsigned told_elsewhere;
};

static bool visit_sleeps(void *arg) {
    struct visit *visit = arg;
    pthread_mutex_lock(&visit->mutex);
    visit->sleeps = true;
    pthread_mutex_unlock(&visit->mutex);
    return true;
}

static void visit_woke(void *arg) {
    struct visit *visit = arg;
    pthread_mutex_lock(&visit->mutex);
    visit->sleeps = false;
    pthread_mutex_unlock(&visit->mutex);
}

static void visit_done(struct rt_file_op *op, int64_t result) {
    struct visit *visit = LIST_ENTRY(op, struct visit, job.op);
    visit->told_elsewhere += !pthread_equal(pthread_self(), visit->owner);
    cr_assert_eq(result, 5);
    visit->job.calls++;
}

static void *visitor(void *arg) {
    struct visit *visit = arg;
    for (bool asked = false; !asked;) {
        pthread_mutex_lock(&visit->mutex);
        if (visit->sleeps) {
            rt_visit(visit->rt);
            visit->job.vectors[0] = (struct iovec){(void *)"visit", 5};
            rt_file_write_sync(visit->rt, &visit->job.op, visit->file, visit->job.vectors, 1, 0);
            cr_assert(rt_has_work(visit->rt));
            asked = true;
        }
        pthread_mutex_unlock(&visit->mutex);
    }
    rt_wake(NULL, visit->rt);
    return NULL;
}

BOTH(rt_file, what_a_visitor_asked_for_is_told_to_the_owner) {
    struct visit visit = {.rt = in_room(backend), .owner = pthread_self()};
    pthread_mutex_init(&visit.mutex, NULL);
    visit.file = opened(visit.rt, "a", FRESH);
    rt_on_sleep(visit.rt, visit_sleeps, visit_woke, &visit);
    for (int i = 0; i < 20; i++) {
        visit.job.op.done = visit_done;
        visit.job.calls = 0;
        pthread_t thread;
        pthread_create(&thread, NULL, visitor, &visit);
        pump(visit.rt, visit.job.calls == 1);
        pthread_join(thread, NULL);
    }
    cr_assert_eq(visit.told_elsewhere, 0);
    rt_on_sleep(visit.rt, NULL, NULL, NULL);
    close_on(visit.rt, visit.file);
    leave_room(visit.rt);
}
