/* SPDX-License-Identifier: BSD-3-Clause */
/* crash: see the header.
 *
 * A handler is given no argument of ours, and a variable for the whole process is what this code
 * does without. But it runs on the stack that its thread gave to sigaltstack, so what it needs lies
 * there, at the low end, which the stack reaches last.
 *
 * The text of a failed check comes as the value of the signal (base/check.c). Everything here is
 * async-signal-safe: no allocation, no stdio, no locks. Several threads may be here at once, each
 * writes its line; a second fault in the handler is the kernel's, which ends the process. So the
 * line comes first, and what may go wrong, as walking a stack that is broken, behind it. The names
 * of our own functions are read from the symbols of the program's file, also those of static ones.
 *
 * One signal, which nothing else uses here, makes a thread tell its stack:
 *
 *     a thread that has crashed -> each of the others, one by one: tells, and stands still
 *     its own timer             -> it did not come by in time (crash_watch): tells, and goes on
 *     anybody                   -> tells, and goes on
 *
 * Who crashed waits for a byte in a pipe, for a while only: a thread that has crashed, too, or that
 * has not got a processor, is passed over.
 */
#include "net/crash.h"

#include "base/must.h"

#include <elf.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK_BYTES (128 * 1024)
#define STACK_MARK  UINT64_C(0x73686f616c206372)

/* What nobody else sends, and what is ignored by who has no handler. */
#define TELL_SIGNAL SIGURG
/* So long a thread that crashed waits for another to tell its stack, */
#define TELL_MS 1000
/* and so long `more` may take. */
#define MORE_S 10

struct crash_crew {
    int told[2]; /* a pipe: a byte for each thread that has told its stack, and stands still */
    unsigned count;
    pid_t threads[]; /* 0: it is not there */
};

struct crash_stack {
    uint64_t mark;
    const char *thread;
    crash_say_fn *say;
    crash_more_fn *more;
    void *arg;
    struct crash_crew *crew;
    unsigned place;
    timer_t watch;
    bool watched;   /* there is that timer */
    bool watches;   /* and it runs */
    stack_t before; /* a sanitizer's */
};

/* ---- Text ---- */

struct line {
    char text[1024];
    size_t len;
};

static void put(struct line *line, const char *text, size_t len) {
    size_t room = sizeof line->text - line->len;
    len = len < room ? len : room;
    memcpy(line->text + line->len, text, len);
    line->len += len;
}

static void put_text(struct line *line, const char *text) {
    put(line, text, strlen(text));
}

static void put_number(struct line *line, uint64_t number, unsigned base) {
    char digits[24];
    size_t at = sizeof digits;
    do {
        digits[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number > 0);
    put_text(line, base == 16 ? "0x" : "");
    put(line, digits + at, sizeof digits - at);
}

/* ---- Where ---- */

static uintptr_t program_counter(const void *context) {
#if defined(__x86_64__)
    return (uintptr_t)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)((const ucontext_t *)context)->uc_mcontext.pc;
#else
    (void)context;
    return 0;
#endif
}

/* One line of /proc/self/maps after the other, a byte at a time from a small buffer. */
struct maps {
    int fd;
    char buffer[1024];
    ssize_t len, at;
    bool ended;
};

static bool maps_line(struct maps *maps, char *ret_line, size_t room) {
    size_t n = 0;
    for (;;) {
        if (maps->at == maps->len) {
            do {
                maps->len = read(maps->fd, maps->buffer, sizeof maps->buffer);
            } while (maps->len < 0 && errno == EINTR);
            maps->at = 0;
            if (maps->len <= 0) {
                return false;
            }
        }
        char c = maps->buffer[maps->at++];
        if (c == '\n') {
            ret_line[n] = 0;
            return true;
        }
        if (n < room - 1) {
            ret_line[n++] = c;
        }
    }
}

static const char *hex(const char *text, uintptr_t *ret_number) {
    *ret_number = 0;
    for (;; text++) {
        bool digit = *text >= '0' && *text <= '9';
        if (!digit && (*text < 'a' || *text > 'f')) {
            return text;
        }
        *ret_number = *ret_number * 16 + (uintptr_t)(digit ? *text - '0' : *text - 'a' + 10);
    }
}

