#!/usr/bin/env python3
"""Runs the test layers of tools/test_layers.toml and says what was run.

A layer is a Meson suite or a command. Each test program is counted by what it prints, in this
order: lines `LAYER name required=R executed=E failed=F` (summed), cmocka's totals, else it is one
test. A layer has failed if a test failed, if its command did, if it took too long, or if it ran
short: executed less than its row or its LAYER lines require. What a layer printed is kept in
build-logs/NAME.log. The last line is `N passed, N failed`; the exit status is 0 only with 0 failed.

Layers run one after the other, with two exceptions. Those with `lane = "waits"` spend their time in
sleeps, disks and restarts: they run, one after the other too, beside the rest, as soon as the layers
before the first of them are done. Those with `lane = "alone"` measure something: they come last, and
nothing runs beside them.
"""
import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
from dataclasses import dataclass, field

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOGS = 'build-logs'
FIELDS = {'name', 'build', 'suite', 'command', 'count', 'required', 'minutes', 'quick', 'lane'}
# Each lane, and the ports that its tests may take.
LANES = {'': '20000-25000', 'waits': '25000-30000', 'alone': '20000-30000'}
MINUTES = 10  # that a layer may take unless its row says otherwise
SANITIZER_SLOWER = 5  # how much longer a program may take in their builds
FAILURES, FAILURE_LINES = 3, 12  # of a failed layer's, shown again before the table
TAIL = 80  # lines of a failed layer's log that are shown
ROW_TEXT = 120  # characters of what a failed layer's row tells

LAYER_RE = re.compile(
    r'^LAYER (\S+) required=(\d+) executed=(\d+) failed=(\d+)(?: .*)?$', re.M)
CMOCKA_RE = re.compile(r'^\[  (PASSED|FAILED)  \] (\d+) test\(s\)', re.M)

FAILURE_RE = re.compile(r'^FAILED|\[  ERROR   \]|AssertionError|^seed \d+:|Sanitizer: |error: ')
# A failed test's own line: its name, and why, if that is said there.
NAMED_RE = re.compile(
    r'^FAILED:? +(?P<name>.*?)(?: \([0-9.]+ s\))?$|^(?P<seed>seed \d+:.*)|'
    r'^\s*\[  FAILED  \] (?!\d+ test)(?P<cmocka>\S+)')
NEXT_RE = re.compile(r'^(?:ok|FAILED|LAYER)\b')  # the line where what is said of a test ends
RAISED_RE = re.compile(r'^(?:[A-Za-z_]\w*\.)*[A-Z]\w+: ')  # of a traceback, of a sanitizer

ENVIRONMENT = {
    # Tests ask for more memory than there is and want NULL, as from malloc().
    'ASAN_OPTIONS': 'detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:'
                    'allocator_may_return_null=1',
    'UBSAN_OPTIONS': 'print_stacktrace=1:halt_on_error=1',
    'TSAN_OPTIONS': 'halt_on_error=1:second_deadlock_stack=1:'
                    f'suppressions={ROOT}/tools/tsan.supp',
}


@dataclass
class Result:
    """What a layer ran: counts of tests, and why it failed beyond failed tests."""
    name: str
    required: int = 0
    executed: int = 0
    failed: int = 0
    minutes: float = 0.0
    reasons: list = field(default_factory=list)

    def ok(self):
        return self.failed == 0 and not self.reasons

    def passed_count(self):
        return max(0, self.executed - self.failed)

    def failed_count(self):
        """At least one if the layer failed at all, so that the total can never hide it."""
        return self.failed if self.ok() or self.failed > 0 else 1


def count_output(text, exit_ok, result, name):
    """Adds to result what one program's output says. True if it had counts of its own."""
    layers = LAYER_RE.findall(text)
    cmocka = CMOCKA_RE.findall(text)
    failed_before = result.failed
    if layers:
        for _, required, executed, failed in layers:
            result.required += int(required)
            result.executed += int(executed)
            result.failed += int(failed)
            if int(executed) < int(required):
                result.reasons.append(f'{name} ran short: {executed} of {required}')
            if int(failed) > int(executed):
                result.reasons.append(f'{name} says {failed} of {executed} failed')
    elif cmocka:
        for kind, count in cmocka:
            result.executed += int(count)
            result.failed += int(count) if kind == 'FAILED' else 0
    else:
        result.executed += 1
        result.failed += 0 if exit_ok else 1
    if not exit_ok and result.failed == failed_before:
        result.reasons.append(f'{name} ended badly')
    return bool(layers or cmocka)


class Running:
    """The processes of all lanes: who ends the runner ends them."""
    lock = threading.Lock()
    processes = set()
    over = False

    @classmethod
    def start(cls, command, out, lane):
        with cls.lock:
            if cls.over:
                sys.exit(1)  # of this thread: the runner is being ended
            process = subprocess.Popen(
                ['/bin/sh', '-c', command], stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
                env=ENVIRONMENT | dict(os.environ, TEST_PORTS=LANES[lane]))
            cls.processes.add(process)
        return process

    @classmethod
    def ended(cls, process):
        with cls.lock:
            cls.processes.discard(process)

    @classmethod
    def end_all(cls):
        with cls.lock:
            cls.over = True
            for process in cls.processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)


