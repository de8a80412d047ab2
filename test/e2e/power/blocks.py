"""A disk whose writes and flushes are logged (blocklog.c), and what a cut of power leaves of it."""
import mmap
import os
import struct
import subprocess
import time

import rig

RECORD = struct.Struct('=IIQQ')
MAGIC = 0x4C425048
WRITE, FLUSH = 1, 2
START_S = 60  # the FUSE file is there by then, or never

# What a cut keeps of the writes that no flush is behind, and how often it is that. half: each write or
# not; torn: each write, not, or some of its sectors; first: those before a random one; none; all.
WAYS = {'half': 6, 'torn': 8, 'first': 2, 'none': 2, 'all': 2}


class BlockLog:
    """The process that is a disk: `disk` in a directory, its content in an image, its log beside."""

    def __init__(self, program, directory):
        self.program = program
        self.directory = os.path.join(directory, 'blocks')
        self.disk = os.path.join(self.directory, 'disk')
        self.position_path = os.path.join(directory, 'position')
        self.log = os.path.join(directory, 'blocks.log')
        self.process = None
        self.shared = None

    def start(self, image, log):
        """Makes a disk of an image; what is written goes to log, a new file."""
        assert self.process is None
        os.makedirs(self.directory, exist_ok=True)
        for path in (log, self.position_path):
            if os.path.exists(path):
                os.unlink(path)
        self.process = subprocess.Popen(
            [self.program, image, log, self.position_path, self.directory],
            stdin=subprocess.DEVNULL)
        end = time.monotonic() + START_S
        while not os.path.exists(self.disk):
            if self.process.poll() is not None or time.monotonic() > end:
                raise rig.Trouble(f'{self.program} does not mount {self.directory}')
            time.sleep(0.002)
        with open(self.position_path, 'rb') as file:
            self.shared = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)

    def position(self):
        """How many records the log holds now."""
        return struct.unpack('=Q', self.shared)[0]

    def stop(self):
        """Ends the disk, which must not be mounted any more."""
        if self.process is None:
            return
        if self.process.poll() is None:
            rig.run('umount', self.directory)
        if self.process.wait(rig.COMMAND_S) != 0:
            raise rig.Trouble('the log of the disk has a gap')
        self.process = None

    def drop(self):
        """Ends the disk whatever it does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.process = None
        rig.libc.umount2(self.directory.encode(), rig.MNT_DETACH)


class Cuts:
    """Images of a disk, from what it held at first and its log. base is the file that the images grow
    in: it becomes what had been flushed before the last cut, so cuts come in rising order. sector:
    bytes that are written all or not at all."""

    def __init__(self, base, log, sector):
        self.base = base
        self.sector = sector
        self.done = 0   # records that are in base
        with open(log, 'rb') as file:
            self.data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self.records = []  # (kind, offset on the disk, bytes, place in data)
        at = 0
        while at < len(self.data):
            magic, kind, offset, size = RECORD.unpack_from(self.data, at)
            if magic != MAGIC:
                raise rig.Trouble(f'{log}: no record at {at}')
            at += RECORD.size
            self.records.append((kind, offset, size, at))
            at += size

    def close(self):
        """Lets go of the log."""
        self.data.close()

    def unflushed(self):
        """For each cut, how many writes no flush is behind."""
        counts = [0]
        for kind, *_ in self.records:
            counts.append(counts[-1] + 1 if kind == WRITE else 0)
        return counts

    def write(self, file, record, ranges=None):
        """Does a write again, or some ranges (first byte, byte behind) of it."""
        _, offset, size, at = record
        for first, behind in ranges or ((0, size),):
            os.pwrite(file, self.data[at + first:at + behind], offset + first)

    def make(self, cut, way, rng, path):
        """The image, at path, that a cut behind the first `cut` records leaves, and how many writes
        were not flushed: all before the last flush, and of these what `way` says."""
        flushed = max((i + 1 for i in range(self.done, cut) if self.records[i][0] == FLUSH),
                      default=self.done)
        file = os.open(self.base, os.O_WRONLY)
        for record in self.records[self.done:flushed]:
            if record[0] == WRITE:
                self.write(file, record)
        os.close(file)
        self.done = flushed
        rig.copy(self.base, path)
        late = [r for r in self.records[flushed:cut] if r[0] == WRITE]
        file = os.open(path, os.O_WRONLY)
        for record, ranges in kept(late, way, self.sector, rng):
            self.write(file, record, ranges)
        os.close(file)
        return len(late)


def kept(writes, way, sector, rng):
    """Which of the writes reach the disk: (record, ranges), ranges None for all of it."""
    if way == 'first':
        writes = writes[:rng.randrange(len(writes) + 1)]
    for record in writes:
        chance = rng.random()
        if way in ('all', 'first') or (way == 'half' and chance < 0.5):
            yield record, None
        elif way == 'torn' and chance < 0.66:
            # The superblock of ext4 is two sectors, and nothing protects it from being torn.
            whole = chance < 0.2 or record[1] < 4096
            yield record, None if whole else torn(record[2], sector, rng)


def torn(size, sector, rng):
    """A random half of the sectors of a write: ranges."""
    bits = rng.getrandbits(size // sector + 1)
    return [(at, min(at + sector, size)) for number, at in enumerate(range(0, size, sector))
            if bits >> number & 1]