/* " (module+0x123)": what addr2line -e module wants. The mappings of a module follow one another,
 * the first of them from the start of its file. */
static void put_module(struct line *line, uintptr_t address) {
    char text[512], module[256] = "";
    uintptr_t base = 0;
    struct maps maps = {.fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)};
    while (maps.fd >= 0 && maps_line(&maps, text, sizeof text)) {
        uintptr_t start, end;
        const char *path = strchr(text, '/');
        const char *rest = hex(text, &start);
        hex(rest + (*rest == '-'), &end);
        const char *slash = path != NULL ? strrchr(path, '/') : NULL;
        const char *name = slash != NULL ? slash + 1 : "";
        if (strncmp(name, module, sizeof module - 1) != 0) {
            base = start;
            size_t len = strnlen(name, sizeof module - 1);
            memcpy(module, name, len);
            module[len] = 0;
        }
        if (address >= start && address < end) {
            if (module[0] != 0) {
                put_text(line, " (");
                put_text(line, module);
                put_text(line, "+");
                put_number(line, address - base, 16);
                put_text(line, ")");
            }
            break;
        }
    }
    if (maps.fd >= 0) {
        close(maps.fd);
    }
}

/* ---- What it is called ---- */

extern const char __ehdr_start[], _etext[]; /* the linker's: where our program lies */

struct symbols {
    const char *file; /* NULL: there are none */
    size_t bytes;
    const Elf64_Sym *items;
    size_t count;
    const char *names;
    size_t names_bytes;
};

static bool lies_within(const struct symbols *symbols, uint64_t offset, uint64_t bytes) {
    return offset <= symbols->bytes && bytes <= symbols->bytes - offset;
}

/* The table of symbols that a program which was not stripped has, and the names in it. */
static void find_symbols(struct symbols *symbols) {
    const Elf64_Ehdr *head = (const void *)symbols->file;
    if (symbols->bytes < sizeof *head || head->e_ident[EI_CLASS] != ELFCLASS64 ||
        head->e_shentsize != sizeof(Elf64_Shdr) ||
        !lies_within(symbols, head->e_shoff, head->e_shnum * sizeof(Elf64_Shdr))) {
        return;
    }
    const Elf64_Shdr *sections = (const void *)(symbols->file + head->e_shoff);
    for (unsigned i = 0; i < head->e_shnum; i++) {
        const Elf64_Shdr *table = &sections[i];
        if (table->sh_type != SHT_SYMTAB || table->sh_link >= head->e_shnum) {
            continue;
        }
        const Elf64_Shdr *names = &sections[table->sh_link];
        if (lies_within(symbols, table->sh_offset, table->sh_size) &&
            lies_within(symbols, names->sh_offset, names->sh_size)) {
            symbols->items = (const void *)(symbols->file + table->sh_offset);
            symbols->count = table->sh_size / sizeof(Elf64_Sym);
            symbols->names = symbols->file + names->sh_offset;
            symbols->names_bytes = names->sh_size;
        }
    }
}

static void symbols_open(struct symbols *symbols) {
    *symbols = (struct symbols){.file = NULL};
    struct stat found;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    if (fstat(fd, &found) == 0 && found.st_size > 0) {
        void *file = mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (file != MAP_FAILED) {
            symbols->file = file;
            symbols->bytes = (size_t)found.st_size;
            find_symbols(symbols);
        }
    }
    close(fd);
}

/* "function+0x12", if the address is one of ours. */
static void put_function(struct line *line, const struct symbols *symbols, uintptr_t address) {
    if (address < (uintptr_t)__ehdr_start || address >= (uintptr_t)_etext) {
        return;
    }
    bool moves =
        symbols->count > 0 && ((const Elf64_Ehdr *)(const void *)symbols->file)->e_type == ET_DYN;
    uintptr_t offset = moves ? address - (uintptr_t)__ehdr_start : address;
    for (size_t i = 0; i < symbols->count; i++) {
        const Elf64_Sym *symbol = &symbols->items[i];
        if (ELF64_ST_TYPE(symbol->st_info) == STT_FUNC && offset >= symbol->st_value &&
            offset - symbol->st_value < symbol->st_size && symbol->st_name < symbols->names_bytes) {
            const char *name = symbols->names + symbol->st_name;
            put(line, name, strnlen(name, symbols->names_bytes - symbol->st_name));
            put_text(line, "+");
            put_number(line, offset - symbol->st_value, 16);
            return;
        }
    }
}

