#!/usr/bin/env python3
"""kill -9 under load: what was acknowledged is there afterwards, byte for byte.

    kill.py [--binary build-test/holdfast] [--kills 100] [--required 50] [--minutes 9] [--seed N]
            [--plant BUG]

Each round starts the server, loads it through 8 connections (load.py), ends it and starts it
again, then holds the store against the oracle (oracle.py, check.py): every file that was written
to since is read back by its SHA-256, every tenth time and at the end every file there ever was, and
the listing shows those and no other. Ends are: kill -9 after a random time; a kill point, where the
process kills itself (base/fault.h); kill -9 in a clean stop; more of all this while it recovers;
and SIGTERM, which must cut no request that it has begun, and leave nothing to replay.

A kill counts if at least 100 writes were acknowledged since the last and requests were under way.
Prints a line for each end, then `LAYER kill required= executed= failed=`. On a failure it stops,
keeps the directory and says where it is. Chance comes from the seed, but not the timing of
processes: a seed repeats the plan, not the run.
"""
import argparse
import collections
import os
import random
import shutil
import signal
import sys
import tempfile
import time

from check import check
from load import INLINE_MAX, Load
from oracle import Oracle, Wrong
from process import Died, Failed, Server

CONNECTIONS = 8
ACKNOWLEDGED_MIN = 100  # writes before a kill that counts
FULL_EVERY = 10         # kills from one look at everything to the next
LOAD_S = 20.0           # a kill point that is not reached by then is given up
ALONE_S = 30.0          # by then a server whose connections broke has ended
DRAIN_S = 60.0          # a clean stop takes no longer
SIZES = ('64KiB', '1MiB')  # of segments

# Kill points: weight, and for segments of 64 KiB and of 1 MiB a first guess of how often one is
# passed for each acknowledged write; what is seen replaces the guess. None: not with this size.
POINTS = {
    'wal.rotate': (6, 0.5, 0.03),
    'wal.cut': (4, 0.6, None),
    'wal.batch': (4, 0.4, 0.4),
    'store.apply': (5, 0.01, 0.01),
    'store.cut': (5, 0.005, None),
    'packs.sync': (3, 0.01, 0.01),
    'blob.finish': (3, 0.05, 0.05),
    'disk.write': (3, 8.0, 8.0),
    'disk.sync': (3, 1.0, 0.8),
    'disk.sync_dir': (3, 0.8, 0.2),
    'disk.rename': (3, 0.3, 0.1),
    'disk.unlink': (2, 0.01, 0.01),
}
RANDOM_WEIGHT = 18
STOP_WEIGHT = 3  # kill -9 during a clean stop
REQUIRED_POINTS = ('wal.rotate', 'store.apply', 'store.cut')  # each must have killed once
RECOVERY_POINTS = ('disk.open', 'disk.read', 'disk.write', 'disk.sync', 'disk.sync_dir',
                   'disk.rename', 'disk.list')


class Round:
    """What one round did, for its line."""

    def __init__(self, number, kind, size):
        self.number = number
        self.kind = kind
        self.size = size
        self.fault = ''
        self.acknowledged = 0
        self.unanswered = 0
        self.recovery_kills = 0
        self.started_s = 0.0
        self.replayed = 0

    def counts(self):
        """Was it a kill as the layer counts them?"""
        return (self.kind != 'SIGTERM' and self.acknowledged >= ACKNOWLEDGED_MIN
                and self.unanswered > 0)

    def __str__(self):
        what = f'{self.kind} {self.fault}'.strip()
        again = f', killed {self.recovery_kills} more times in recovery' \
            if self.recovery_kills else ''
        return (f'{what}, segments {self.size}: {self.acknowledged} acknowledged, '
                f'{self.unanswered} cut{again}; ready after {self.started_s:.2f} s, '
                f'{self.replayed} replayed')


