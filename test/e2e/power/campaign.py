"""What the rigs of power cuts share: their options, their server below a mount, how a run is told."""
import argparse
import os
import random
import signal
import sys
import time

import rig

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'kill'))
from oracle import Wrong  # noqa: E402
from process import Died, Failed, Server  # noqa: E402


class Campaign:
    """Cuts until there are enough, or the time is over. A rig has run(), where(), more() and image,
    the disk to keep when it failed."""
    program = layer = ''
    server_class = Server

    def __init__(self, options, directory):
        self.options = options
        self.directory = directory
        self.rng = random.Random(f'{options.seed}/plan')
        self.mount = rig.Mount(os.path.join(directory, 'mnt'))
        self.server = self.server_class(options.binary, directory, self.rng)
        self.server.data = os.path.join(self.mount.directory, 'data')
        self.deadline = time.monotonic() + options.minutes * 60
        self.kinds = [options.file_system] if options.file_system else list(rig.FILE_SYSTEMS)
        self.kind = ''
        self.loads = 0
        self.executed = {kind: 0 for kind in self.kinds}

    def path(self, name):
        """A file of the rig."""
        return os.path.join(self.directory, name)

    def kill(self):
        """kill -9, of a server that lives."""
        status = self.server.kill()
        if status != -signal.SIGKILL:
            raise Failed(f'the server ended with {status}')

    def end(self):
        """Leaves nothing behind."""
        self.server.kill()
        self.mount.drop()


def arguments(description):
    """A parser of the options that all rigs have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--binary', default='build-test/holdfast')
    parser.add_argument('--cuts', type=int, default=100)
    parser.add_argument('--minutes', type=float, default=6.0, help='begins nothing after so long')
    parser.add_argument('--seed', type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument('--file-system', choices=list(rig.FILE_SYSTEMS), default='')
    parser.add_argument('--plant', default='', help='a planted bug, to see that it is found')
    return parser


def run(campaign):
    """The whole run, in the child of rig.contained(); the exit status."""
    options = campaign.options
    failed = 0
    begin = time.monotonic()
    try:
        campaign.run()
    except (Wrong, Failed, Died) as error:
        failed = 1
        print(f'FAILED in {campaign.where()}, seed {options.seed}: {error}')
        print('the last lines of the server:')
        for line in campaign.server.log_tail():
            print(f'  | {line[:400]}')
    finally:
        campaign.end()
        if failed and not options.plant:
            rig.keep(campaign.server.log, options.seed)
            print(f'kept: {rig.keep(campaign.image, options.seed)}')
    kinds = ', '.join(f'{kind} {count}' for kind, count in campaign.executed.items())
    print(f'{time.monotonic() - begin:.0f} s; {kinds}; {campaign.more()}')
    print(f'LAYER {campaign.layer} required={options.cuts} '
          f'executed={sum(campaign.executed.values())} failed={failed}')
    return 1 if failed else 0


def start(kind, options):
    """Runs a rig, kind(options, directory), if this machine can; the exit status."""
    print(f'{kind.program} --seed {options.seed} --cuts {options.cuts}', flush=True)
    if why := rig.missing():
        print(f'{kind.program}: {why}')
        print(f'LAYER {kind.layer} required={options.cuts} executed=0 failed=0')
        return 1
    return rig.contained(lambda directory: run(kind(options, directory)))