/* ---- The report ---- */

#define FRAMES_MAX 64

static void say_line(const struct crash_stack *stack, const struct line *line) {
    stack->say(stack->arg, bytes_make(line->text, line->len), false);
}

/* `named`: others may say theirs at the same time. */
static void report_stack(const struct crash_stack *stack, const void *context, bool named) {
    struct line line;
    void *frames[FRAMES_MAX];
    int count = backtrace(frames, FRAMES_MAX), first = 0;
    struct symbols symbols;
    symbols_open(&symbols);
    for (int i = 0; i < count; i++) { /* what is above it is this handler; all, if it is not seen */
        first = (uintptr_t)frames[i] == program_counter(context) ? i : first;
    }
    for (int i = first; i < count; i++) {
        /* A frame's address is where it goes on: the call is before that. */
        uintptr_t address = (uintptr_t)frames[i] - (i > first);
        line.len = 0;
        put_text(&line, "Stack ");
        put_number(&line, (uint64_t)(i - first), 10);
        put_text(&line, named ? " of " : "");
        put_text(&line, named ? stack->thread : "");
        put_text(&line, ": ");
        put_function(&line, &symbols, address);
        put_module(&line, address);
        say_line(stack, &line);
    }
    if (symbols.file != NULL) {
        munmap((void *)symbols.file, symbols.bytes);
    }
}

struct register_name {
    const char *name;
    int index;
};

#if defined(__x86_64__)
static const struct register_name registers[] = {
    {"rax", REG_RAX}, {"rbx", REG_RBX}, {"rcx", REG_RCX}, {"rdx", REG_RDX}, {"rdi", REG_RDI},
    {"rsi", REG_RSI}, {"rbp", REG_RBP}, {"rsp", REG_RSP}, {"r8", REG_R8},   {"r9", REG_R9},
    {"r10", REG_R10}, {"r11", REG_R11}, {"r12", REG_R12}, {"r13", REG_R13}, {"r14", REG_R14},
    {"r15", REG_R15}, {"rip", REG_RIP}, {"efl", REG_EFL},
};

static uint64_t register_of(const void *context, int index) {
    return (uint64_t)((const ucontext_t *)context)->uc_mcontext.gregs[index];
}
#elif defined(__aarch64__)
static const struct register_name registers[] = {
    {"x0", 0},   {"x1", 1},   {"x2", 2},   {"x3", 3},   {"x4", 4},   {"x5", 5},   {"x6", 6},
    {"x7", 7},   {"x8", 8},   {"x9", 9},   {"x10", 10}, {"x11", 11}, {"x12", 12}, {"x13", 13},
    {"x14", 14}, {"x15", 15}, {"x16", 16}, {"x17", 17}, {"x18", 18}, {"x19", 19}, {"x20", 20},
    {"x21", 21}, {"x22", 22}, {"x23", 23}, {"x24", 24}, {"x25", 25}, {"x26", 26}, {"x27", 27},
    {"x28", 28}, {"x29", 29}, {"x30", 30},
};

static uint64_t register_of(const void *context, int index) {
    return ((const ucontext_t *)context)->uc_mcontext.regs[index];
}
#endif

static void report_registers(const struct crash_stack *stack, const void *context) {
#if defined(__x86_64__) || defined(__aarch64__)
    struct line line = {.len = 0};
    put_text(&line, "Registers:");
    for (size_t i = 0; i < sizeof registers / sizeof registers[0]; i++) {
        put_text(&line, " ");
        put_text(&line, registers[i].name);
        put_text(&line, "=");
        put_number(&line, register_of(context, registers[i].index), 16);
    }
    say_line(stack, &line);
#endif
}

/* ---- The handler ---- */

static const struct {
    int number;
    const char *name;
} signals[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},
    {SIGILL, "SIGILL"},   {SIGABRT, "SIGABRT"},
};
#define SIGNALS (sizeof signals / sizeof signals[0])

