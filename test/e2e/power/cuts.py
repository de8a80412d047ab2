#!/usr/bin/env python3
"""Power cuts at random writes of a logged disk.

    cuts.py [--binary build-test/holdfast] [--disk build-test/test/e2e/power/power-blocklog]
            [--cuts 100] [--minutes 6] [--seed N] [--file-system ext4|xfs] [--plant BUG]

A recording is a server under load on ext4 or xfs, on a disk that logs its writes and flushes
(blocklog.c), while it is killed, stopped and started again. Each request is noted with the place in
that log (history.py). Then many images are made of one recording: all that was written before a flush
and a random part of what was not, down to sectors (blocks.py). Each is mounted, a server must come up
on it, and hold what was acknowledged before that place, perhaps what was under way, and nothing else
(../kill/check.py), and take writes on conditions. Some images are cut again while the file system and
the server recover.

Prints a line for each recording and cut, then `LAYER power-cuts required= executed= failed=`.
"""
import os
import sys
import time

import campaign
import rig
from blocks import WAYS, BlockLog, Cuts
from history import History, RecordingDoor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'kill'))
from check import check  # noqa: E402
from load import Load, read_file, target_of  # noqa: E402
from oracle import Oracle, Wrong  # noqa: E402
from process import Died, Failed, Server  # noqa: E402

CONNECTIONS = 8
CUTS_EACH = 17             # of one recording
LIVES = 3                  # processes of the server in one recording
LOAD_WRITES = (80, 300)   # acknowledged in one load, least and most
SILENCE_S = (1.1, 1.3)     # the store cuts its log
SIZES = ('64KiB', '1MiB')  # of segments
BATCHES = (30, 150)        # until the server dies with a batch of its log written and not synced
RECOVERY_CUTS = 0.2        # of the cuts: while a server of the recording starts
CROWDED_CUTS = 0.4         # of the cuts: where several writes are not flushed
CROWD = 3                  # or more of them
TWICE = 0.2                # of the cuts: cut again in recovery


class Recorded(Server):
    """A server whose connections are noted in a History, if there is one."""
    history = None

    def door(self):
        if self.history is None:
            return super().door()
        return RecordingDoor(self.history, self.port, self.key())