class Killer:
    """The run: rounds until enough kills, or the time is over."""

    def __init__(self, options, directory):
        self.options = options
        self.rng = random.Random(f'{options.seed}/plan')
        self.server = Server(options.binary, directory, self.rng)
        self.oracle = Oracle(CONNECTIONS)
        self.deadline = time.monotonic() + options.minutes * 60
        self.executed = 0
        self.number = 0
        self.kinds = collections.Counter()
        self.recovery_kills = 0
        self.rates = {}  # (point, segment size) → passes for each acknowledged write

    # -- the process --

    def start(self, size, fault=''):
        """Starts the server. fault: a kill point, or ''."""
        faults = [fault] if fault else []
        if self.options.plant:
            faults.append(f'{self.options.plant}=plant')
        self.server.start(('--segment-size', size), ','.join(faults))

    def start_ready(self, size, result=None):
        """Starts it and waits until it is ready; tells result how long and how much it replayed."""
        begin = time.monotonic()
        self.start(size)
        ready = self.server.wait_ready()
        if result is not None:
            result.started_s = time.monotonic() - begin
            result.replayed = ready['records']
        return ready['records']

    def ended_by_kill(self, status):
        """Raises Failed if the process ended in another way than by kill -9."""
        if status != -signal.SIGKILL:
            raise Failed(f'the server ended with {status}')

    # -- one end --

    def passes(self, point, size):
        """Which pass over a point comes after enough acknowledged writes, more or less."""
        rate = self.rates.setdefault((point, size), POINTS[point][1 + SIZES.index(size)])
        return max(1, int(rate * self.rng.randrange(150, 450)) + 1)

    def run_random(self, load):
        """kill -9 after enough acknowledged writes and a while."""
        enough = self.rng.randrange(ACKNOWLEDGED_MIN, 4 * ACKNOWLEDGED_MIN)
        self.wait(load, lambda: load.acknowledged >= enough)
        time.sleep(self.rng.random() * 0.05)
        self.ended_by_kill(self.server.kill())

    def run_stop(self, load):
        """kill -9 in the middle of a clean stop."""
        enough = self.rng.randrange(ACKNOWLEDGED_MIN, 3 * ACKNOWLEDGED_MIN)
        self.wait(load, lambda: load.acknowledged >= enough)
        self.server.terminate()
        time.sleep(self.rng.random() * 0.1)
        status = self.server.kill()
        if status != 0:  # the stop was quicker
            self.ended_by_kill(status)

    def run_point(self, load, result, point, passes):
        """Waits until the process has killed itself; else kills it."""
        key = (point, result.size)
        end = time.monotonic() + LOAD_S
        self.wait(load, lambda: not self.server.running() or time.monotonic() > end
                  or load.acknowledged > 20 * ACKNOWLEDGED_MIN)
        if not self.server.running():
            self.ended_by_kill(self.server.reap())
            if load.acknowledged < ACKNOWLEDGED_MIN:
                self.rates[key] *= 2
            else:
                self.rates[key] = (self.rates[key] + passes / load.acknowledged) / 2
            return
        self.rates[key] /= 4
        result.kind = 'random'
        result.fault = f'(not at {point}@{passes})'
        self.ended_by_kill(self.server.kill())

    def run_term(self, load):
        """SIGTERM under load: a clean end."""
        enough = self.rng.randrange(ACKNOWLEDGED_MIN, 3 * ACKNOWLEDGED_MIN)
        self.wait(load, lambda: load.acknowledged >= enough)
        load.clean = True
        self.server.terminate()
        status = self.server.reap(DRAIN_S)
        if status != 0:
            raise Failed(f'SIGTERM: the server ended with {status}')

    def wait(self, load, done):
        """Waits until done(), while the server runs and serves all connections."""
        alone_since = None
        while not done():
            if load.failure is not None:
                raise load.failure
            if load.ended() == 0:
                alone_since = None
            elif alone_since is None:
                alone_since = time.monotonic()
            elif time.monotonic() - alone_since > ALONE_S:
                state = 'still runs' if self.server.running() else 'has ended by itself'
                raise Failed(f'{load.ended()} connections broke; the server {state}')
            time.sleep(0.002)

    def kill_in_recovery(self, size):
        """Starts the server and kills it before, or soon after, it is ready."""
        if self.rng.random() < 0.5:
            point = self.rng.choice(RECOVERY_POINTS)
            self.start(size, f'{point}=kill@{self.rng.randrange(1, 40)}')
            end = time.monotonic() + 0.5
            while self.server.running() and time.monotonic() < end:
                time.sleep(0.002)
        else:
            self.start(size)
            time.sleep(self.rng.random() * 0.15)
        self.ended_by_kill(self.server.kill())

    # -- one round --

    def plan(self):
        """Kind of the next end: 'random', 'stop', 'SIGTERM' or a kill point; size of segments."""
        self.number += 1
        size = self.rng.choice(SIZES)
        if self.number % 12 == 0:
            return 'SIGTERM', size
        kinds = ['random', 'stop', *POINTS]
        weights = [RANDOM_WEIGHT, STOP_WEIGHT, *(row[0] for row in POINTS.values())]
        kind = self.rng.choices(kinds, weights)[0]
        missing = [p for p in REQUIRED_POINTS if self.kinds[p] == 0]
        enough = min(self.options.required, self.options.kills)
        if missing and self.executed + 4 * len(missing) > enough:
            kind = missing[0]
        if kind in POINTS and POINTS[kind][1 + SIZES.index(size)] is None:
            size = SIZES[0]
        return kind, size

    def round(self):
        """Load, end, start, look. Raises Wrong, Failed."""
        kind, size = self.plan()
        result = Round(self.number, kind, size)
        passes = 0
        if kind in POINTS:
            passes = self.passes(kind, size)
            result.fault = f'@{passes}'
            self.start(size, f'{kind}=kill@{passes}')
        else:
            self.start(size)
        try:
            self.server.wait_ready()
        except Died as died:
            self.ended_by_kill(died.status)
            self.rates[(kind, size)] *= 4
            self.recovery_kills += 1
            print(f'      {kind}@{passes}, segments {size}: killed in recovery', flush=True)
            return

        load = Load(self.oracle, self.server, self.number, self.options.seed)
        load.start()
        try:
            if kind == 'SIGTERM':
                self.run_term(load)
            elif kind == 'random':
                self.run_random(load)
            elif kind == 'stop':
                self.run_stop(load)
            else:
                self.run_point(load, result, kind, passes)
        except BaseException:
            self.server.kill()
            load.fail(Wrong('the round has failed'))
            raise
        load.join(60.0)
        result.acknowledged = load.acknowledged
        result.unanswered = load.unanswered
        self.server.check_log()
        self.look(load, result)

    def look(self, load, result):
        """Starts the server after its end and holds the store against the oracle."""
        size = self.rng.choice(SIZES)
        if result.kind != 'SIGTERM' and self.rng.random() < 0.25:
            result.recovery_kills = self.rng.randrange(1, 4)
            for _ in range(result.recovery_kills):
                self.kill_in_recovery(size)
            self.recovery_kills += result.recovery_kills
        self.start_ready(size, result)
        if result.kind == 'SIGTERM' and result.replayed != 0:
            raise Failed(f'{result.replayed} records were replayed after a clean stop')
        counts = result.counts()
        full = counts and (self.executed + 1) % FULL_EVERY == 0
        read, listed = check(self.oracle, self.server, load.touched, full)
        self.executed += counts
        if counts:
            self.kinds[result.kind] += 1
        self.ended_by_kill(self.server.kill())
        self.server.check_log()
        print(f'{self.executed if counts else "-":>5} {result}; read {read}'
              f'{" (all)" if full else ""}, {listed} listed', flush=True)

    def check_blobs(self):
        """After a clean stop: a large file has its blob, and nothing else is left of any upload."""
        wanted = sum(1 for file in self.oracle.files.values()
                     if file.value() is not None and file.value().size > INLINE_MAX)
        found = sum(len(names) for _, _, names in os.walk(os.path.join(self.server.data, 'blobs')))
        staged = os.listdir(os.path.join(self.server.data, 'staging'))
        if found != wanted or staged:
            raise Failed(f'{found} blobs for {wanted} large files, {len(staged)} in staging/')

    def run(self):
        """All rounds, of the required ones however long they take; then a clean stop and a last look at
        everything."""
        while self.executed < self.options.kills and (
                time.monotonic() < self.deadline or self.executed < self.options.required):
            self.round()
        for turn in range(2):
            replayed = self.start_ready(self.rng.choice(SIZES))
            if turn == 1:
                if replayed != 0:
                    raise Failed(f'{replayed} records were replayed after a clean stop')
                read, listed = check(self.oracle, self.server, (), True)
                print(f'  end: read {read} (all), {listed} listed', flush=True)
            self.server.terminate()
            status = self.server.reap(DRAIN_S)
            if status != 0:
                raise Failed(f'SIGTERM: the server ended with {status}')
            self.server.check_log()
        self.check_blobs()
        for point in REQUIRED_POINTS:
            if self.executed >= self.options.required and self.kinds[point] == 0:
                raise Failed(f'no kill at {point} counted')