static const struct crash_stack *own_stack(void) {
    stack_t now;
    if (sigaltstack(NULL, &now) != 0 || (now.ss_flags & SS_DISABLE) != 0) {
        return NULL;
    }
    const struct crash_stack *stack = now.ss_sp;
    return now.ss_size == STACK_BYTES && stack->mark == STACK_MARK ? stack : NULL;
}

static void put_signal(struct line *line, int number, const siginfo_t *info, const void *context) {
    const char *name = "a signal";
    for (size_t i = 0; i < SIGNALS; i++) {
        name = signals[i].number == number ? signals[i].name : name;
    }
    put_text(line, "crashed by signal ");
    put_text(line, name);
    if (info->si_code <= 0) {
        put_text(line, " from process ");
        put_number(line, (uint64_t)info->si_pid, 10);
    } else if (number == SIGSEGV || number == SIGBUS) {
        put_text(line, " at address ");
        put_number(line, (uintptr_t)info->si_addr, 16);
    }
    put_text(line, ", program counter ");
    put_number(line, program_counter(context), 16);
    put_module(line, program_counter(context));
}

/* ---- What others do ---- */

/* With a pointer: from a thread that has crashed. */
static void ask_to_tell(pid_t thread, bool crashed) {
    siginfo_t info = {.si_code = SI_QUEUE, .si_pid = getpid(), .si_uid = getuid()};
    info.si_signo = TELL_SIGNAL;
    info.si_value.sival_int = crashed;
    syscall(SYS_rt_tgsigqueueinfo, getpid(), thread, TELL_SIGNAL, &info);
}

static void report_others(const struct crash_stack *stack) {
    const struct crash_crew *crew = stack->crew;
    for (unsigned i = 0; crew != NULL && i < crew->count; i++) {
        if (i == stack->place || crew->threads[i] == 0) {
            continue;
        }
        ask_to_tell(crew->threads[i], true);
        struct pollfd told = {.fd = crew->told[0], .events = POLLIN};
        char byte;
        if (poll(&told, 1, TELL_MS) != 1 || read(crew->told[0], &byte, 1) != 1) {
            struct line line = {.len = 0};
            put_text(&line, "Thread ");
            put_number(&line, i, 10);
            put_text(&line, " does not answer.");
            say_line(stack, &line);
        }
    }
}

/* The signal ends the process, if what comes now takes too long: main does not block it. */
static void end_soon(int number) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = number};
    struct itimerspec when = {.it_value = {.tv_sec = MORE_S}};
    timer_t timer;
    signal(number, SIG_DFL);
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) == 0) {
        timer_settime(timer, 0, &when, NULL);
    }
}

static void on_tell(int number, siginfo_t *info, void *context) {
    int saved = errno;
    const struct crash_stack *stack = own_stack();
    bool own = info->si_code == SI_QUEUE && info->si_pid == getpid();
    bool crashed = own && info->si_value.sival_int != 0;
    if (stack != NULL && (own || info->si_code == SI_TIMER)) {
        struct line line = {.len = 0};
        put_text(&line, crashed ? "Meanwhile thread "
                        : own   ? "Thread "
                                : "--- WATCHDOG TIMER EXPIRED --- thread ");
        put_text(&line, stack->thread);
        put_text(&line, crashed || own ? ":" : " does not get on:");
        say_line(stack, &line);
        report_stack(stack, context, true);
    }
    if (crashed && stack != NULL && stack->crew != NULL) {
        ssize_t n = write(stack->crew->told[1], "t", 1);
        (void)n;
        for (;;) {
            pause();
        }
    }
    errno = saved;
}

