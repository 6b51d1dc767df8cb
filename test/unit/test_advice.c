/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/observe/advice.h"
#include "test/unit/config_helper.h"
#include "test/unit/memory_fs.h"

#include <criterion/criterion.h>

#define THP "/sys/kernel/mm/transparent_hugepage/enabled"

static struct memory_fs *memory;
static struct config *config;

static void setup(void) {
    memory = memory_fs_new();
    config = config_defaults();
}

static void teardown(void) {
    config_free(config);
    memory_fs_free(memory);
}

TestSuite(advice, .init = setup, .fini = teardown);

static void system_says(const char *path, const char *text) {
    memory_fs_replace(memory, path, bytes_of_text(text), 0644);
}

/* What the log holds then: it is the file that has no name. */
static const char *logged(void) {
    text_clear(memory_fs_file(memory, "", true));
    advice_log(config, &memory->fs, 0);
    return memory_fs_file(memory, "", true)->ptr;
}

static unsigned lines(const char *text) {
    unsigned n = 0;
    for (; *text != 0; text++) {
        n += *text == '\n';
    }
    return n;
}

Test(advice, what_cannot_be_read_is_not_spoken_of) {
    cr_expect_eq(lines(logged()), 1);
}

Test(advice, limits_that_are_high_enough_are_not_spoken_of) {
    system_says("/proc/sys/net/core/somaxconn", "4096\n");
    system_says("/proc/sys/vm/overcommit_memory", "0\n");
    system_says(THP, "always [madvise] never\n");
    cr_expect(!advice_huge_pages_for_all(&memory->fs));
    cr_expect_eq(lines(logged()), 1, "%s", logged());
}

Test(advice, limits_that_are_too_low_are_told_with_what_raises_them) {
    system_says("/proc/sys/net/core/somaxconn", "128\n");
    system_says("/proc/sys/vm/overcommit_memory", "2\n");
    system_says(THP, "[always] madvise never\n");
    cr_expect(advice_huge_pages_for_all(&memory->fs));
    cr_expect_eq(lines(logged()), 3, "huge pages are kept from this server: %s", logged());
    config->disable_thp = false;
    const char *text = logged();
    cr_expect_eq(lines(text), 4);
    cr_expect(strstr(text, "only 128 connections") && strstr(text, "net.core.somaxconn=511"));
    cr_expect(strstr(text, "sysctl -w vm.overcommit_memory=1") != NULL);
    cr_expect(strstr(text, "echo madvise > " THP) != NULL);
}

Test(advice, what_survives_follows_the_configuration) {
    cr_expect(strstr(logged(), "the last save (appendonly no)") != NULL, "%s", logged());
    struct config_saves saves = config->save;
    config->save = (struct config_saves){0};
    cr_expect(strstr(logged(), "nothing but what SAVE") != NULL, "%s", logged());
    config->save = saves;
    config->appendonly = true;
    config->appendfsync = CONFIG_FSYNC_ALWAYS;
    cr_expect(strstr(logged(), "also if the machine fails") != NULL);
    config->appendfsync = CONFIG_FSYNC_EVERYSEC;
    cr_expect(strstr(logged(), "about the last second") != NULL);
    config->appendfsync = CONFIG_FSYNC_NO;
    cr_expect(strstr(logged(), "had not written by then") != NULL);
}
