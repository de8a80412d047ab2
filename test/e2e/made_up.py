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
          'allow_header_conformance', 'use_after_free', 'ignored_auth', 'good_key_is_taken')
# A precondition, a range or a digest that was made up does not hold: that is no wrong refusal. 403 is
# a quota that another request made up; good_key_is_taken lets no other pass, and no 401.
CONFIG = '''
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "400", "403", "404", "409", "410", "412", "413", "416", "507"]
[checks.missing_required_header]
expected-statuses = ["400", "403", "406", "412", "415", "422"]
[checks.negative_data_rejection]
expected-statuses = ["400", "403", "404", "405", "412", "413", "414", "415", "416", "431", "507"]
[[operations]]
include-name = "POST /v1/uploads"
# It has headers that are required; one that nobody knows, which is fine, is made up beside them.
checks.negative_data_rejection.expected-statuses = ["201", "400", "404", "412", "413", "415", "431"]
'''
# Media types that it does not know: bytes.
HOOKS = '''
import schemathesis

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")


@schemathesis.check
def good_key_is_taken(ctx, response, case):
    """Whatever is asked with a good key, the key is not what is wrong."""
    if response.status_code == 401:
        raise AssertionError("a good key was answered by 401")
    if response.status_code == 403 and response.json().get("code") != "quota-exceeded":
        raise AssertionError(f"a key that may do all was answered by 403: {response.text}")
'''

VALUES = {'bucket': 'files', 'key...': 'made/up', 'key': 'made/up'}  # of paths


def wrong_keys(server, api):
    """Each operation that wants a key takes none that is wrong: how many were asked, what was wrong."""
    key_id, secret = server.key().split('.')
    other_id = key_id[:-1] + ('0' if key_id[-1] != '0' else '1')
    last = 'a' if secret[-1] != 'a' else 'b'
    keys = {'none': None, 'another secret': f'Bearer {key_id}.{secret[:-1]}{last}',
            'another id': f'Bearer {other_id}.{secret}', 'half of it': f'Bearer {key_id}',
            'no secret': f'Bearer {key_id}.', 'another scheme': f'Digest {key_id}.{secret}'}
    asked, wrong = 0, []
    for path, verbs in api['paths'].items():
        for verb, operation in verbs.items():
            wants = operation.get('security', api.get('security'))
            if not wants or {} in wants:  # /metrics shows more to who has one
                continue
            asked += 1
            target = re.sub(r'{(.*?)}', lambda m: VALUES.get(m.group(1), '0' * 26), path)
            for what, value in keys.items():
                headers = {'Tus-Resumable': '1.0.0', **({'Authorization': value} if value else {})}
                answer = server.request(verb.upper(), target, headers=headers, key=None)
                if answer.status != 401 or 'WWW-Authenticate' not in answer.headers:
                    wrong.append(f'{verb.upper()} {target} with {what}: {answer.status}')
    return asked, wrong



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
        with open(f'{folder}/hooks.py', 'w', encoding='ascii') as out:
            out.write(HOOKS)
        command = [python, '-m', 'schemathesis.cli',
                   '--config-file', f'{folder}/schemathesis.toml', 'run',
                   f'{folder}/openapi.json', '--url', f'http://{server.address}', '--checks', ','.join(CHECKS),
                   '--header', f'Authorization: Bearer {server.key()}', '--seed', str(SEED),
                   '--max-examples', str(EXAMPLES), '--phases', 'examples,coverage,fuzzing,stateful',
                   '--continue-on-failure', '--request-timeout', '60', '--no-color',
                   '--suppress-health-check', 'all', '--report', 'json',
                   '--report-json-path', f'{folder}/report.json']
        env = {**os.environ, 'SCHEMATHESIS_HOOKS': 'hooks', 'PYTHONPATH': folder}
        done = subprocess.run(command, cwd=folder, env=env, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, check=False)
        print(done.stdout[-60000:])
        tested = re.search(r'Tested: (\d+)', done.stdout)
        executed = int(tested.group(1)) if tested else 0
        alive = server.process.poll() is None and server.request('GET', '/readyz').status == 200
        asked, wrong = wrong_keys(server, api.json())
        print(f'wrong keys: {asked} operations, {len(wrong)} answers that are not 401', *wrong, sep='\n  ')
        failed = (done.returncode != 0) + (not alive) + len(wrong)
        required, executed = operations + asked, executed + asked
        print(f'LAYER schemathesis required={required} executed={executed} failed={failed}')
        return 1 if failed or executed < required else 0
    finally:
        server.end()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
