"""A `holdfast serve` process under test: started, waited for, killed, stopped, always cleaned up."""
import json
import os
import signal
import subprocess
import sys
import time

from door import BadAnswer, Broken, Door

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from ports import free_port  # noqa: E402

POLL_S = 0.005
LOG_TAIL = 40  # lines of a server's log that are shown with a failure


class Failed(Exception):
    """The server did what it must not do."""


class Died(Exception):
    """The process ended before it was ready. status: its exit status, -9 for kill -9."""

    def __init__(self, status):
        super().__init__(f'ended with {status} before it was ready')
        self.status = status


class Server:
    """One data directory and port, and at most one process that serves them."""

    def __init__(self, binary, directory, rng=None):
        self.binary = os.path.abspath(binary)
        self.data = os.path.join(directory, 'data')
        self.log = os.path.join(directory, 'server.log')
        self.port = free_port(rng)
        self.process = None
        self.log_seen = 0  # bytes of the log that check_log() has looked at

    def start(self, options=(), fault=''):
        """Starts the process; does not wait for anything. fault: HOLDFAST_FAULT, or ''."""
        assert self.process is None
        environment = dict(os.environ)
        environment.pop('HOLDFAST_FAULT', None)
        if fault:
            environment['HOLDFAST_FAULT'] = fault
        command = [self.binary, 'serve', '--data', self.data, '--http', f'127.0.0.1:{self.port}',
                   '--s3', 'off', '--log-format', 'json', *options]
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=environment)

    def key(self):
        """ID.SECRET of the root key."""
        with open(os.path.join(self.data, 'root.key'), encoding='ascii') as file:
            return file.read().strip()

    def door(self):
        """A connection with the root key."""
        return Door(self.port, self.key())

    def wait_ready(self, timeout_s=60.0):
        """Waits until /readyz says 200; what it said. Raises Died, or Failed after timeout_s."""
        end = time.monotonic() + timeout_s
        door = Door(self.port, '')
        try:
            while time.monotonic() < end:
                if self.process.poll() is not None:
                    raise Died(self.reap())
                try:
                    reply = door.request('GET', '/readyz')
                    if reply.status == 200:
                        return reply.json()
                    if reply.status != 503:
                        raise Failed(f'/readyz: {reply}')
                except Broken:
                    pass
                except BadAnswer as error:
                    raise Failed(f'/readyz: {error}') from None
                time.sleep(POLL_S)
        finally:
            door.close()
        raise Failed(f'not ready {timeout_s} s after its start')

    def running(self):
        """Is there a process, and has it not ended?"""
        return self.process is not None and self.process.poll() is None

    def reap(self, timeout_s=60.0):
        """Waits for the end of the process; its exit status, -N for signal N."""
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Failed(f'process {self.process.pid} does not end') from None
        self.process = None
        return status

    def kill(self):
        """kill -9; returns the exit status when it is gone: -9 unless it ended before by itself.
        None if there is no process."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGKILL)
        return self.reap()

    def terminate(self):
        """Asks for a clean stop (SIGTERM); reap() waits for it."""
        self.process.send_signal(signal.SIGTERM)

    def check_log(self, errors=False):
        """Looks at what the log says since the last call. Raises Failed for a line that is no JSON
        object and, unless errors are expected, for one of an error; returns the lines as
        objects."""
        with open(self.log, 'rb') as file:
            file.seek(self.log_seen)
            text = file.read()
        self.log_seen += len(text)
        rows = []
        for line in text.decode('utf-8', 'replace').splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise Failed(f'the server printed: {line}')
            if not errors and str(row.get('level', '')).lower() in ('error', 'fatal'):
                raise Failed(f'the server reports: {line}')
            rows.append(row)
        return rows

    def log_tail(self):
        """The last lines of the log."""
        with open(self.log, 'rb') as file:
            return file.read().decode('utf-8', 'replace').splitlines()[-LOG_TAIL:]
