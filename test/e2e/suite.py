"""A layer of end-to-end tests, each a function with a server of its own. Python's standard library
only."""
import os
import shlex
import shutil
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import Server, free_port  # noqa: E402


def remove_tree(path):
    """All below path, of which a server may make and rename files meanwhile."""
    while os.path.exists(path):
        shutil.rmtree(path, ignore_errors=True)


class Suite:
    """The tests of one script, and how they are run."""

    def __init__(self, name):
        self.name = name
        self.binary = None  # a list of words
        self.tests = []
        self.left_out = {}  # of tests that cannot run here: the beginning of their names, why

    def test(self, function):
        """Marks a test: it gets a server, started, in an empty directory."""
        self.tests.append((function, True))
        return function

    def bare(self, function):
        """Marks a test that starts its servers itself, in the folder it gets."""
        self.tests.append((function, False))
        return function

    def at_both_doors(self, function, call, *options):
        """The same with the S3 door open, and options: call(server) does it, as function is named."""
        def run(folder):
            server = self.server(folder, *options)
            server.s3_address = f'127.0.0.1:{free_port()}'
            server.start()
            try:
                call(server)
                if server.stop() != 0:
                    raise AssertionError('the server did not end with 0')
            finally:
                server.end()
        run.__name__ = function.__name__
        run.__doc__ = function.__doc__
        return self.bare(run)

    def leave_out(self, prefix, why):
        """Tests whose names begin so cannot run here. They are told, and still required: a layer that
        runs without them is short."""
        self.left_out[prefix] = why

    def why_not(self, function):
        for prefix, why in self.left_out.items():
            if function.__name__.startswith(prefix):
                return why
        return None

    def server(self, folder, *options):
        """A server over folder, not started."""
        return Server(self.binary, f'{folder}/d', f'{folder}/log', options)

    def run_one(self, function, wants_server):
        """Runs one test in a folder of its own; the reason why it failed, or None."""
        folder = tempfile.mkdtemp(prefix=f'holdfast-{self.name}-')
        server = None
        try:
            if wants_server:
                server = self.server(folder).start()
                function(server)
                if server.stop() != 0:
                    return 'the server did not end with 0'
            else:
                function(folder)
            return None
        except Exception:  # whatever it is, the test failed
            tail = ''
            if os.path.exists(f'{folder}/log'):
                with open(f'{folder}/log', encoding='utf-8', errors='replace') as lines:
                    tail = ''.join(lines.readlines()[-15:])
            return traceback.format_exc() + tail
        finally:
            if server is not None:
                server.end()
            shutil.rmtree(folder, ignore_errors=True)

    def main(self, argv, text):
        """argv: the script, the binary, names of tests if not all."""
        if len(argv) < 2:
            sys.exit(text)
        self.binary = shlex.split(argv[1])
        self.binary[-1] = os.path.abspath(self.binary[-1])
        chosen = [t for t in self.tests if not argv[2:] or t[0].__name__ in argv[2:]]
        failed = executed = 0
        for function, wants_server in chosen:
            why = self.why_not(function)
            if why is not None:
                print(f'LEFT OUT {function.__name__}: {why}', flush=True)
                continue
            executed += 1
            start = time.monotonic()
            reason = self.run_one(function, wants_server)
            print(f'{"ok    " if reason is None else "FAILED"} {function.__name__}'
                  f' ({time.monotonic() - start:.1f} s)', flush=True)
            if reason is not None:
                failed += 1
                print(reason, flush=True)
        required = len(chosen) if argv[2:] else len(self.tests)
        print(f'LAYER {self.name} required={required} executed={executed} failed={failed}')
        return 1 if failed or executed < len(chosen) else 0
