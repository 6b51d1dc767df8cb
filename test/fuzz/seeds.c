/* SPDX-License-Identifier: BSD-3-Clause */
/* seeds: runs a fuzz target on the files of a folder, once each, without libFuzzer: seeds FOLDER;
 * or on as many random inputs, always the same: seeds COUNT. */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool run_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return false;
    }
    /* As large as the input and no larger, so that a sanitizer sees who reads on. */
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    uint8_t *data = malloc((size_t)size);
    bool whole = fread(data, 1, (size_t)size, file) == (size_t)size;
    fclose(file);
    if (whole) {
        LLVMFuzzerTestOneInput(data, (size_t)size);
    }
    free(data);
    return whole;
}

static int run_random(unsigned long count) {
    uint64_t state = 88172645463325252u;
    for (unsigned long i = 1; i <= count; i++) {
        size_t size = 40 + i * 37 % 900;
        uint8_t *data = malloc(size);
        for (size_t at = 0; at < size; at++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            data[at] = (uint8_t)(state >> 32);
        }
        LLVMFuzzerTestOneInput(data, size);
        free(data);
        printf("ok %lu - random input of %zu bytes\n", i, size);
        fflush(stdout);
    }
    printf("1..%lu\n", count);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strtoul(argv[1], NULL, 10) > 0) {
        return run_random(strtoul(argv[1], NULL, 10));
    }
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    if (folder == NULL) {
        fputs("seeds FOLDER | COUNT\n", stderr);
        return 2;
    }
    int tests = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        bool ran = run_file(path);
        printf("%s %d - %s\n", ran ? "ok" : "not ok", ++tests, entry->d_name);
        fflush(stdout);
    }
    closedir(folder);
    printf("1..%d\n", tests);
    return 0;
}
