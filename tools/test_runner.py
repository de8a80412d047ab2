#!/usr/bin/env python3
"""Tests of tools/test_layers.py: a layer that fails in any way may not count as passed. Prints
`LAYER runner-self required= executed= failed=`."""
import os
import subprocess
import sys
import tempfile

RUNNER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'test_layers.py')
sys.path.insert(0, os.path.dirname(RUNNER))
import test_layers  # noqa: E402  (found by the line above)

LINE = 'echo LAYER x required=%d executed=%d failed=%d'

# Fields of a row, the last line of the runner, its exit status.
ROWS = [
    (f"command = '{LINE % (3, 3, 0)}'", '3 passed, 0 failed', 0),
    (f"command = '{LINE % (3, 5, 0)} minutes=1'", '5 passed, 0 failed', 0),
    (f"command = '{LINE % (3, 2, 0)}'", '2 passed, 1 failed', 1),
    (f"command = '{LINE % (3, 3, 1)}'", '2 passed, 1 failed', 1),
    (f"command = '{LINE % (3, 3, 0)}; exit 1'", '3 passed, 1 failed', 1),
    (f"command = '{LINE % (1, 1, 2)}'", '0 passed, 2 failed', 1),
    (f"command = '{LINE % (1, 1, 0)} && {LINE % (2, 2, 0)}'", '3 passed, 0 failed', 0),
    (f"command = '{LINE % (1, 9, 0)} && {LINE % (2, 1, 0)}'", '10 passed, 1 failed', 1),
    (f"command = '{LINE % (3, 3, 0)}'\nrequired = 4", '3 passed, 1 failed', 1),
    ("command = 'true'", '0 passed, 1 failed', 1),
    ("command = 'echo LAYER x required=1'", '0 passed, 1 failed', 1),
    ("command = 'true'\ncount = 'exit'", '1 passed, 0 failed', 0),
    ("command = 'false'\ncount = 'exit'", '0 passed, 1 failed', 1),
    (f"command = '{LINE % (1, 1, 0)}; sleep 60'\nminutes = 0.005", '1 passed, 1 failed', 1),
    ("suite = 'none'\nbuild = 'build-absent'", '0 passed, 1 failed', 1),
]

# A list in which `a` ends only beside `b`, and `c` fails if one of them has not ended.
LANES = """
[[layer]]
name = 'runner-self-c'
lane = 'alone'
command = 'test -e {dir}/a && test -e {dir}/b-ended && {line}'
[[layer]]
name = 'runner-self-b'
lane = 'waits'
command = 'touch {dir}/b && sleep 0.5 && touch {dir}/b-ended && {line}'
[[layer]]
name = 'runner-self-a'
command = 'for i in $(seq 600); do test -e {dir}/b && touch {dir}/a && {line} && exit; sleep 0.1; done'
"""

# A program's output, whether it ended well; executed, failed, reasons.
OUTPUTS = [
    ('[==========] 3 test(s) run.\n[  PASSED  ] 3 test(s).\n', True, (3, 0, 0)),
    ('[  PASSED  ] 2 test(s).\n[  FAILED  ] 1 test(s), listed below:\n', False, (3, 1, 0)),
    ('[  PASSED  ] 2 test(s).\n', False, (2, 0, 1)),
    ('[  PASSED  ] 2 test(s).\n[  PASSED  ] 4 test(s).\n', True, (6, 0, 0)),
    ('7 inputs replayed\n', True, (1, 0, 0)),
    ('', False, (1, 1, 0)),
    ('LAYER a required=9 executed=9 failed=0\n[  PASSED  ] 1 test(s).\n', True, (9, 0, 0)),
    ('LAYER a required=9 executed=8 failed=0\n', True, (8, 0, 1)),
    ('say LAYER a required=9 executed=8 failed=0\n', True, (1, 0, 0)),
]

