#!/usr/bin/env python3
"""schemathesis against a running server: requests made up from /openapi.json, good and bad ones, must
find nothing that differs from it.

    made_up.py BINARY PYTHON

PYTHON is that of a venv with the pinned schemathesis (`./dev api-tools` makes it). Version, seed,
checks and number of examples are fixed, so that a failure comes again. Prints
`LAYER schemathesis required= executed= failed=`, where one test is one operation.
"""
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import Server  # noqa: E402

VERSION = '4.32.5'
SEED = 20240611
EXAMPLES = 12  # of one operation and mode
CHECKS = ('not_a_server_error', 'status_code_conformance', 'content_type_conformance',
          'response_headers_conformance', 'response_schema_conformance', 'negative_data_rejection',
          'positive_data_acceptance', 'missing_required_header', 'unsupported_method',
          'allow_header_conformance', 'use_after_free', 'ignored_auth')
# A precondition, a range or a digest that was made up does not hold: that is no wrong refusal.
CONFIG = '''
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "400", "401", "403", "404", "409", "412", "416"]
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "412", "414", "416", "431"]
'''


def main():
    binary, python = shlex.split(sys.argv[1]), os.path.abspath(sys.argv[2])
    found = subprocess.run([python, '-m', 'pip', 'show', 'schemathesis'], capture_output=True,
                           text=True, check=True).stdout
    assert f'Version: {VERSION}\n' in found, found
    folder = tempfile.mkdtemp(prefix='holdfast-schemathesis-')
    server = Server(binary, f'{folder}/d', f'{folder}/log')
    try:
        server.start()
        api = server.request('GET', '/openapi.json', key=None)
        with open(f'{folder}/openapi.json', 'wb') as out:
            out.write(api.body)
        operations = sum(len(verbs) for verbs in api.json()['paths'].values())
        with open(f'{folder}/schemathesis.toml', 'w', encoding='ascii') as out:
            out.write(CONFIG)
        command = [python, '-m', 'schemathesis.cli',
                   '--config-file', f'{folder}/schemathesis.toml', 'run',
                   f'{folder}/openapi.json', '--url', f'http://{server.address}', '--checks', ','.join(CHECKS),
                   '--header', f'Authorization: Bearer {server.key()}', '--seed', str(SEED),
                   '--max-examples', str(EXAMPLES), '--phases', 'examples,coverage,fuzzing,stateful',
                   '--continue-on-failure', '--request-timeout', '60', '--no-color',
                   '--suppress-health-check', 'all', '--report', 'json',
                   '--report-json-path', f'{folder}/report.json']
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, check=False)
        print(done.stdout[-60000:])
        tested = re.search(r'Tested: (\d+)', done.stdout)
        executed = int(tested.group(1)) if tested else 0
        alive = server.process.poll() is None and server.request('GET', '/readyz').status == 200
        failed = (done.returncode != 0) + (not alive)
        print(f'LAYER schemathesis required={operations} executed={executed} failed={failed}')
        return 1 if failed or executed < operations else 0
    finally:
        server.end()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
