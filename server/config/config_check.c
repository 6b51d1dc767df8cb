/* SPDX-License-Identifier: BSD-3-Clause */
/* config_check: rules of single values beyond their type, and what follows from them.
 */
#include "server/config/config_row.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <locale.h>
#include <stdlib.h>

/* A copy that C functions can read; false if it does not fit or holds a NUL. */
static bool to_text(struct bytes value, char *buf, size_t size) {
    if (value.len >= size || memchr(value.ptr, 0, value.len) != NULL) {
        return false;
    }
    memcpy(buf, value.ptr, value.len);
    buf[value.len] = 0;
    return true;
}

/* ---- Files ---- */

static const char *check_name(const struct config_row *row, const struct config_input *in,
                              struct bytes value, const char *what) {
    if (value.len == 0) {
        config_reason(in, "%s can't be empty", row->name);
    } else if (memchr(value.ptr, '/', value.len) != NULL) {
        config_reason(in, "%s can't be a path, just a %s", row->name, what);
    } else {
        return NULL;
    }
    return in->reason->ptr;
}

const char *config_check_filename(const struct config_row *row, const struct config *config,
                                  const struct config_input *in, struct bytes value) {
    return check_name(row, in, value, "filename");
}

const char *config_check_dirname(const struct config_row *row, const struct config *config,
                                 const struct config_input *in, struct bytes value) {
    return check_name(row, in, value, "dirname");
}

/* Opened once while the line is read, so that a wrong path is an error of that line and not a
 * silent server. */
const char *config_check_logfile(const struct config_row *row, const struct config *config,
                                 const struct config_input *in, struct bytes value) {
    char path[PATH_MAX];
    if (value.len == 0 || in->fs == NULL) {
        return NULL;
    }
    int rc = to_text(value, path, sizeof(path))
                 ? in->fs->append(in->fs->arg, path, bytes_make("", 0))
                 : -ENAMETOOLONG;
    if (rc < 0) {
        config_reason(in, "Can't open the log file: %s", strerror(-rc));
        return in->reason->ptr;
    }
    return NULL;
}

/* ---- Names and addresses ---- */

static const char *check_address(struct bytes value, int family, const char *refusal) {
    char buf[INET6_ADDRSTRLEN];
    unsigned char address[sizeof(struct in6_addr)];
    if (value.len == 0) {
        return NULL;
    }
    return to_text(value, buf, sizeof(buf)) && inet_pton(family, buf, address) == 1 ? NULL
                                                                                    : refusal;
}

const char *config_check_ipv4(const struct config_row *row, const struct config *config,
                              const struct config_input *in, struct bytes value) {
    return check_address(value, AF_INET, "Invalid IPv4 address");
}

const char *config_check_ipv6(const struct config_row *row, const struct config *config,
                              const struct config_input *in, struct bytes value) {
    return check_address(value, AF_INET6, "Invalid IPv6 address");
}

static bool is_alnum(char c) {
    return (c >= '0' && c <= '9') || (byte_lower(c) >= 'a' && byte_lower(c) <= 'z');
}

const char *config_check_hostname(const struct config_row *row, const struct config *config,
                                  const struct config_input *in, struct bytes value) {
    if (value.len >= 256) {
        return "Hostnames must be less than 256 characters";
    }
    for (size_t i = 0; i < value.len; i++) {
        if (!is_alnum(value.ptr[i]) && value.ptr[i] != '-' && value.ptr[i] != '.') {
            return "Hostnames may only contain alphanumeric characters, hyphens or dots";
        }
    }
    return NULL;
}

/* The line format of nodes.conf and of CLUSTER NODES gives these bytes a meaning of their own. */
static bool has_reserved(struct bytes value) {
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c <= ' ' || c == 127 || strchr("!\"#$%&'()*+,;<>?@[]^`{|}~=\\", c) != NULL) {
            return true;
        }
    }
    return false;
}

const char *config_check_nodename(const struct config_row *row, const struct config *config,
                                  const struct config_input *in, struct bytes value) {
    return has_reserved(value) ? "Announced human node name contained invalid character" : NULL;
}

const char *config_check_announce_ip(const struct config_row *row, const struct config *config,
                                     const struct config_input *in, struct bytes value) {
    if (value.len >= INET6_ADDRSTRLEN) {
        return "cluster-announce-ip is too long";
    }
    return has_reserved(value) ? "cluster-announce-ip contains invalid character" : NULL;
}

/* A list such as 0-3,6 with an optional step, 0-7:2, as taskset(1) reads it. */
const char *config_check_cpulist(const struct config_row *row, const struct config *config,
                                 const struct config_input *in, struct bytes value) {
    bool digit = false;
    for (size_t i = 0; i < value.len; i++) {
        bool is_digit = value.ptr[i] >= '0' && value.ptr[i] <= '9';
        if (!is_digit && (!digit || strchr("-,:", value.ptr[i]) == NULL || value.ptr[i] == 0)) {
            return "CPU list must be numbers and ranges such as 0-3,6 or 0-7:2";
        }
        digit = is_digit;
    }
    return value.len > 0 && !digit ? "CPU list must be numbers and ranges such as 0-3,6 or 0-7:2"
                                   : NULL;
}

/* One range of the list: reads what stands at p and returns where it ends. */
static const char *cpu_range(const char *p, long max, long *ret_first, long *ret_last,
                             long *ret_step) {
    char *end;
    *ret_first = *ret_last = strtol(p, &end, 10);
    *ret_step = 1;
    if (*end == '-') {
        *ret_last = strtol(end + 1, &end, 10);
    }
    if (*end == ':') {
        *ret_step = strtol(end + 1, &end, 10);
    }
    *ret_last = *ret_last < max ? *ret_last : max - 1;
    *ret_step = *ret_step < 1 ? 1 : *ret_step < max ? *ret_step : max;
    return end + strcspn(end, ",");
}

