#!/usr/bin/env python3
"""The OpenAPI document and its page: the document is valid and what the server takes, the page shows
it in a browser without any network, and contract.py sees what differs.

    openapi.py BINARY PYTHON [TEST...]

PYTHON is that of a venv with openapi-spec-validator (`./dev api-tools` makes it). Prints
`LAYER openapi required= executed= failed=`, where one test is one function below.
"""
import copy
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import contract  # noqa: E402
from smoke import expect  # noqa: E402
from suite import Suite  # noqa: E402

SUITE = Suite('openapi')
test = SUITE.test
PYTHON = None
VERBS = ('GET', 'PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS')


def document(server):
    return server.request('GET', '/openapi.json', key=None).json()


@test
def is_valid(server):
    """By the specification's own schema; what is served is what the binary prints."""
    printed = subprocess.run([*SUITE.binary, 'openapi'], check=True, capture_output=True).stdout
    for _ in range(6):  # each loop prints it once, and keeps it
        expect(server.request('GET', '/openapi.json', key=None).body, printed.rstrip(b'\n'))
    path = os.path.join(os.path.dirname(server.data), 'openapi.json')
    with open(path, 'wb') as out:
        out.write(printed)
    check = [PYTHON, '-m', 'openapi_spec_validator', '--schema', '3.1', path]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    expect(done.returncode, 0, (done.stdout + done.stderr)[:2000])
    api = json.loads(printed)
    api['paths']['/healthz']['get']['responses'] = 7
    with open(path, 'w', encoding='utf-8') as out:
        json.dump(api, out)
    expect(subprocess.run(check, capture_output=True, check=False).returncode != 0, True,
           'a broken document passes')


@test
def names_are_used(server):
    """Each schema and header is referred to, each reference has its aim, each id is there once."""
    api = document(server)
    text = json.dumps(api)
    aims = set(re.findall(r'"\$ref": "#/components/(\w+/[\w-]+)"', text))
    there = {f'{kind}/{name}' for kind in ('schemas', 'headers') for name in api['components'][kind]}
    expect(aims, there)
    ids = [o['operationId'] for verbs in api['paths'].values() for o in verbs.values()]
    expect(len(ids), len(set(ids)))


@test
def methods(server):
    """Each address takes what the document says, and for the rest answers 405 with that list."""
    for template, verbs in document(server)['paths'].items():
        path = template.replace('{key}', 'k').replace('{bucket}', 'nobody').replace(
            '{id}', '0' * 26).replace('{part}', 'docs.js')
        wanted = {verb.upper() for verb in verbs} | ({'HEAD'} if 'get' in verbs else set())
        for verb in VERBS:
            answer = server.request(verb, path)
            if verb in wanted:
                expect(answer.status != 405, True, f'{verb} {path}')
            else:
                expect(answer.status, 405, f'{verb} {path}')
                expect(set(answer.headers['Allow'].split(', ')), wanted, path)
        for verb, operation in verbs.items():
            closed = server.request(verb.upper(), path, key=None)
            is_open = operation.get('security') == [] or {} in operation.get('security', ())
            expect(closed.status == 401, not is_open, f'{verb} {path}')


@test
def differences_are_seen(server):
    """contract.py refuses an answer with anything that the document lacks."""
    api = contract.document(tuple(SUITE.binary))
    put = server.put('files', 'a', b'x', headers={'Holdfast-Meta-A': 'b'})
    path = server.name_path('files', 'a')
    good = (201, dict(put.headers.items()), put.json())
    refused = server.put('files', 'a', b'x', headers={'If-None-Match': '*'})
    problem = (412, dict(refused.headers.items()), refused.json())

    def fits(status, headers, value, method='PUT', target=path):
        try:
            api.check(method, target, status, headers.items(), json.dumps(value).encode())
            return True
        except contract.Undocumented:
            return False

    expect((fits(*good), fits(*problem)), (True, True))
    for change in ({'more': 1}, {'size': '1'}, {'size': -1}, {'id': 'x'}, {'created_at': 'today'},
                   {'durability': {}}, {'meta': {'a': 1}}, {'name': 1}, {'sha256': 'X'}):
        expect(fits(good[0], good[1], {**good[2], **change}), False, change)
    for name in good[2]:
        less = copy.copy(good[2])
        del less[name]
        expect(fits(good[0], good[1], less), False, f'without {name}')
    expect(fits(202, good[1], good[2]), False, 'status')
    expect(fits(201, {**good[1], 'X-New': '1'}, good[2]), False, 'header')
    expect(fits(201, {**good[1], 'Content-Type': 'text/plain'}, good[2]), False, 'media')
    expect(fits(412, problem[1], {**problem[2], 'code': 'exists'}), False, 'code')
    expect(fits(*good, target='/v1/nothing'), False, 'address')
    expect(fits(*good, method='PATCH'), False, 'method')