def parse_arguments():
    """The options."""
    parser = argparse.ArgumentParser(description='kill -9 under load; see the head of this file.')
    parser.add_argument('--binary', default='build-test/holdfast')
    parser.add_argument('--kills', type=int, default=100)
    parser.add_argument('--required', type=int, default=50, help='fewer kills are too few')
    parser.add_argument('--minutes', type=float, default=9.0, help='no new round after so long')
    parser.add_argument('--seed', type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument('--plant', default='', help='a planted bug, to see that it is found')
    return parser.parse_args()


def on_terminate(number, frame):
    """So that the server is killed and the directory removed when the test is stopped."""
    raise SystemExit(f'stopped by signal {number}')


def main():
    options = parse_arguments()
    signal.signal(signal.SIGTERM, on_terminate)
    directory = tempfile.mkdtemp(prefix='holdfast-kill-')
    print(f'kill.py --seed {options.seed} --kills {options.kills}, in {directory}', flush=True)
    begin = time.monotonic()
    killer = Killer(options, directory)
    failed = 0
    keep = False
    try:
        killer.run()
    except (Wrong, Failed, Died) as error:
        failed = 1
        keep = True
        print(f'FAILED in round {killer.number}, seed {options.seed}: {error}')
    finally:
        killer.server.kill()
        if keep:
            print('the last lines of the server:')
            for line in killer.server.log_tail():
                print(f'  | {line[:400]}')
            print(f'kept: {directory}')
        else:
            shutil.rmtree(directory)
    kinds = ', '.join(f'{kind} {count}' for kind, count in sorted(killer.kinds.items()))
    print(f'{time.monotonic() - begin:.0f} s; {kinds}; {killer.recovery_kills} more in recovery; '
          f'{len(killer.oracle.files)} files')
    required = min(options.required, options.kills)
    print(f'LAYER kill required={required} executed={killer.executed} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
