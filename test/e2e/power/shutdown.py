#!/usr/bin/env python3
"""Power cuts by shutting a file system down under a loaded server.

    shutdown.py [--binary build-test/holdfast] [--cuts 100] [--minutes 6] [--seed N]
                [--file-system ext4|xfs] [--plant BUG]

The server works on ext4 or xfs on a loop device. At a random moment under load the file system is
shut down without a flush (rig.py): what the page cache held and the journal had not written is lost.
The server is killed, the file system is unmounted and mounted again, which replays its journal, and
the server must come up with everything that it had acknowledged, nothing deleted among it, by
../kill/check.py. Some cuts come during a clean stop; some just after a kill -9 and a restart whose
answers settled what had been unknown; some after a silence in which the log was cut; some are
followed by more, while it recovers. Then the load goes on from there; a fresh file system comes
after some cuts.

After the cut the server may refuse, and may not lie, nor end by itself. A cut counts if at least 100
writes were acknowledged since the last and requests or a stop were under way. Prints a line for each,
then `LAYER power-shutdown required= executed= failed=`.
"""
import os
import signal
import sys
import time

import campaign
import rig

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'kill'))
from check import check  # noqa: E402
from load import Load  # noqa: E402
from oracle import Oracle, Wrong  # noqa: E402
from process import Failed  # noqa: E402

CONNECTIONS = 8
ACKNOWLEDGED_MIN = 100  # writes before a cut that counts
FRESH_EVERY = 12        # cuts on one file system; after the last everything is looked at
SIZES = ('64KiB', '1MiB')  # of segments
# How a round goes, and how often; the load before the cut in acknowledged writes, least and most.
KINDS = {'load': (10, 100, 300), 'long': (3, 600, 1200), 'silent': (3, 100, 200),
         'settled': (3, 100, 300), 'stop': (3, 100, 300)}
SILENCE_S = (0.9, 1.3)  # about when the store cuts its log, least and most
KILL_S = 0.03           # the server lives on without a disk for at most so long