@test
def page(server):
    """A browser that reaches nothing but this server shows every operation."""
    answer = server.request('GET', '/docs', key=None)
    expect(answer.status, 200)
    expect("default-src 'none'" in answer.headers['Content-Security-Policy'], True)
    # Its empty icon; else each load of the page is a complaint in the browser's console.
    expect('img-src data:;' in answer.headers['Content-Security-Policy'], b'href="data:,"' in answer.body)
    for part in ('/docs', '/docs/docs.js', '/docs/docs.css'):
        body = server.request('GET', part, key=None).body.decode()
        expect(re.findall(r'(?:https?:)?//[a-z0-9]', body), [], part)
    expect(server.request('GET', '/docs/../root.key', key=None).status, 404)
    profile = os.path.join(os.path.dirname(server.data), 'profile')
    shown = subprocess.run(
        ['chromium', '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
         f'--user-data-dir={profile}', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
         '--virtual-time-budget=20000', '--dump-dom', f'http://{server.address}/docs'],
        capture_output=True, text=True, timeout=300, check=False)
    expect('data-shown="true"' in shown.stdout, True, shown.stdout[-500:] + shown.stderr[-1000:])
    for verbs in document(server)['paths'].values():
        for operation in verbs.values():
            expect(f'id="{operation["operationId"]}"' in shown.stdout, True, operation['summary'])


PAGE = """<!doctype html><meta charset="utf-8"><pre id="told"></pre><script>
const told = (text) => { document.getElementById('told').textContent += text + '\\n'; };
(async () => {
  const [base, key] = decodeURIComponent(location.hash.slice(1)).split(' ');
  const auth = {Authorization: 'Bearer ' + key};
  const file = base + '/v1/buckets/files/files/page';
  const put = await fetch(file, {method: 'PUT', body: 'by a page',
                                 headers: {...auth, 'Holdfast-Meta-Who': 'page', 'If-None-Match': '*'}});
  told('put ' + put.status + ' ' + (put.headers.get('etag') !== null));
  const get = await fetch(file, {headers: {...auth, Range: 'bytes=3-8'}});
  told('get ' + get.status + ' ' + await get.text() + ' ' + get.headers.get('content-range') + ' ' +
       get.headers.get('holdfast-meta-who') + ' ' + (get.headers.get('holdfast-version') !== null));
  const refused = await fetch(file, {headers: {Authorization: 'Bearer wrong'}});
  told('refused ' + refused.status + ' ' + (await refused.json()).code);
  const gone = await fetch(file, {method: 'DELETE', headers: auth});
  told('gone ' + gone.status);
})().catch((failure) => told('failed ' + failure)).finally(() => told('end'));
</script>"""


class Pages(http.server.BaseHTTPRequestHandler):
    """A server of another origin, with one page."""

    def do_GET(self):
        body = PAGE.encode()
        self.send_response(200)
        self.send_header('Content-Type', 'text/html')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):  # not to stderr
        pass


def shown_by_browser(server, folder, origin):
    """What the page of that origin tells when it has used the server."""
    hash_part = urllib.parse.quote(f'http://{server.address} {server.key()}')
    shown = subprocess.run(
        ['chromium', '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
         f'--user-data-dir={folder}/profile', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
         '--virtual-time-budget=60000', '--dump-dom', f'{origin}/#{hash_part}'],
        capture_output=True, text=True, timeout=300, check=False)
    told = re.search(r'<pre id="told">(.*?)</pre>', shown.stdout, re.S)
    expect(told is not None and told.group(1).endswith('end\n'), True, shown.stdout[-500:] + shown.stderr[-1000:])
    return told.group(1).splitlines()[:-1]


@SUITE.bare
def pages_of_other_origins(folder):
    """A page in a real browser reads and writes files of a server that lists its origin, or all; of one
    that does not it learns nothing."""
    pages = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Pages)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    origin = f'http://127.0.0.1:{pages.server_address[1]}'
    try:
        for setting in (f'https://other.example,{origin}', '*', 'https://other.example'):
            server = SUITE.server(folder, '--cors-origins', setting).start()
            try:
                told = shown_by_browser(server, folder, origin)
                if origin in setting or setting == '*':
                    expect(told, ['put 201 true', 'get 206 a page bytes 3-8/9 page true',
                                  'refused 401 unauthenticated', 'gone 204'], setting)
                else:
                    expect([line.split()[0] for line in told], ['failed'], told)
                    expect(server.get('files', 'page').status, 404)
                expect(server.stop(), 0)
            finally:
                server.end()
    finally:
        pages.shutdown()
        pages.server_close()


if __name__ == '__main__':
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    PYTHON = sys.argv.pop(2)
    sys.exit(SUITE.main(sys.argv, __doc__))
