"""What measuring scripts share: a lock that keeps others from what is timed, and how much of the
machine they took all the same."""
import contextlib
import fcntl
import os
import time

LOCK_SECONDS = 900  # that are waited for the lock


class Machine:
    """Keeps others from what is timed, if they agreed on a lock, and tells what they took."""

    def __init__(self, path):
        self.lock = open(path, 'ab') if path else None
        self.seconds = self.others = 0.0

    def take(self):
        """The lock, alone."""
        end = time.monotonic() + LOCK_SECONDS
        while time.monotonic() < end:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.01)
        print('the lock was not to be had; measuring all the same', flush=True)

    @contextlib.contextmanager
    def shared(self):
        """Around work that must not run beside what others time."""
        if self.lock:
            fcntl.flock(self.lock, fcntl.LOCK_SH)
        try:
            yield
        finally:
            if self.lock:
                fcntl.flock(self.lock, fcntl.LOCK_UN)

    @staticmethod
    def busy_seconds():
        """CPU time of all processes since boot, in seconds."""
        with open('/proc/stat', encoding='ascii') as lines:
            user, nice, system, _, _, irq, softirq, steal = map(int, lines.readline().split()[1:9])
        return (user + nice + system + irq + softirq + steal) / os.sysconf('SC_CLK_TCK')

    @contextlib.contextmanager
    def timed(self, servers):
        """Around what is timed; what servers (that have cpu_seconds()) take is not others'."""
        def own():
            times = os.times()
            return (times.user + times.system + times.children_user + times.children_system
                    + sum(server.cpu_seconds() for server in servers))
        if self.lock:
            self.take()
        try:
            before, busy, mine = time.monotonic(), self.busy_seconds(), own()
            yield
            self.seconds += time.monotonic() - before
            self.others += self.busy_seconds() - busy - (own() - mine)
        finally:
            if self.lock:
                fcntl.flock(self.lock, fcntl.LOCK_UN)

    def others_cores(self):
        """Cores that others had while something was timed, since the last call."""
        cores = max(0.0, self.others / self.seconds) if self.seconds else 0.0
        self.seconds = self.others = 0.0
        return cores
