/* Which images a crash can leave: for each small story, exactly these. An image is written as its
 * files in order, each with a letter per sector ('.' zeros, cut short if the last one is part) and
 * directories with '/'. */
#include "disk/sim_priv.h"
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define S SIM_SECTOR
#define IMAGES_MAX 256

/* The file at path, open to write; closed by close_all(). */
static File *files[8];
static size_t file_count;

static File *open_file(Disk *disk, const char *path)
{
    assert_in_range(file_count, 0, ARRAY_LEN(files) - 1);
    assert_ok(disk_open(disk, path, DISK_OPEN_ENSURE, &files[file_count], NULL), NULL);
    return files[file_count++];
}

static void close_all(void)
{
    while (file_count > 0)
        disk_close(files[--file_count]);
}

/* Writes a sector of letter c for each letter of text at sector at. */
static void put(File *file, uint64_t at, const char *text)
{
    for (; *text != '\0'; text++, at++) {
        char data[S];
        memset(data, *text, sizeof data);
        assert_ok(disk_write(file, at * S, data, sizeof data, NULL), NULL);
    }
}

/* A file with its name, durable. */
static File *durable(Disk *disk, const char *path, const char *text)
{
    File *file = open_file(disk, path);

    put(file, 0, text);
    assert_ok(disk_sync(file, NULL), NULL);
    assert_ok(disk_sync_dir(disk, "", NULL), NULL);
    return file;
}

static void story_write_over(Disk *disk)
{
    put(durable(disk, "f", "abc"), 0, "xbz"); /* the middle one as it was */
}

static void story_append(Disk *disk)
{
    put(durable(disk, "f", "a"), 1, "bc");
}

static void story_zeros_behind(Disk *disk)
{
    static const char zeros[2 * S];
    assert_ok(disk_write(durable(disk, "f", "a"), S, zeros, sizeof zeros, NULL), NULL);
}

static void story_grow(Disk *disk)
{
    assert_ok(disk_truncate(durable(disk, "f", "a"), 3 * (uint64_t)S, NULL), NULL);
}

static void story_part_of_a_sector(Disk *disk)
{
    assert_ok(disk_write(durable(disk, "f", "a"), S, "bb", 2, NULL), NULL);
}

static void story_synced(Disk *disk)
{
    File *file = durable(disk, "f", "a");
    put(file, 1, "b");
    assert_ok(disk_sync(file, NULL), NULL);
}

static void story_shrink(Disk *disk)
{
    assert_ok(disk_truncate(durable(disk, "f", "abc"), S, NULL), NULL);
}

static void story_shrink_and_grow(Disk *disk)
{
    File *file = durable(disk, "f", "ab");
    assert_ok(disk_truncate(file, 0, NULL), NULL);
    assert_ok(disk_truncate(file, 2 * S, NULL), NULL);
    put(file, 0, "x");
}

static void story_create(Disk *disk)
{
    put(open_file(disk, "f"), 0, "a");
}

static void story_create_synced_file(Disk *disk)
{
    File *file = open_file(disk, "f");
    put(file, 0, "a");
    assert_ok(disk_sync(file, NULL), NULL);
}

static void story_create_synced_dir(Disk *disk)
{
    put(open_file(disk, "f"), 0, "a");
    assert_ok(disk_sync_dir(disk, "", NULL), NULL);
}

static void story_unlink(Disk *disk)
{
    durable(disk, "f", "a");
    assert_ok(disk_unlink(disk, "f", NULL), NULL);
}

static void story_unlinked_file_has_no_units(Disk *disk)
{
    File *file = durable(disk, "f", "a");
    assert_ok(disk_unlink(disk, "f", NULL), NULL);
    assert_ok(disk_sync_dir(disk, "", NULL), NULL);
    put(file, 0, "xyz");
}

static void story_replace(Disk *disk)
{
    durable(disk, "f", "a");
    durable(disk, "t", "b");
    assert_ok(disk_rename(disk, "t", "f", NULL), NULL);
}

static void story_rename_unsynced(Disk *disk)
{
    durable(disk, "f", "a");
    put(open_file(disk, "t"), 0, "b");
    assert_ok(disk_rename(disk, "t", "f", NULL), NULL);
}

/* Never at two names at once, whichever of the two renames is lost. */
static void story_rename_twice(Disk *disk)
{
    durable(disk, "f", "a");
    assert_ok(disk_rename(disk, "f", "g", NULL), NULL);
    assert_ok(disk_rename(disk, "g", "h", NULL), NULL);
}

static void story_rename_to_dir(Disk *disk, const char *synced)
{
    durable(disk, "f", "a");
    assert_ok(disk_mkdir_durable(disk, "d", NULL), NULL);
    assert_ok(disk_rename(disk, "f", "d/f", NULL), NULL);
    if (synced != NULL) assert_ok(disk_sync_dir(disk, synced, NULL), NULL);
}

static void story_rename_one_dir_synced(Disk *disk)
{
    story_rename_to_dir(disk, "d");
}

static void story_rename_other_dir_synced(Disk *disk)
{
    story_rename_to_dir(disk, "");
}

