/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/file.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/shoal-file-XXXXXX";
static const struct fs *fs;

static void start(void) {
    fs = fs_real();
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(fs->change_dir(fs->arg, dir), 0);
}

static void stop(void) {
    char **names;
    cr_assert_eq(fs->match(fs->arg, "*", &names), 0);
    for (size_t i = 0; names[i] != NULL; i++) {
        cr_assert_eq(fs->remove(fs->arg, names[i]), 0);
        free(names[i]);
    }
    free(names);
    rmdir(dir);
}

TestSuite(file, .init = start, .fini = stop);

static void expect_content(const char *path, struct bytes expected) {
    char *data;
    size_t len;
    cr_assert_eq(fs->read_all(fs->arg, path, &data, &len), 0);
    cr_assert(bytes_equal(bytes_make(data, len), expected));
    cr_assert_eq(data[len], 0);
    free(data);
}

static mode_t mode_of(const char *path) {
    struct stat status;
    cr_assert_eq(stat(path, &status), 0);
    return status.st_mode & 07777;
}

Test(file, a_whole_file_is_read_whatever_its_size) {
    size_t sizes[] = {0, 1, 4095, 4096, 4097, 100000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *content = malloc(sizes[i] + 1);
        memset(content, 'x', sizes[i]);
        cr_assert_eq(fs->write_all(fs->arg, "a", bytes_make(content, sizes[i]), 0644), 0);
        expect_content("a", bytes_make(content, sizes[i]));
        free(content);
    }
}

Test(file, errors_are_negative_numbers) {
    char *data;
    size_t len;
    cr_assert_eq(fs->read_all(fs->arg, "missing", &data, &len), -ENOENT);
    cr_assert_eq(fs->read_all(fs->arg, ".", &data, &len), -EISDIR);
    cr_assert_eq(fs->write_all(fs->arg, "no/such", BYTES("x"), 0644), -ENOENT);
    cr_assert_eq(fs->replace(fs->arg, "no/such", BYTES("x"), 0644), -ENOENT);
    cr_assert_eq(fs->append(fs->arg, "no/such", BYTES("x")), -ENOENT);
    cr_assert_eq(fs->remove(fs->arg, "missing"), -ENOENT);
    cr_assert_eq(fs->change_dir(fs->arg, "missing"), -ENOENT);
}

Test(file, a_replaced_file_is_whole_and_leaves_nothing_beside_it) {
    char **names;
    cr_assert_eq(fs->replace(fs->arg, "c", BYTES("one"), 0640), 0);
    cr_assert_eq(mode_of("c"), 0640);
    cr_assert_eq(fs->replace(fs->arg, "c", BYTES("a longer text"), 0640), 0);
    expect_content("c", BYTES("a longer text"));
    cr_assert_eq(fs->match(fs->arg, "*", &names), 0);
    cr_assert_str_eq(names[0], "c");
    cr_assert_null(names[1]);
    free(names[0]);
    free(names);
}

/* A configuration with a password in it is readable by its owner only, and must stay so. */
Test(file, a_replaced_file_keeps_its_mode) {
    cr_assert_eq(fs->write_all(fs->arg, "c", BYTES("x"), 0600), 0);
    cr_assert_eq(fs->replace(fs->arg, "c", BYTES("y"), 0644), 0);
    cr_assert_eq(mode_of("c"), 0600);
}

Test(file, append_adds_and_write_truncates) {
    cr_assert_eq(fs->append(fs->arg, "log", BYTES("a\n")), 0);
    cr_assert_eq(fs->append(fs->arg, "log", BYTES("b\n")), 0);
    expect_content("log", BYTES("a\nb\n"));
    cr_assert_eq(fs->write_all(fs->arg, "log", BYTES("c"), 0644), 0);
    expect_content("log", BYTES("c"));
}

Test(file, patterns_give_sorted_names_or_none) {
    char **names;
    fs->write_all(fs->arg, "b.conf", BYTES(""), 0644);
    fs->write_all(fs->arg, "a.conf", BYTES(""), 0644);
    fs->write_all(fs->arg, "c.txt", BYTES(""), 0644);
    cr_assert_eq(fs->match(fs->arg, "*.conf", &names), 0);
    cr_assert_str_eq(names[0], "a.conf");
    cr_assert_str_eq(names[1], "b.conf");
    cr_assert_null(names[2]);
    free(names[0]);
    free(names[1]);
    free(names);
    cr_assert_eq(fs->match(fs->arg, "no*", &names), 0);
    cr_assert_null(names[0]);
    free(names);
}

Test(file, directories_are_told_from_files) {
    char here[PATH_MAX];
    fs->write_all(fs->arg, "f", BYTES(""), 0644);
    cr_assert_eq(fs->exists(fs->arg, "f", false), 0);
    cr_assert_eq(fs->exists(fs->arg, "f", true), -ENOTDIR);
    cr_assert_eq(fs->exists(fs->arg, ".", true), 0);
    cr_assert_eq(fs->exists(fs->arg, "missing", false), -ENOENT);
    cr_assert_eq(fs->current_dir(fs->arg, here, sizeof(here)), 0);
    cr_assert_str_eq(here, dir);
    cr_assert_eq(fs->current_dir(fs->arg, here, 2), -ERANGE);
}

Test(file, data_is_read_from_any_place) {
    int file;
    char bytes[3];
    uint64_t size;
    cr_assert_eq(fs->write_all(fs->arg, "a", BYTES("0123456789"), 0644), 0);
    cr_assert_eq(fs->open_data(fs->arg, "a", false, 0, &file), 0);
    cr_assert_eq(fs->size_data(fs->arg, file, &size), 0);
    cr_assert_eq(size, 10);
    for (uint64_t at = 7; at < 8; at -= 2) {
        cr_assert_eq(fs->seek_data(fs->arg, file, at), 0);
        cr_assert_eq(fs->read_data(fs->arg, file, bytes, sizeof bytes), 3);
        cr_assert_eq(bytes[0], (char)('0' + at));
    }
    cr_assert_eq(fs->seek_data(fs->arg, file, UINT64_MAX), -EINVAL);
    cr_assert_eq(fs->close_data(fs->arg, file, false), 0);
}

Test(file, a_directory_is_made_once_and_locked_by_one) {
    int file, other;
    cr_assert_eq(fs->make_dir(fs->arg, "d", 0700), 0);
    cr_assert_eq(mode_of("d"), 0700);
    cr_assert_eq(fs->make_dir(fs->arg, "d", 0700), -EEXIST);
    cr_assert_eq(fs->make_dir(fs->arg, "none/d", 0700), -ENOENT);
    cr_assert_eq(fs->sync_dir(fs->arg, "d"), 0);
    cr_assert_eq(fs->sync_dir(fs->arg, "none"), -ENOENT);
    cr_assert_eq(fs->lock_dir(fs->arg, "d", &file), 0);
    cr_assert_eq(fs->lock_dir(fs->arg, "d", &other), -EWOULDBLOCK);
    cr_assert_eq(fs->close_data(fs->arg, file, false), 0);
    cr_assert_eq(fs->lock_dir(fs->arg, "d", &other), 0);
    cr_assert_eq(fs->close_data(fs->arg, other, false), 0);
    cr_assert_eq(rmdir("d"), 0);
}
