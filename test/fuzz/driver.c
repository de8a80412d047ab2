/* Replays inputs into a fuzz target without libFuzzer, so that every build runs the corpus as a
 * test. Arguments: files, or directories whose files are taken in the order of their names. A
 * target that finds something wrong aborts, as under libFuzzer; a missing argument is an error, and
 * so is an empty corpus, so that a lost one cannot pass. The empty input always runs first. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define INPUT_MAX ((size_t)16 << 20) /* bytes */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t inputs_run;

static void run_one(const uint8_t *data, size_t size)
{
    (void)LLVMFuzzerTestOneInput(data, size); /* libFuzzer gives its result no meaning either */
    inputs_run++;
}

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    int failed = 1;
    struct stat st;
    if (fstat(fileno(file), &st) != 0 || st.st_size < 0 || (size_t)st.st_size > INPUT_MAX) {
        fprintf(stderr, "%s: no readable size, or over %zu bytes\n", path, INPUT_MAX);
        goto out;
    }
    size_t size = (size_t)st.st_size;
    /* Exactly the input's size, so that ASan sees a read of one byte too many. */
    uint8_t *data = malloc(size > 0 ? size : 1);
    if (data != NULL && fread(data, 1, size, file) == size) {
        run_one(data, size);
        failed = 0;
    } else {
        fprintf(stderr, "%s: cannot be read\n", path);
    }
    free(data);
out:
    fclose(file);
    return failed;
}

static int replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        perror(path);
        return 1;
    }
    if (!S_ISDIR(st.st_mode)) return replay_file(path);

    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);
    if (count < 0) {
        perror(path);
        return 1;
    }
    int failed = 0;
    for (int i = 0; i < count; i++) {
        char file[4096];
        int len = snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
        if (len < 0 || (size_t)len >= sizeof file) {
            fprintf(stderr, "%s: a name is too long\n", path);
            failed = 1;
        } else if (names[i]->d_name[0] != '.') {
            failed |= replay_file(file);
        }
        free(names[i]);
    }
    free(names);
    return failed;
}

int main(int argc, char **argv)
{
    run_one((const uint8_t *)"", 0);
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= replay(argv[i]);
    printf("LAYER corpus required=%d executed=%zu failed=%d\n", argc, inputs_run, failed);
    return failed != 0 || inputs_run < (size_t)argc;
}