class Recorder(campaign.Campaign):
    """Recordings, and cuts of them."""
    program = 'cuts.py'
    layer = 'power-cuts'
    server_class = Recorded

    def __init__(self, options, directory):
        super().__init__(options, directory)
        self.blocks = BlockLog(os.path.abspath(options.disk), directory)
        self.image = self.path('cut.img')
        self.recordings = 0
        self.windows = []    # of the log: from the start of a server until it was ready
        self.twice = 0

    def where(self):
        return f'recording {self.recordings}'

    def more(self):
        return f'{self.twice} cut twice'

    # -- the process --

    def start(self, fault=''):
        """Starts the server; does not wait. fault: a kill point, or ''."""
        faults = [fault] if fault else []
        if self.options.plant:
            faults.append(f'{self.options.plant}=plant')
        self.server.start(('--segment-size', self.rng.choice(SIZES)), ','.join(faults))

    # -- a recording --

    def load(self, oracle, end):
        """Loads the server, then end(); the Load."""
        load = Load(oracle, self.server, self.loads, self.options.seed)
        self.loads += 1
        load.start()
        writeback = rig.Writeback(self.server.data, self.rng)
        writeback.start()
        try:
            enough = self.rng.randrange(*LOAD_WRITES)
            limit = time.monotonic() + 60
            while load.acknowledged < enough and end != self.end_point:
                if load.failure is not None:
                    raise load.failure
                if load.ended() > 0 or time.monotonic() > limit:
                    raise Failed(f'{load.ended()} connections ended, {load.acknowledged} '
                                 f'acknowledged')
                time.sleep(0.002)
            end(load)
        except BaseException:
            self.server.kill()
            load.fail(Wrong('the recording has failed'))
            raise
        finally:
            writeback.stop()
        load.join(60.0)
        return load

    def end_over(self, load):
        """The server lives on."""
        load.over = True

    def end_kill(self, _):
        """kill -9."""
        self.kill()

    def end_point(self, load):
        """The server kills itself at a kill point; else kill -9."""
        while (self.server.running() and load.failure is None
               and load.acknowledged < 3 * LOAD_WRITES[1]):
            time.sleep(0.002)
        self.kill()

    def end_stop(self, load):
        """A clean stop."""
        load.clean = True
        self.server.terminate()
        if (status := self.server.reap()) != 0:
            raise Failed(f'SIGTERM: the server ended with {status}')

    def live(self, oracle, touched):
        """One process of the server, from its start to its end; the Files that were written to."""
        history = self.server.history
        history.life += 1
        begin = history.position()
        end = self.rng.choices((self.end_kill, self.end_point, self.end_stop), (4, 3, 3))[0]
        self.start(f'wal.batch=kill@{self.rng.randrange(*BATCHES)}'
                   if end == self.end_point else '')
        self.server.wait_ready()
        self.windows.append((begin, history.position()))
        if touched:
            check(oracle, self.server, touched, False)
        touched = set()
        if end != self.end_point and self.rng.random() < 0.6:
            touched |= self.load(oracle, self.end_over).touched
            time.sleep(self.rng.uniform(*SILENCE_S))
        touched |= self.load(oracle, end).touched
        self.server.check_log()
        return touched

    def record(self):
        """A recording on the next kind of file system: its History, its Cuts."""
        self.recordings += 1
        self.kind = self.kinds[self.recordings % len(self.kinds)]
        begin = time.monotonic()
        base = self.path('base.img')
        rig.make_image(base, self.kind)
        rig.copy(base, self.path('live.img'))
        self.blocks.start(self.path('live.img'), self.path('live.log'))
        self.mount.mount(self.blocks.disk, self.kind)
        self.windows = []
        history = History(self.blocks.position)
        self.server.history = history
        oracle = Oracle(CONNECTIONS)
        touched = set()
        for _ in range(LIVES):
            touched = self.live(oracle, touched)
        self.server.history = None
        history.position = None
        self.mount.umount()
        self.blocks.stop()
        cuts = Cuts(base, self.path('live.log'), rig.SECTOR_BYTES[self.kind])
        print(f'recording {self.recordings}, {self.kind}: {len(cuts.records)} writes and flushes, '
              f'{len(oracle.files)} files, {time.monotonic() - begin:.1f} s', flush=True)
        return history, cuts

    # -- cuts --

    def places(self, count, cuts):
        """Where to cut: rising."""
        places = []
        first = self.windows[0][1]  # before that nothing was acknowledged
        unflushed = cuts.unflushed()
        crowded = [at for at in range(first, len(unflushed)) if unflushed[at] >= CROWD]
        for _ in range(count):
            chance = self.rng.random()
            if chance < RECOVERY_CUTS:
                window = self.rng.choice(self.windows[1:])
                places.append(self.rng.randrange(window[0], window[1] + 1))
            elif chance < RECOVERY_CUTS + CROWDED_CUTS and crowded:
                places.append(self.rng.choice(crowded))
            else:
                places.append(self.rng.randrange(first, len(unflushed)))
        return sorted(places)

    def way(self):
        """What to keep of what was not flushed."""
        return self.rng.choices(list(WAYS), list(WAYS.values()))[0]

    def cut_again(self, image):
        """Lets a server recover on an image on a logged disk, or die trying, and cuts that; a word
        for the line."""
        base = self.path('again-base.img')
        rig.copy(image, base)
        self.blocks.start(image, self.path('again.log'))
        self.mount.mount(self.blocks.disk, self.kind)
        self.start()
        if self.rng.random() < 0.7:
            self.server.wait_ready()
        else:
            time.sleep(self.rng.random() * 0.1)
        self.kill()
        self.mount.umount()
        self.blocks.stop()
        cuts = Cuts(base, self.path('again.log'), rig.SECTOR_BYTES[self.kind])
        place = self.rng.randrange(len(cuts.records) + 1)
        way = self.way()
        late = cuts.make(place, way, self.rng, image)
        cuts.close()
        self.twice += 1
        return f', again at {place} of {len(cuts.records)}, {way} of {late}'

    def conditions(self, oracle):
        """The recovered store takes writes, with one winner on conditions."""
        door = self.server.door()
        there = [file for file in oracle.files.values() if file.value() is not None]
        key = f'after/{self.recordings}'
        steps = [('PUT', key, b'first', 201), ('PUT', key, b'second', 412),
                 ('DELETE', key, b'', 204), ('PUT', key, b'third', 201)]
        if there:
            steps.insert(0, ('PUT', self.rng.choice(there).key, b'none', 412))
        for method, name, body, status in steps:
            headers = (('If-None-Match', '*'),) if method == 'PUT' else ()
            reply = door.request(method, target_of(name), headers, body)
            if reply.status != status:
                raise Wrong(f'{method} {name} if it is absent: {reply}, not {status}')
        if read_file(door, key).size != len(b'third'):
            raise Wrong(f'{key} is not what was written last')
        door.close()

    def cut(self, history, cuts, place):
        """One cut: its image, a server on it, a look. Raises Wrong, Failed, Died."""
        begin = time.monotonic()
        image = self.image
        way = self.way()
        late = cuts.make(place, way, self.rng, image)
        again = self.cut_again(image) if self.rng.random() < TWICE else ''
        oracle = history.at(place, CONNECTIONS)
        unknown = sum(1 for file in oracle.files.values() if not file.known())
        what = f'{self.kind} at {place} of {len(cuts.records)}, {way} of {late} unflushed{again}'
        try:
            self.mount.mount(image, self.kind)
            self.start()
            replayed = self.server.wait_ready()['records']
            read, listed = check(oracle, self.server, (), True)
            self.conditions(oracle)
            self.kill()
            self.server.check_log()
            self.mount.umount()
        except (Wrong, Failed, Died) as error:
            raise Failed(f'{what}: {error}') from None
        self.executed[self.kind] += 1
        print(f'{sum(self.executed.values()):>5} {what}: {replayed} replayed; read {read}, '
              f'{unknown} uncertain, {listed} listed; {time.monotonic() - begin:.1f} s', flush=True)

    def run(self):
        """All recordings and cuts."""
        while (left := self.options.cuts - sum(self.executed.values())) > 0:
            if time.monotonic() > self.deadline:
                return
            history, cuts = self.record()
            for place in self.places(min(left, CUTS_EACH), cuts):
                self.cut(history, cuts, place)
            cuts.close()

    def end(self):
        super().end()
        self.blocks.drop()


def start():
    """Runs the rig if this machine can; the exit status."""
    parser = campaign.arguments('Power cuts at random writes; see the head of this file.')
    parser.add_argument('--disk', default='build-test/test/e2e/power/power-blocklog')
    return campaign.start(Recorder, parser.parse_args())


if __name__ == '__main__':
    sys.exit(start())