static void story_rename_both_synced(Disk *disk)
{
    story_rename_to_dir(disk, "");
    assert_ok(disk_sync_dir(disk, "d", NULL), NULL);
}

/* The sync of d commits the unlink of d/f, and with it the rename that it undid. */
static void story_commit_takes_earlier(Disk *disk)
{
    story_rename_to_dir(disk, NULL);
    assert_ok(disk_unlink(disk, "d/f", NULL), NULL);
    assert_ok(disk_sync_dir(disk, "d", NULL), NULL);
}

static void story_mkdir(Disk *disk)
{
    File *file = NULL;
    assert_ok(disk_mkdir(disk, "d", NULL), NULL);
    file = open_file(disk, "d/f");
    put(file, 0, "a");
    assert_ok(disk_sync(file, NULL), NULL);
    assert_ok(disk_sync_dir(disk, "d", NULL), NULL);
}

static void story_unlink_and_create(Disk *disk)
{
    File *file = NULL;
    durable(disk, "f", "a");
    assert_ok(disk_unlink(disk, "f", NULL), NULL);
    file = open_file(disk, "f");
    put(file, 0, "b");
    assert_ok(disk_sync(file, NULL), NULL);
}

static const struct {
    const char *name;
    void (*tell)(Disk *disk);
    size_t pending;
    const char *images; /* sorted */
} stories[] = {
    {"write over", story_write_over, 2, "f=abc|f=abz|f=xbc|f=xbz"},
    {"append", story_append, 3, "f=a|f=a..|f=a.c|f=ab|f=ab.|f=abc"},
    {"zeros behind", story_zeros_behind, 3, "f=a|f=a.|f=a.."},
    {"grow", story_grow, 1, "f=a|f=a.."},
    {"part of a sector", story_part_of_a_sector, 2, "f=a|f=a(2).|f=a(2)b"},
    {"synced", story_synced, 0, "f=ab"},
    {"shrink", story_shrink, 1, "f=a|f=abc"},
    {"shrink and grow", story_shrink_and_grow, 3, "f=..|f=a.|f=ab|f=x.|f=xb"},
    {"create", story_create, 3, "|f=|f=.|f=a"},
    {"create, synced file", story_create_synced_file, 1, "|f=a"},
    {"create, synced directory", story_create_synced_dir, 2, "f=|f=.|f=a"},
    {"unlink", story_unlink, 1, "|f=a"},
    {"unlinked", story_unlinked_file_has_no_units, 0, ""},
    {"replace", story_replace, 1, "f=a t=b|f=b"},
    {"rename unsynced", story_rename_unsynced, 4, "f=|f=.|f=a|f=a t=|f=a t=.|f=a t=b|f=b"},
    {"rename twice", story_rename_twice, 2, "f=a|g=a|h=a"},
    {"rename, one directory synced", story_rename_one_dir_synced, 1, "d/ d/f=a|d/ f=a"},
    {"rename, other directory synced", story_rename_other_dir_synced, 1, "d/ d/f=a|d/ f=a"},
    {"rename, both synced", story_rename_both_synced, 0, "d/ d/f=a"},
    {"commit takes earlier", story_commit_takes_earlier, 0, "d/"},
    {"mkdir", story_mkdir, 1, "|d/ d/f=a"},
    {"unlink and create", story_unlink_and_create, 2, "|f=a|f=b"},
};

