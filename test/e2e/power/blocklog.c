/* A disk that remembers the order in which it was written to: a FUSE directory with one file,
 * `disk`, for a loop device. What is written goes to an image and, with each flush, to a log, from
 * which recording.py makes what a power cut would have left.
 *
 *   power-blocklog IMAGE LOG POSITION DIRECTORY
 *
 * IMAGE: the disk's content, as large as the disk. LOG: appended to, records without a gap:
 *   magic u32 "HPBL", kind u32 (1 write, 2 flush), offset u64, bytes u64, then the bytes written.
 * POSITION: a file of 8 bytes, written through a mapping: how many records the log holds. It is
 * raised before the disk answers, so whoever learns of something that rests on a write and then
 * reads the position gets one behind that write. Numbers are in the machine's order. DIRECTORY:
 * where it is mounted; the program ends when it is unmounted.
 *
 * One thread: requests are logged in the order in which they are answered. A flush covers all that
 * is before it in the log; a write may be lost, or half of it, until a flush is behind it. */
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAGIC 0x4c425048U
#define DISK_INODE 2
#define DISK_NAME "disk"
#define WRITE_MAX (1U << 20)
#define FOREVER_S 86400.0

enum { KIND_WRITE = 1, KIND_FLUSH = 2 };

typedef struct {
    uint32_t magic;
    uint32_t kind;
    uint64_t offset;
    uint64_t bytes;
} Record;

_Static_assert(sizeof(Record) == 24, "recording.py reads it");

typedef struct {
    int image_fd;
    int log_fd;
    uint64_t size; /* of the image */
    _Atomic uint64_t *position;
    char buffer[WRITE_MAX]; /* of what is read */
} Disk;

static Disk disk;

_Noreturn static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* Appends a record; a log with a gap would prove nothing, so an error ends the program. */
static void log_append(uint32_t kind, uint64_t offset, const char *data, size_t bytes)
{
    Record record = {.magic = MAGIC, .kind = kind, .offset = offset, .bytes = bytes};
    char *copy = NULL;
    memcpy(&copy, &data, sizeof copy); /* an iovec has no const */
    struct iovec parts[2] = {{&record, sizeof record}, {copy, bytes}};
    if (writev(disk.log_fd, parts, 2) != (ssize_t)(sizeof record + bytes)) die("log");
    atomic_fetch_add(disk.position, 1);
}

static bool attributes(fuse_ino_t inode, struct stat *out)
{
    *out = (struct stat){.st_ino = inode, .st_nlink = 1};
    if (inode == FUSE_ROOT_ID) {
        out->st_mode = S_IFDIR | 0700;
        return true;
    }
    out->st_mode = S_IFREG | 0600;
    out->st_size = (off_t)disk.size;
    out->st_blksize = 4096;
    return inode == DISK_INODE;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry = {
        .ino = DISK_INODE, .attr_timeout = FOREVER_S, .entry_timeout = FOREVER_S};
    if (parent != FUSE_ROOT_ID || strcmp(name, DISK_NAME) != 0) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    attributes(DISK_INODE, &entry.attr);
    fuse_reply_entry(req, &entry);
}

static void op_getattr(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *info)
{
    struct stat found;
    (void)info;
    if (attributes(inode, &found))
        fuse_reply_attr(req, &found, FOREVER_S);
    else
        fuse_reply_err(req, ENOENT);
}

static void op_open(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *info)
{
    if (inode != DISK_INODE) {
        fuse_reply_err(req, EISDIR);
        return;
    }
    info->direct_io = 1; /* the kernel keeps nothing back between the loop device and us */
    fuse_reply_open(req, info);
}

static void op_read(fuse_req_t req, fuse_ino_t inode, size_t size, off_t offset,
                    struct fuse_file_info *info)
{
    (void)inode;
    (void)info;
    ssize_t got = pread(disk.image_fd, disk.buffer, size < WRITE_MAX ? size : WRITE_MAX, offset);
    if (got < 0)
        fuse_reply_err(req, errno);
    else
        fuse_reply_buf(req, disk.buffer, (size_t)got);
}

static void op_write(fuse_req_t req, fuse_ino_t inode, const char *data, size_t size, off_t offset,
                     struct fuse_file_info *info)
{
    (void)inode;
    (void)info;
    if ((uint64_t)offset > disk.size || size > disk.size - (uint64_t)offset) {
        fuse_reply_err(req, ENOSPC);
        return;
    }
    if (pwrite(disk.image_fd, data, size, offset) != (ssize_t)size) die("image");
    log_append(KIND_WRITE, (uint64_t)offset, data, size);
    fuse_reply_write(req, size);
}

static void op_fsync(fuse_req_t req, fuse_ino_t inode, int datasync, struct fuse_file_info *info)
{
    (void)inode;
    (void)datasync;
    (void)info;
    log_append(KIND_FLUSH, 0, NULL, 0);
    fuse_reply_err(req, 0);
}

static const struct fuse_lowlevel_ops ops = {
    .lookup = op_lookup,
    .getattr = op_getattr,
    .open = op_open,
    .read = op_read,
    .write = op_write,
    .fsync = op_fsync,
};

static void disk_open(const char *image, const char *log, const char *position)
{
    struct stat found;
    disk.image_fd = open(image, O_RDWR | O_CLOEXEC);
    if (disk.image_fd < 0 || fstat(disk.image_fd, &found) != 0) die(image);
    disk.size = (uint64_t)found.st_size;
    disk.log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (disk.log_fd < 0) die(log);
    int fd = open(position, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(uint64_t)) != 0) die(position);
    void *mapped = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) die(position);
    close(fd);
    disk.position = mapped;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: power-blocklog IMAGE LOG POSITION DIRECTORY\n");
        return 2;
    }
    disk_open(argv[1], argv[2], argv[3]);
    char *words[] = {argv[0], NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, words);
    struct fuse_session *session = fuse_session_new(&args, &ops, sizeof ops, NULL);
    if (session == NULL || fuse_set_signal_handlers(session) != 0) die("FUSE session");
    if (fuse_session_mount(session, argv[4]) != 0) die(argv[4]);
    int status = fuse_session_loop(session);
    fuse_session_unmount(session);
    fuse_session_destroy(session);
    return status < 0 ? 1 : 0;
}