class Cutter(campaign.Campaign):
    """Rounds of load and a cut."""
    program = 'shutdown.py'
    layer = 'power-shutdown'

    def __init__(self, options, directory):
        super().__init__(options, directory)
        self.image = self.path('disk.img')
        self.oracle = None
        self.on_this = 0        # cuts of this file system
        self.recovery_cuts = 0

    def where(self):
        return f'load {self.loads}, {self.kind}'

    def more(self):
        return f'{self.recovery_cuts} more in recovery'

    # -- disk and process --

    def fresh(self):
        """An empty file system of the other kind, and a store that holds nothing."""
        self.mount.umount()
        self.kind = self.kinds[(self.kinds.index(self.kind) + 1) % len(self.kinds)] \
            if self.kind else self.kinds[0]
        rig.make_image(self.image, self.kind)
        self.mount.mount(self.image, self.kind)
        self.oracle = Oracle(CONNECTIONS)
        self.on_this = 0

    def start(self, size):
        """Starts the server; does not wait."""
        plant = self.options.plant
        self.server.start(('--segment-size', size), f'{plant}=plant' if plant else '')

    def start_ready(self, size):
        """Starts the server and waits; how many records it replayed."""
        self.start(size)
        return self.server.wait_ready()['records']

    def cut(self):
        """Takes the disk away, kills the server soon after, mounts what is left."""
        self.mount.shutdown()
        if self.rng.random() < 0.5:
            time.sleep(self.rng.random() * KILL_S)
        status = self.server.kill()
        if status != -signal.SIGKILL:
            raise Failed(f'without its disk the server ended with {status}')
        self.server.check_log(errors=True)
        self.mount.umount()
        self.mount.mount(self.image, self.kind)

    def cut_in_recovery(self):
        """Cuts the power while it recovers from the last cut, once or several times."""
        times = self.rng.randrange(1, 4)
        for _ in range(times):
            self.start(self.rng.choice(SIZES))
            time.sleep(self.rng.random() * 0.15)
            self.mount.shutdown()
            self.server.kill()  # it may end by itself: it has not started
            self.server.check_log(errors=True)
            self.mount.umount()
            self.mount.mount(self.image, self.kind)
        self.recovery_cuts += times

    # -- one round --

    def wait(self, load, done):
        """Waits until done(), while the server runs and serves all connections."""
        end = time.monotonic() + 180
        while not done():
            if load.failure is not None:
                raise load.failure
            if load.ended() > 0 or time.monotonic() > end:
                raise Failed(f'{load.ended()} connections ended, {load.acknowledged} acknowledged; '
                             f'the server {"runs" if self.server.running() else "has ended"}')
            time.sleep(0.002)

    def load(self, kind, end):
        """Loads the server until a random moment, then end(load). The Load."""
        load = Load(self.oracle, self.server, self.loads, self.options.seed)
        self.loads += 1
        load.start()
        writeback = rig.Writeback(self.server.data, self.rng)
        writeback.start()
        try:
            enough = self.rng.randrange(*KINDS[kind][1:])
            self.wait(load, lambda: load.acknowledged >= enough)
            time.sleep(self.rng.random() * 0.05)
            self.server.check_log()
            writeback.over.set()
            end(load)
        except BaseException:
            self.server.kill()
            load.fail(Wrong('the round has failed'))
            raise
        finally:
            writeback.stop()
        load.join(60.0)
        return load

    def end_over(self, load):
        """No end of the server: only of the load."""
        load.over = True

    def end_cut(self, load):
        """A cut under load."""
        load.gone = True
        self.cut()

    def end_stop(self, load):
        """A cut in a clean stop."""
        load.gone = True  # and not clean: what gets no answer may have been done
        self.server.terminate()
        time.sleep(self.rng.random() * 0.1)
        self.mount.shutdown()
        status = self.server.kill()
        if status not in (0, 5, -signal.SIGKILL):  # the stop was quicker, or said that it failed
            raise Failed(f'a stop without a disk ended with {status}')
        self.server.check_log(errors=True)
        self.mount.umount()
        self.mount.mount(self.image, self.kind)

    def end_kill(self, _):
        """kill -9, whose page cache stays."""
        self.kill()

    def round(self):
        """Load, cut, start, look. Raises Wrong, Failed, Died."""
        if self.oracle is None or self.on_this >= FRESH_EVERY:
            self.fresh()
        kind = self.rng.choices(list(KINDS), [row[0] for row in KINDS.values()])[0]
        size = self.rng.choice(SIZES)
        begin = time.monotonic()
        touched = set()
        self.start_ready(size)
        if kind == 'settled':
            load = self.load(kind, self.end_kill)
            self.start_ready(size)
            check(self.oracle, self.server, load.touched, False)
            self.cut()
        elif kind == 'silent':
            touched = self.load(kind, self.end_over).touched
            time.sleep(self.rng.uniform(*SILENCE_S))
            load = self.load(kind, self.end_cut)
        else:
            load = self.load(kind, self.end_stop if kind == 'stop' else self.end_cut)
        again = 0
        if self.rng.random() < 0.2:
            again = self.recovery_cuts
            self.cut_in_recovery()
            again = self.recovery_cuts - again
        replayed = self.start_ready(self.rng.choice(SIZES))
        counts = load.acknowledged >= ACKNOWLEDGED_MIN and (load.unanswered > 0 or kind == 'stop')
        full = self.on_this + 1 == FRESH_EVERY
        read, listed = check(self.oracle, self.server, load.touched | touched, full)
        self.kill()
        self.server.check_log()
        self.on_this += 1
        self.executed[self.kind] += counts
        print(f'{sum(self.executed.values()) if counts else "-":>5} {self.kind} {kind}, segments '
              f'{size}: {load.acknowledged} acknowledged, {load.unanswered} cut, {again} more in '
              f'recovery; {replayed} replayed; read {read}{" (all)" if full else ""}, {listed} '
              f'listed; {time.monotonic() - begin:.1f} s', flush=True)

    def run(self):
        """All rounds."""
        while sum(self.executed.values()) < self.options.cuts and time.monotonic() < self.deadline:
            self.round()


def start():
    """Runs the rig if this machine can; the exit status."""
    parser = campaign.arguments('Power cuts under load; see the head of this file.')
    return campaign.start(Cutter, parser.parse_args())


if __name__ == '__main__':
    sys.exit(start())