size_t config_cpus(struct bytes list, int *ret_cpus, size_t max) {
    size_t n = 0;
    for (const char *p = list.len > 0 ? list.ptr : ""; *p != 0; p += *p == ',') {
        long first, last, step;
        p = cpu_range(p, (long)max, &first, &last, &step);
        for (long cpu = first; cpu >= 0 && cpu <= last && n < max; cpu += step) {
            ret_cpus[n++] = (int)cpu;
        }
    }
    return n;
}

const char *config_check_locale(const struct config_row *row, const struct config *config,
                                const struct config_input *in, struct bytes value) {
    char name[128];
    if (in->fs == NULL) {
        return NULL;
    }
    locale_t locale = to_text(value, name, sizeof(name))
                          ? newlocale(LC_COLLATE_MASK, name, (locale_t)0)
                          : (locale_t)0;
    if (locale == (locale_t)0) {
        return "Invalid locale name";
    }
    freelocale(locale);
    return NULL;
}

/* ---- Numbers and flags ---- */

int64_t config_adjust_hz(const struct config *config, int64_t value) {
    return value < 1 ? 1 : value > 500 ? 500 : value;
}

int64_t config_adjust_backlog(const struct config *config, int64_t value) {
    return value < 16 * 1024 ? 16 * 1024 : value;
}

/* The watchdog looks twice in a turn of the periodic work at most. */
int64_t config_adjust_watchdog(const struct config *config, int64_t value) {
    int64_t least = config->hz > 0 ? 1000 / config->hz * 2 : 200;
    return value != 0 && value < least ? least : value;
}

const char *config_check_shutdown(unsigned flags) {
    return (flags & CONFIG_SHUTDOWN_SAVE) != 0 && (flags & CONFIG_SHUTDOWN_NOSAVE) != 0
               ? "shutdown options SAVE and NOSAVE can't be used simultaneously"
               : NULL;
}

/* Below this no client could say anything any more, not even to set it right. */
#define MAXMEMORY_CLIENTS_MIN (128 * 1024)

uint64_t config_maxmemory_clients(const struct config *config) {
    uint64_t bytes = (uint64_t)config->maxmemory_clients;
    if (config->maxmemory_clients < 0) {
        bytes = (uint64_t)((double)config->maxmemory * (double)-config->maxmemory_clients / 100.0);
    }
    return bytes > 0 && bytes < MAXMEMORY_CLIENTS_MIN ? MAXMEMORY_CLIENTS_MIN : bytes;
}

/* ---- Process title ---- */

static void append_listen_address(const struct config *config, struct text *title) {
    const char *bind = config_word(config->bind, NULL);
    int64_t port = config->port != 0 ? config->port : config->tls_port;
    if (port != 0) {
        text_appendf(title, "%s:%" PRId64, bind != NULL ? bind : "*", port);
    } else {
        text_append_bytes(title, config->unixsocket);
    }
}

static bool append_variable(const struct config *config, struct bytes name, struct bytes program,
                            struct text *title) {
    if (bytes_is(name, "title")) {
        text_append_bytes(title, program);
    } else if (bytes_is(name, "listen-addr")) {
        append_listen_address(config, title);
    } else if (bytes_is(name, "server-mode")) {
        text_append_text(title, config->cluster_enabled ? "[cluster]" : "");
    } else if (bytes_is(name, "port")) {
        text_appendf(title, "%" PRId64, config->port);
    } else if (bytes_is(name, "tls-port")) {
        text_appendf(title, "%" PRId64, config->tls_port);
    } else if (bytes_is(name, "unixsocket")) {
        text_append_bytes(title, config->unixsocket);
    } else if (bytes_is(name, "config-file")) {
        text_append_bytes(title, config->config_file);
    } else {
        return false;
    }
    return true;
}

/* {{ stands for {. */
static bool expand_title(const struct config *config, struct bytes template, struct bytes program,
                         struct text *title) {
    size_t from = title->len;
    for (size_t i = 0; i < template.len; i++) {
        if (template.ptr[i] != '{') {
            text_append_char(title, template.ptr[i]);
            continue;
        }
        if (i + 1 < template.len && template.ptr[i + 1] == '{') {
            text_append_char(title, '{');
            i++;
            continue;
        }
        const char *end = memchr(template.ptr + i, '}', template.len - i);
        if (end == NULL) {
            return false;
        }
        size_t name_len = (size_t)(end - (template.ptr + i + 1));
        if (!append_variable(config, bytes_make(template.ptr + i + 1, name_len), program, title)) {
            return false;
        }
        i += name_len + 1;
    }
    while (title->len > from && title->ptr[title->len - 1] == ' ') {
        title->ptr[--title->len] = 0;
    }
    return true;
}

bool config_proc_title(const struct config *config, struct bytes program, struct text *title) {
    return expand_title(config, config->proc_title_template, program, title);
}

const char *config_check_proc_title(const struct config_row *row, const struct config *config,
                                    const struct config_input *in, struct bytes value) {
    struct text title;
    text_init(&title);
    bool ok = expand_title(config, value, bytes_make("", 0), &title) && title.len > 0;
    text_fini(&title);
    return ok || in->fs == NULL ? NULL : "template format is invalid or contains unknown variables";
}
