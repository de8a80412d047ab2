"""What both rigs stand on: file systems on loop devices, in namespaces of the rig's own.

Mounts and processes of a rig are in namespaces that end with it, loop devices detach themselves with
their last mount, and what it writes is on a tmpfs of its own. So nothing stays behind, whatever ends
a rig: SIGKILL too.
"""
import ctypes
import fcntl
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

CLONE_NEWNS, CLONE_NEWPID = 0x20000, 0x20000000
MS_NODEV, MS_REC, MS_PRIVATE = 4, 0x4000, 0x40000
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
SHUTDOWN = 0x8004587D  # _IOR('X', 125, u32): of ext4 and of xfs
SHUTDOWN_NO_FLUSH = 2  # nothing more goes to the device, not even the journal
SPACE = '10g'          # most that a rig may write, on its tmpfs
WRITE_BACK = 2         # SYNC_FILE_RANGE_WRITE
WRITE_BACK_S = 0.01    # from one file to the next, on average
COMMAND_S = 60         # a mkfs, mount or umount takes no longer
SIZE_BYTES = 512 << 20  # of a disk; sparse

# Name → how it is made. What mkfs would put off, or tell the device to forget, is done at once.
FILE_SYSTEMS = {
    'ext4': ('mkfs.ext4', '-q', '-F', '-E', 'nodiscard,lazy_itable_init=0,lazy_journal_init=0'),
    'xfs': ('mkfs.xfs', '-q', '-f', '-K', '-s', 'size=4096'),
}
# What of a write is whole after a cut. xfs keeps what it finds of a metadata block whose first
# sector says that it is new enough, so it is given sectors as large as its blocks.
SECTOR_BYTES = {'ext4': 512, 'xfs': 4096}
NEEDED = ('/dev/loop-control', '/dev/fuse')

libc = ctypes.CDLL(None, use_errno=True)


class Trouble(Exception):
    """The rig itself can't do its work; says nothing about the server."""


def call(name, *arguments):
    """A function of libc that returns -1 and errno. Raises Trouble."""
    if getattr(libc, name)(*arguments) != 0:
        raise Trouble(f'{name}: {os.strerror(ctypes.get_errno())}')


def missing():
    """Why this machine can't run a rig, or ''."""
    if os.geteuid() != 0:
        return 'this needs root: it makes loop devices, mounts file systems and cuts their power'
    for path in NEEDED:
        if not os.path.exists(path):
            return f'this needs {path}: loop devices and FUSE'
    for command in [row[0] for row in FILE_SYSTEMS.values()] + ['mount', 'umount']:
        if shutil.which(command) is None:
            return f'this needs the command {command}: ./dev deps installs it'
    return ''


def contained(main):
    """Runs main(directory) in a child with namespaces and a tmpfs of its own; its exit status. A
    signal that ends this process ends the child first."""
    directory = tempfile.mkdtemp(prefix='holdfast-power-')
    try:
        call('unshare', CLONE_NEWPID)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                call('prctl', PR_SET_PDEATHSIG, signal.SIGKILL)
                signal.signal(signal.SIGTERM, stopped)
                call('unshare', CLONE_NEWNS)
                call('mount', None, b'/', None, MS_REC | MS_PRIVATE, None)
                # /proc of these processes: sanitizers look there for their own threads
                call('mount', b'proc', b'/proc', b'proc', 0, None)
                call('mount', b'tmpfs', directory.encode(), b'tmpfs', MS_NODEV,
                     f'size={SPACE},mode=700'.encode())
                status = main(directory)
            except (Trouble, SystemExit) as error:
                print(f'{os.path.basename(sys.argv[0])}: {error}', flush=True)
            finally:
                sys.stdout.flush()
                os._exit(status)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os.kill(child, signal.SIGTERM))
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)
    finally:
        os.rmdir(directory)


def stopped(number, _):
    """Ends the rig as an exception does, so that it cleans up."""
    raise SystemExit(f'stopped by signal {number}')


def keep(path, why):
    """Copies a file of the tmpfs to where it outlives the rig, in a directory for `why`; the
    directory."""
    kept = os.path.join('/var/tmp', f'holdfast-power-{why}')
    os.makedirs(kept, exist_ok=True)
    copy(path, os.path.join(kept, os.path.basename(path)))
    return kept


def run(*command):
    """Runs a command. Raises Trouble with what it said."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=COMMAND_S, check=False)
    except subprocess.TimeoutExpired:
        raise Trouble(f'{" ".join(command)}: not done after {COMMAND_S} s') from None
    if done.returncode != 0:
        raise Trouble(f'{" ".join(command)}: {done.stdout.decode(errors="replace").strip()}')


def copy(source, target):
    """Copies a file, holes as holes."""
    run('cp', '--sparse=always', source, target)


def make_image(path, kind):
    """A new image that holds an empty file system."""
    if os.path.exists(path):
        os.unlink(path)
    with open(path, 'wb') as file:
        file.truncate(SIZE_BYTES)
    run(*FILE_SYSTEMS[kind], path)


class Writeback(threading.Thread):
    """Starts the writing of what is dirty, file by file at random, as a kernel short of memory does:
    what nobody synced reaches the disk, perhaps before what is older. Until stop()."""

    def __init__(self, data, rng):
        super().__init__(daemon=True, name='writeback')
        self.data = data
        self.rng = random.Random(rng.random())
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(self.rng.expovariate(1 / WRITE_BACK_S)):
            try:
                folder = os.path.join(self.data, self.rng.choice(('', 'packs', 'staging')))
                descriptor = os.open(os.path.join(folder, self.rng.choice(os.listdir(folder))),
                                     os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            except (OSError, IndexError):
                continue  # renamed meanwhile, or nothing there yet
            libc.sync_file_range(descriptor, ctypes.c_int64(0), ctypes.c_int64(0), WRITE_BACK)
            os.close(descriptor)

    def stop(self):
        """Ends it: it holds no file any more."""
        self.over.set()
        self.join()


class Mount:
    """A file system that is mounted, or was."""

    def __init__(self, directory):
        os.makedirs(directory, exist_ok=True)
        self.directory = directory
        self.mounted = False
        self.frozen = False

    def mount(self, image, kind):
        """Mounts an image, which replays its journal. Raises Trouble."""
        assert not self.mounted
        run('mount', '-t', kind, '-o', 'loop', image, self.directory)
        self.mounted = True

    def shutdown(self):
        """The power cut: from now on nothing of this file system reaches its device."""
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, struct.pack('I', SHUTDOWN_NO_FLUSH))
        finally:
            os.close(descriptor)

    def freeze(self):
        """Nothing that writes to it goes on, until thaw()."""
        run('fsfreeze', '-f', self.directory)
        self.frozen = True

    def thaw(self):
        """It goes on, if it was frozen."""
        if self.frozen:
            run('fsfreeze', '-u', self.directory)
        self.frozen = False

    def umount(self):
        """Unmounts; the loop device goes too. Raises Trouble if it stays in use."""
        if not self.mounted:
            return
        end = time.monotonic() + COMMAND_S
        while libc.umount2(self.directory.encode(), 0) != 0:
            if time.monotonic() > end:
                raise Trouble(f'umount: {os.strerror(ctypes.get_errno())}')
            time.sleep(0.005)
        self.mounted = False

    def drop(self):
        """Thaws and unmounts at the end of a rig, whatever still uses it."""
        self.thaw()
        if self.mounted:
            libc.umount2(self.directory.encode(), MNT_DETACH)
        self.mounted = False