def run_logged(command, log, minutes, lane):
    """Runs a shell command into a log file. Its exit status, or None if it took too long."""
    with open(log, 'ab') as out:
        process = Running.start(command, out, lane)
        try:
            return process.wait(minutes * 60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            return None
        finally:
            if process.returncode is not None:
                Running.ended(process)


def run_suite(row, log, minutes, result):
    """Runs a Meson suite and counts it from Meson's record of each program's output."""
    record = f'{row["build"]}/meson-logs/layer-{row["name"]}.json'
    if os.path.exists(record):
        os.unlink(record)
    # TSan of clang 14 knows no address space randomised by more than 28 bits.
    prefix = 'setarch -R ' if row['build'] == 'build-tsan' else ''
    slow = SANITIZER_SLOWER if row['build'] in ('build-asan', 'build-tsan') else 1
    status = run_logged(
        f'{prefix}meson test -C {row["build"]} --no-rebuild --suite {row["suite"]} -t {slow} '
        f'--logbase layer-{row["name"]} --print-errorlogs', log, minutes, row.get('lane', ''))
    if status is None:
        result.reasons.append(f'took longer than {minutes} minutes')
    if not os.path.exists(record):
        result.reasons.append('ran nothing')
        return
    with open(record, encoding='utf-8') as lines:
        for line in lines:
            test = json.loads(line)
            text = (test.get('stdout') or '') + '\n' + (test.get('stderr') or '')
            count_output(text, test['result'] == 'OK', result, test['name'])
    if status not in (0, None) and result.ok():
        result.reasons.append(f'meson test ended with {status}')


def run_command(row, log, minutes, result):
    """Runs a command and counts it from its LAYER lines, or as one test."""
    status = run_logged(row['command'], log, minutes, row.get('lane', ''))
    if status is None:
        result.reasons.append(f'took longer than {minutes} minutes')
    with open(log, encoding='utf-8', errors='replace') as lines:
        text = lines.read()
    if row.get('count') == 'exit':
        result.executed += 1
        result.failed += 0 if status == 0 else 1
    elif LAYER_RE.search(text):
        count_output(text, status == 0, result, row['name'])
    else:
        result.reasons.append('printed no LAYER line')


BUILD_LOCKS = {}


def build_lock(directory):
    """Of a build directory, which two lanes may want at once."""
    with Running.lock:
        return BUILD_LOCKS.setdefault(directory, threading.Lock())


def run_layer(row):
    """Runs one row; its Result."""
    result = Result(row['name'])
    log = f'{LOGS}/{row["name"]}.log'
    minutes = row.get('minutes', MINUTES)
    start = time.monotonic()
    with open(log, 'wb'):
        pass
    built = True
    if 'build' in row:
        with build_lock(row['build']):
            built = run_logged(f'./dev build {row["build"]}', log, 30, '') == 0
    if not built:
        result.reasons.append(f'{row["build"]} does not build')
    elif 'suite' in row:
        run_suite(row, log, minutes, result)
    else:
        run_command(row, log, minutes, result)
    required = row.get('required', 1)
    result.required = max(result.required, required)
    if built and result.executed < result.required:
        result.reasons.append(f'ran short: {result.executed} of {result.required}')
    result.minutes = (time.monotonic() - start) / 60
    return result


def log_lines(name):
    """The lines of a layer's log."""
    with open(f'{LOGS}/{name}.log', encoding='utf-8', errors='replace') as log:
        return log.read().splitlines()


def show_log(name):
    """The end of a failed layer's log."""
    for line in log_lines(name)[-TAIL:]:
        print(f'  | {line}')


def show_failures(results):
    """What each failed layer says of its first failures, near the end, where it is found."""
    for r in (r for r in results if not r.ok()):
        lines = log_lines(r.name)
        at = [i for i, line in enumerate(lines) if FAILURE_RE.search(line)][:FAILURES]
        print(f'\n== why {r.name} failed: {"; ".join(r.reasons or ["tests failed"])}')
        for i in sorted({j for first in at for j in range(first, first + FAILURE_LINES)}):
            if i < len(lines):
                print(f'  | {lines[i][:300]}')


def why_named(lines, at):
    """Why the test failed that is named in line `at`: cmocka says it before, a traceback behind."""
    if lines[at].lstrip().startswith('['):
        for line in reversed(lines[max(0, at - FAILURE_LINES):at]):
            if '[  ERROR   ] --- ' in line:
                return line.split(' --- ', 1)[1]
        return ''
    raised = ''
    for line in lines[at + 1:]:
        if NEXT_RE.match(line):
            break
        if RAISED_RE.match(line):
            raised = line  # the last: it was raised while the ones before were handled
    return raised.removeprefix('AssertionError: ')


def failed_tests(lines):
    """What a failed layer's log says of each failed test: its name and why; else of the first
    failure of any kind, else its last line."""
    told = {}  # by name: a program may list those that failed once more
    for at, line in enumerate(lines):
        named = NAMED_RE.match(line)
        if named:
            name = named['name'] or named['seed'] or named['cmocka']
            why = why_named(lines, at)
            told.setdefault(name, f'{name}: {why}' if why else name)
    if told:
        return list(told.values())
    said = [line.strip() for line in lines if line.strip() and not LAYER_RE.match(line)]
    return [line for line in said if FAILURE_RE.search(line)][:1] or said[-1:]


def row_text(reasons, lines):
    """What a failed layer's row tells: why it failed, and its first failed tests. lines: its log."""
    reason = '; '.join(reasons or ['tests failed'])
    text = ': '.join([reason, '; '.join(failed_tests(lines))]).removesuffix(': ')
    room = max(ROW_TEXT, len(reason))
    return text if len(text) <= room else text[:room - 3] + '...'


def print_table(results):
    """What failed, one row for each layer, then the line that ends everything."""
    show_failures(results)
    print()
    print(f'{"layer":<14}{"required":>10}{"executed":>10}{"failed":>8}{"minutes":>9}')
    for r in results:
        print(f'{r.name:<14}{r.required:>10}{r.executed:>10}{r.failed:>8}{r.minutes:>9.1f}'
              f'  {"ok" if r.ok() else "FAILED: " + row_text(r.reasons, log_lines(r.name))}')
    passed = sum(r.passed_count() for r in results)
    failed = sum(r.failed_count() for r in results)
    print(f'{passed} passed, {failed} failed')
    return failed


def load_rows(path):
    """The rows of the list, checked."""
    with open(path, 'rb') as file:
        rows = tomllib.load(file)['layer']
    names = set()
    for row in rows:
        unknown = set(row) - FIELDS
        if unknown:
            sys.exit(f'{path}: unknown field {", ".join(sorted(unknown))} in {row}')
        if 'name' not in row or row['name'] in names:
            sys.exit(f'{path}: a row without a name of its own: {row}')
        if ('suite' in row) == ('command' in row) or ('suite' in row and 'build' not in row):
            sys.exit(f'{path}: {row["name"]}: a command, or a suite and its build directory')
        if row.get('lane', '') not in LANES:
            sys.exit(f'{path}: {row["name"]}: a lane is one of {", ".join(filter(None, LANES))}')
        names.add(row['name'])
    return rows


PRINT = threading.Lock()


def run_and_tell(row, results):
    """Runs one row; its Result goes into results, by name."""
    with PRINT:
        print(f'== {row["name"]}', flush=True)
    result = run_layer(row)
    results[row['name']] = result
    with PRINT:
        if not result.ok():
            show_log(result.name)
        print(f'   {"ok" if result.ok() else "FAILED"}: {row["name"]}: {result.executed} executed, '
              f'{result.failed} failed, {result.minutes:.1f} min', flush=True)


def run_rows(rows):
    """Runs all rows, each in its lane; their Results in the rows' order."""
    results = {}
    for row in rows:  # so that none is told by the log of an earlier run
        with open(f'{LOGS}/{row["name"]}.log', 'wb'):
            pass
    lanes = {lane: [row for row in rows if row.get('lane', '') == lane] for lane in LANES}
    first = next((at for at, row in enumerate(rows) if row.get('lane') == 'waits'), len(rows))
    before = [row for row in rows[:first] if row in lanes['']]
    for row in before:
        run_and_tell(row, results)
    beside = threading.Thread(
        target=lambda: [run_and_tell(row, results) for row in lanes['waits']], daemon=True)
    beside.start()
    for row in lanes['']:
        if row not in before:
            run_and_tell(row, results)
    beside.join()
    for row in lanes['alone']:
        run_and_tell(row, results)
    for row in rows:  # a lane that broke is no lane that passed
        results.setdefault(row['name'], Result(row['name'], reasons=['did not run']))
    return [results[row['name']] for row in rows]


def main(argv):
    parser = argparse.ArgumentParser(description='Runs the test layers.')
    parser.add_argument('layers', nargs='*', help='names of layers; all unless given')
    parser.add_argument('--quick', action='store_true', help='only the quick layers')
    parser.add_argument('--list', action='store_true', help='names the layers and runs none')
    parser.add_argument('--table', default='tools/test_layers.toml', help='the list of layers')
    args = parser.parse_args(argv)
    # Whoever stops the runner stops what it started, which is in sessions of its own.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    os.chdir(ROOT)
    os.makedirs(LOGS, exist_ok=True)

    rows = load_rows(args.table)
    if args.list:
        for row in rows:
            print(row['name'] + (' (quick)' if row.get('quick') else ''))
        return 0
    unknown = set(args.layers) - {row['name'] for row in rows}
    if unknown:
        sys.exit(f'no layer named {", ".join(sorted(unknown))}; ./dev test --list names them')
    rows = [row for row in rows if (not args.layers or row['name'] in args.layers)
            and (not args.quick or row.get('quick'))]
    if not rows:
        sys.exit('no layer is chosen')

    try:
        results = run_rows(rows)
    except BaseException:
        Running.end_all()
        raise
    return 0 if print_table(results) == 0 else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