# What a failed layer printed, and what its row tells of it.
TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 3, in same\n    raise Wrong\n'
TOLD = [
    ('ok     first (0.1 s)\n'
     f'FAILED crowd_with_room (6.1 s)\n{TRACEBACK}AssertionError: 1, not 0\n'
     '{"level":"INFO","event":"node.stopped"}\n\n'
     'ok     third (0.1 s)\nLAYER x required=3 executed=3 failed=1\n',
     'tests failed: crowd_with_room: 1, not 0'),
    (f'FAILED a\n{TRACEBACK}OSError: first\n\nDuring handling of it:\n{TRACEBACK}'
     f'http.client.RemoteDisconnected: no answer\nFAILED b (0.2 s)\n{TRACEBACK}KeyError: 1\n',
     'tests failed: a: http.client.RemoteDisconnected: no answer; b: KeyError: 1'),
    ('FAILED: 2 answers are not as it says\n', 'tests failed: 2 answers are not as it says'),
    ('seed 7: lsn 3 is lost\nseed 9: it too\n', 'tests failed: seed 7: lsn 3 is lost; seed 9: it too'),
    ('[ RUN      ] test_a\n[  ERROR   ] --- 0x1 != 0x2\n[   LINE   ] --- a_test.c:3: error: Failure!\n'
     '[  FAILED  ] test_a\n[==========] 2 test(s) run.\n[  FAILED  ] 1 test(s), listed below:\n'
     '[  FAILED  ] test_a\n', 'tests failed: test_a: 0x1 != 0x2'),
    ('cc a.c\na.c:3:1: error: expected\nninja: build stopped\n', 'tests failed: a.c:3:1: error: expected'),
    ('ok     first (0.1 s)\nstill here\n\n', 'tests failed: still here'),
    ('', 'tests failed'),
    (f'FAILED long: {"x" * 200}\n', f'tests failed: long: {"x" * 97}...'),
]


def run_row(fields):
    """Last line and exit status of the runner over a list of one row."""
    return run_rows(f"[[layer]]\nname = 'runner-self'\n{fields}\n")[1:]


def run_rows(rows):
    """The last but one, the last line and the exit status, over any list."""
    with tempfile.NamedTemporaryFile('w', suffix='.toml') as table:
        table.write(rows)
        table.flush()
        done = subprocess.run([sys.executable, RUNNER, '--table', table.name], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return *done.stdout.splitlines()[-2:], done.returncode


def main():
    executed = failed = 0
    for fields, last, status in ROWS:
        got = run_row(fields)
        executed += 1
        if got != (last, status):
            failed += 1
            print(f'FAILED: {fields!r}: {got}, wanted {(last, status)}')
    with tempfile.TemporaryDirectory() as directory:
        got = run_rows(LANES.replace('{dir}', directory).replace('{line}', LINE % (1, 1, 0)))[1:]
    executed += 1
    if got != ('3 passed, 0 failed', 0):
        failed += 1
        print(f'FAILED: lanes: {got}')
    for text, exit_ok, wanted in OUTPUTS:
        result = test_layers.Result('x')
        test_layers.count_output(text, exit_ok, result, 'x')
        got = (result.executed, result.failed, len(result.reasons))
        executed += 1
        if got != wanted:
            failed += 1
            print(f'FAILED: {text!r}: {got}, wanted {wanted}')
    for text, wanted in TOLD:
        got = test_layers.row_text([], text.splitlines())
        executed += 1
        if got != wanted:
            failed += 1
            print(f'FAILED: {text!r}: {got}, wanted {wanted}')
    row = run_rows(f"[[layer]]\nname = 'runner-self'\ncommand = 'echo FAILED a; {LINE % (3, 2, 1)}'")[0]
    wanted = 'FAILED: runner-self ran short: 2 of 3; ran short: 2 of 3: a'
    executed += 1
    if not row.endswith(wanted):
        failed += 1
        print(f'FAILED: the row {row!r}, wanted {wanted}')
    required = len(ROWS) + 1 + len(OUTPUTS) + len(TOLD) + 1
    print(f'LAYER runner-self required={required} executed={executed} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