static void on_crash(int number, siginfo_t *info, void *context) {
    const struct crash_stack *stack = own_stack();
    bool own = number == SIGABRT && info->si_code == SI_QUEUE && info->si_pid == getpid();
    struct line line;
    line.len = 0;
    if (own) {
        put_text(&line, info->si_value.sival_ptr);
    } else {
        put_signal(&line, number, info, context);
    }
    put_text(&line, ", thread ");
    put_text(&line, stack != NULL ? stack->thread : "unknown");
    if (!own) { /* a check has said it there itself */
        struct bytes text = bytes_make(line.text, line.len);
        ssize_t n = write(STDERR_FILENO, text.ptr, text.len);
        n = write(STDERR_FILENO, "\n", 1);
        (void)n;
    }
    if (stack != NULL) {
        close(STDIN_FILENO); /* the log may need a descriptor, and there may be no other */
        struct crash_wish wish = stack->say(stack->arg, bytes_make(line.text, line.len), true);
        if (wish.report) {
            report_registers(stack, context);
            report_stack(stack, context, false);
            report_others(stack);
            if (stack->more != NULL) {
                end_soon(number);
                stack->more(stack->arg);
            }
        }
        if (wish.exits) {
            _exit(1);
        }
    }
    signal(number, SIG_DFL);
    if (info->si_code <= 0) {
        /* Nothing happens again by itself: it waits until the handler returns. */
        syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), number);
    }
}

void crash_handle(void) {
    void *frame;
    backtrace(&frame, 1); /* loads what walks a stack, which a handler must not */
    for (size_t i = 0; i < SIGNALS; i++) {
        struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
        struct sigaction before;
        sigfillset(&action.sa_mask);
        if (sigaction(signals[i].number, NULL, &before) == 0 &&
            (before.sa_flags & SA_SIGINFO) == 0 && before.sa_handler == SIG_DFL) {
            sigaction(signals[i].number, &action, NULL);
        }
    }
    struct sigaction tell = {.sa_sigaction = on_tell,
                             .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    sigfillset(&tell.sa_mask);
    for (size_t i = 0; i < SIGNALS; i++) { /* a fault meanwhile is told, too */
        sigdelset(&tell.sa_mask, signals[i].number);
    }
    sigaction(TELL_SIGNAL, &tell, NULL);
}

struct crash_crew *crash_crew_new(unsigned threads) {
    struct crash_crew *crew = must_calloc(1, sizeof *crew + threads * sizeof *crew->threads);
    crew->count = threads;
    if (pipe2(crew->told, O_CLOEXEC) != 0) {
        free(crew);
        return NULL;
    }
    return crew;
}

void crash_crew_free(struct crash_crew *crew) {
    if (crew != NULL) {
        close(crew->told[0]);
        close(crew->told[1]);
        free(crew);
    }
}

void crash_crew_show(const struct crash_crew *crew) {
    for (unsigned i = 0; crew != NULL && i < crew->count; i++) {
        if (crew->threads[i] != 0) {
            ask_to_tell(crew->threads[i], false);
        }
    }
}

struct crash_stack *crash_stack_new(const char *thread, crash_say_fn *say, crash_more_fn *more,
                                    void *arg, struct crash_crew *crew, unsigned place) {
    struct crash_stack *stack = must_calloc(1, STACK_BYTES);
    *stack = (struct crash_stack){
        .mark = STACK_MARK,
        .thread = thread,
        .say = say,
        .more = more,
        .arg = arg,
        .crew = crew,
        .place = place,
    };
    stack_t given = {.ss_sp = stack, .ss_size = STACK_BYTES};
    if (sigaltstack(&given, &stack->before) != 0) {
        free(stack);
        return NULL;
    }
    if (crew != NULL) {
        crew->threads[place] = (pid_t)syscall(SYS_gettid);
    }
    return stack;
}

void crash_stack_free(struct crash_stack *stack) {
    if (stack != NULL) {
        if (stack->crew != NULL) {
            stack->crew->threads[stack->place] = 0;
        }
        if (stack->watched) {
            timer_delete(stack->watch);
        }
        sigaltstack(&stack->before, NULL);
        free(stack);
    }
}

bool crash_watch(struct crash_stack *stack, int64_t period_ms) {
    if (stack == NULL || (period_ms == 0 && !stack->watches)) {
        return true;
    }
    if (!stack->watched) {
        struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = TELL_SIGNAL};
        event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
        if (timer_create(CLOCK_MONOTONIC, &event, &stack->watch) != 0) {
            return false;
        }
        stack->watched = true;
    }
    struct itimerspec when = {
        .it_value = {.tv_sec = period_ms / 1000, .tv_nsec = period_ms % 1000 * 1000000}};
    timer_settime(stack->watch, 0, &when, NULL);
    stack->watches = period_ms != 0;
    return true;
}