static void describe(const SimInode *dir, const char *path, Buf *out)
{
    for (size_t i = 0; i < dir->dir_durable->count; i++) {
        const SimEntry *entry = &dir->dir_durable->entries[i];
        const SimInode *inode = entry->inode;
        char below[64];
        const char *space = out->len == 0 ? "" : " ";
        (void)snprintf(below, sizeof below, "%s%s", path, entry->name); /* short names: fits */
        if (inode->is_dir) {
            assert_ok(buf_printf(out, NULL, "%s%s/", space, below), NULL);
            (void)snprintf(below, sizeof below, "%s%s/", path, entry->name); /* fits */
            describe(inode, below, out);
            continue;
        }
        assert_ok(buf_printf(out, NULL, "%s%s=", space, below), NULL);
        for (uint64_t at = 0; at < inode->durable->size; at += S) {
            const char *bytes = (const char *)sim_content_sector(inode->durable, at / S);
            uint64_t left = inode->durable->size - at;
            if (left < S) assert_ok(buf_printf(out, NULL, "(%d)", (int)left), NULL);
            assert_ok(buf_printf(out, NULL, "%c", bytes[0] == '\0' ? '.' : bytes[0]), NULL);
        }
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All images of disk, sorted, each once, joined by '|'. Checks that equal fingerprints and equal
 * descriptions are the same thing. */
static void all_images(const Disk *disk, Buf *out)
{
    char *texts[IMAGES_MAX];
    uint64_t prints[IMAGES_MAX];
    size_t units = disk_sim_pending(disk);
    size_t count = (size_t)1 << units;

    assert_in_range(count, 1, IMAGES_MAX);
    for (uint64_t keep = 0; keep < count; keep++) {
        Disk *image = NULL;
        AUTO_BUF(text, 4096);
        assert_ok(disk_sim_crash_image(disk, &keep, 1, &image, NULL), NULL);
        assert_int_equal(disk_sim_pending(image), 0);
        describe(sim_of(image)->root, "", &text);
        assert_ok(buf_printf(&text, NULL, "%s", ""), NULL);
        texts[keep] = mem_dup_cstr(text.len == 0 ? "" : (char *)text.data);
        prints[keep] = disk_sim_fingerprint(image);
        for (uint64_t i = 0; i < keep; i++) {
            assert_int_equal(prints[i] == prints[keep], strcmp(texts[i], texts[keep]) == 0);
        }
        disk_free(image);
    }
    qsort(texts, count, sizeof texts[0], by_text);
    for (size_t i = 0; i < count; i++) {
        bool again = i > 0 && strcmp(texts[i], texts[i - 1]) == 0;
        if (!again) assert_ok(buf_printf(out, NULL, "%s%s", i == 0 ? "" : "|", texts[i]), NULL);
    }
    for (size_t i = 0; i < count; i++)
        mem_free(texts[i]);
}

static void test_stories(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(stories); i++) {
        AUTO(Disk, disk_free) disk = NULL;
        AUTO_BUF(images, 65536);
        assert_ok(disk_sim_new(1, &disk, NULL), NULL);
        stories[i].tell(disk);
        size_t pending = disk_sim_pending(disk);
        all_images(disk, &images);
        close_all();
        if (pending != stories[i].pending ||
            !str_eq(buf_str(&images), str_from_cstr(stories[i].images))) {
            fail_msg("%s: %zu pending: %.*s", stories[i].name, pending, (int)images.len,
                     (const char *)images.data);
        }
    }
}

/* disk_sim_crash() gives one of those images, by chance different ones, and the disk goes on. */
static void test_crash_is_one_of_them(void **state)
{
    bool seen[4] = {false, false, false, false};
    static const char *const images[] = {"f=abc", "f=abz", "f=xbc", "f=xbz"};

    UNUSED(state);
    for (uint64_t seed = 0; seed < 50; seed++) {
        AUTO(Disk, disk_free) disk = NULL;
        AUTO_BUF(text, 4096);
        bool known = false;
        assert_ok(disk_sim_new(seed, &disk, NULL), NULL);
        story_write_over(disk);
        disk_sim_crash(disk);
        assert_int_equal(disk_sim_pending(disk), 0);
        describe(sim_of(disk)->root, "", &text);
        for (size_t i = 0; i < ARRAY_LEN(images); i++) {
            if (!str_eq(buf_str(&text), str_from_cstr(images[i]))) continue;
            known = true;
            seen[i] = true;
        }
        assert_true(known);
        assert_code(disk_write(files[0], 0, "x", 1, NULL), ERR_IO, NULL);
        close_all();
        story_append(disk);
        close_all();
    }
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        assert_true(seen[i]);
}

/* Neither the disk nor its image sees what is then written to the other. */
static void test_images_are_apart(void **state)
{
    AUTO(Disk, disk_free) disk = NULL;
    AUTO(Disk, disk_free) image = NULL;
    uint64_t keep = 3;

    UNUSED(state);
    assert_ok(disk_sim_new(1, &disk, NULL), NULL);
    story_write_over(disk);
    assert_ok(disk_sim_crash_image(disk, &keep, 1, &image, NULL), NULL);
    uint64_t before = disk_sim_fingerprint(image);
    put(files[0], 0, "qqq");
    assert_ok(disk_sync(files[0], NULL), NULL);
    assert_true(disk_sim_fingerprint(image) == before);
    uint64_t own = disk_sim_fingerprint(disk);
    durable(image, "f", "w");
    assert_ok(disk_unlink(image, "f", NULL), NULL);
    assert_ok(disk_sync_dir(image, "", NULL), NULL);
    assert_true(disk_sim_fingerprint(image) != before);
    assert_true(disk_sim_fingerprint(disk) == own);
    close_all();
}

static void test_dump(void **state)
{
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(Disk, disk_free) disk = NULL;
    AUTO(char, mem_free) durable_f = tmp_path(dir, "durable/d/f");
    AUTO(char, mem_free) cached_f = tmp_path(dir, "cached/d/f");
    struct stat st;
    Err err;

    UNUSED(state);
    assert_ok(disk_sim_new(1, &disk, NULL), NULL);
    assert_ok(disk_mkdir_durable(disk, "d", NULL), NULL);
    put(durable(disk, "d/f", "a"), 1, "b");
    assert_ok(disk_sync_dir(disk, "d", NULL), NULL);
    assert_ok(disk_sim_dump(disk, dir, &err), &err);
    close_all();
    assert_int_equal(stat(durable_f, &st), 0);
    assert_int_equal(st.st_size, S);
    assert_int_equal(stat(cached_f, &st), 0);
    assert_int_equal(st.st_size, 2 * S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories),
        cmocka_unit_test(test_crash_is_one_of_them),
        cmocka_unit_test(test_images_are_apart),
        cmocka_unit_test(test_dump),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
