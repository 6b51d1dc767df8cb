/* SPDX-License-Identifier: BSD-3-Clause */
/* crash: see the header.
 *
 * A handler is given no argument of ours, and a variable for the whole process is what this code
 * does without. But it runs on the stack that its thread gave to sigaltstack, so what it needs lies
 * there, at the low end, which the stack reaches last.
 *
 * The text of a failed check comes as the value of the signal (base/check.c). Everything here is
 * async-signal-safe: no allocation, no stdio, no locks. Several threads may be here at once, each
 * writes its line; a second fault in the handler is the kernel's, which ends the process.
 */
#include "net/crash.h"

#include "base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK_BYTES (64 * 1024)
#define STACK_MARK  UINT64_C(0x73686f616c206372)

struct crash_stack {
    uint64_t mark;
    const char *thread;
    crash_say_fn *say;
    void *arg;
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
    put_text(line, "crashed by ");
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
        stack->say(stack->arg, bytes_make(line.text, line.len));
    }
    signal(number, SIG_DFL);
    if (info->si_code <= 0) {
        /* Nothing happens again by itself: it waits until the handler returns. */
        syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), number);
    }
}

void crash_handle(void) {
    for (size_t i = 0; i < SIGNALS; i++) {
        struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
        struct sigaction before;
        sigfillset(&action.sa_mask);
        if (sigaction(signals[i].number, NULL, &before) == 0 &&
            (before.sa_flags & SA_SIGINFO) == 0 && before.sa_handler == SIG_DFL) {
            sigaction(signals[i].number, &action, NULL);
        }
    }
}

struct crash_stack *crash_stack_new(const char *thread, crash_say_fn *say, void *arg) {
    struct crash_stack *stack = must_calloc(1, STACK_BYTES);
    *stack = (struct crash_stack){.mark = STACK_MARK, .thread = thread, .say = say, .arg = arg};
    stack_t given = {.ss_sp = stack, .ss_size = STACK_BYTES};
    if (sigaltstack(&given, &stack->before) != 0) {
        free(stack);
        return NULL;
    }
    return stack;
}

void crash_stack_free(struct crash_stack *stack) {
    if (stack != NULL) {
        sigaltstack(&stack->before, NULL);
        free(stack);
    }
}
