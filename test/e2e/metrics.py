#!/usr/bin/env python3
"""/metrics, the alerts and the dashboard against Debian's own Prometheus.

    metrics.py BINARY TOOLS [TEST...]

TOOLS holds prometheus and promtool (`./dev metrics-tools` unpacks them). Prints
`LAYER metrics required= executed= failed=`, where one test is one function below.
"""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ports import free_port  # noqa: E402
from server import Server  # noqa: E402
from smoke import expect  # noqa: E402
from suite import Suite  # noqa: E402

DEPLOY = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../deploy')
RULES = os.path.join(DEPLOY, 'prometheus/rules')
SUITE = Suite('metrics')
test = SUITE.test
TOOLS = None
SECONDS_MAX = 240  # until Prometheus has seen all
BUCKETS_MAX = 100  # of metrics.c


def tool(name, *arguments, stdin=None):
    """(exit status, what it said)"""
    done = subprocess.run([os.path.join(TOOLS, name), *arguments], input=stdin, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout


def traffic(server):
    """A bit of everything that counts."""
    for i in range(5):
        server.put('files', f'small/{i}', b'x' * 3000)
        server.put('files', f'large/{i}', b'x' * 300000)
        server.get('files', f'small/{i}')
        server.get('files', f'large/{i}')
    server.get('files', 'absent')
    server.request('DELETE', server.name_path('files', 'small/1'))
    server.request('GET', '/v1/files?bucket=files')


def metrics(server, accept=None, key='root'):
    headers = {'Accept': accept} if accept else {}
    return server.request('GET', '/metrics', headers=headers, key=key)


def samples(text):
    """Labels of each name."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith('#'):
            name, labels = re.fullmatch(r'(\w+)(?:\{(.*)\})? \S+', line).groups()
            found.setdefault(name, []).append(labels or '')
    return found


@test
def lint(server):
    """promtool has nothing to say, and would have."""
    traffic(server)
    text = metrics(server).body.decode()
    expect(tool('promtool', 'check', 'metrics', stdin=text), (0, ''))
    status, said = tool('promtool', 'check', 'metrics', stdin=text.replace(
        'holdfast_cache_hits_total', 'holdfast_cache_hits'))
    expect(status != 0 and 'holdfast_cache_hits' in said, True, said)


@test
def openmetrics(server):
    """When Accept asks for it, with the same samples; else Prometheus text."""
    traffic(server)
    plain = metrics(server)
    other = metrics(server, 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5')
    expect(plain.headers['Content-Type'], 'text/plain; version=0.0.4; charset=utf-8')
    expect(other.headers['Content-Type'],
           'application/openmetrics-text; version=1.0.0; charset=utf-8')
    text = other.body.decode()
    expect(text.endswith('\n# EOF\n'), True)
    expect(set(samples(text)), set(samples(plain.body.decode())))
    families = set(re.findall(r'^# TYPE (\w+) counter$', text, re.M))
    expect([name for name in families if name.endswith('_total')], [])
    expect({f'{name}_total' for name in families} <= set(samples(text)), True)
    for bound in re.findall(r'le="([^"]*)"', text):
        expect(bound == '+Inf' or '.' in bound or 'e' in bound, True, bound)


@test
def labels_are_bounded(server):
    """Whatever clients send: no name of a file, no more than so many buckets, known statuses."""
    for i in range(BUCKETS_MAX + 20):
        server.request('PUT', f'/v1/buckets/bucket-{i:03}')
        server.put(f'bucket-{i:03}', 'secret-name', b'12345')
    for path in ('/secret-name', '/v1/secret-name', '/v1/files/secret-name'):
        for method in ('GET', 'PUT', 'POST', 'BREW'):
            server.request(method, path)
    text = metrics(server).body.decode()
    expect('secret' in text, False)
    found = samples(text)
    for name in ('holdfast_bucket_bytes', 'holdfast_bucket_files'):
        expect(len(found[name]), BUCKETS_MAX + 1, name)
    other = re.search(r'^holdfast_bucket_bytes\{bucket="_other"\} (\d+)$', text, re.M)
    expect(other.group(1), '100', 'bytes of the 20 buckets behind, and of `files`')
    series = sum(len(labels) for labels in found.values())
    expect(series < 3000, True, series)
    for labels in found['http_server_request_duration_seconds_count']:
        expect(re.fullmatch(r'door="rest",op="[a-z_]+",code="\d{3}"', labels) is not None, True,
               labels)
    bounds = re.findall(r'^http_server_request_duration_seconds_bucket\{door="rest",op="put",'
                        r'code="201",le="([^"]*)"\}', text, re.M)
    expect(bounds, ['0.005', '0.01', '0.025', '0.05', '0.075', '0.1', '0.25', '0.5', '0.75', '1',
                    '2.5', '5', '7.5', '10', '+Inf'])


@test
def buckets_want_a_key(server):
    """Names and sizes of buckets are for who shows a key; all else is for everybody."""
    expect(server.request('PUT', '/v1/buckets/secret-plans').status, 201)
    server.put('secret-plans', 'a', b'12345')
    text = metrics(server).body.decode()
    expect('\nholdfast_bucket_bytes{bucket="secret-plans"} 5\n' in text, True)
    expect('\nholdfast_bucket_files{bucket="secret-plans"} 1\n' in text, True)
    plain = metrics(server, key=None)
    expect((plain.status, b'secret-plans' in plain.body), (200, False))
    expect(set(samples(text)) - set(samples(plain.body.decode())),
           {'holdfast_bucket_bytes', 'holdfast_bucket_files'})
    expect(metrics(server, key=server.key()[:-1] + '!').status, 401)


def break_index(server):
    """Starts a server that has files, takes the pages of its index away, and asks for metrics."""
    traffic(server.start())
    expect(server.stop(), 0)
    server.start()
    path = f'{server.data}/index.db'
    with open(path, 'r+b') as index:
        size = os.path.getsize(path)
        index.seek(4096)
        index.write(b'\xff' * (size - 4096))
    return metrics(server)


@test
def broken_index(server):
    """An index that cannot be read takes no metrics away: what buckets hold is known without it."""
    for attempt in range(3):  # what the server has just written it may still read elsewhere
        other = Server(SUITE.binary, f'{server.data}{attempt}', server.log)
        try:
            answer = break_index(other)
        finally:
            other.end()
        expect(answer.status, 200, answer.body)
        text = answer.body.decode()
        for name in ('holdfast_files_at_risk', 'holdfast_ready', 'process_open_fds'):
            expect(name in samples(text), True, name)
        expect(f'\nholdfast_bucket_bytes{{bucket="files"}} {4 * 3000 + 5 * 300000}\n' in text, True)


@test
def alerts(server):
    """Their own tests pass, fail when a threshold is another, and each metric in them exists."""
    path = os.path.join(RULES, 'holdfast.yml')
    status, said = tool('promtool', 'check', 'rules', path)
    expect(status, 0, said)
    status, said = tool('promtool', 'test', 'rules', os.path.join(RULES, 'holdfast_test.yml'))
    expect(status, 0, said)
    with open(path, encoding='utf-8') as lines:
        rules = lines.read()
    there = set(samples(metrics(server).body.decode()))
    for name in set(re.findall(r'\b(?:holdfast|process|http_server)_\w+', rules)):
        expect(name in there, True, name)
    folder = os.path.dirname(server.data)
    shutil.copy(os.path.join(RULES, 'holdfast_test.yml'), folder)
    for old, new in (('> 0.05', '> 0.5'), ('== 1', '== 2'), ('> 0.5\n', '> 5\n'), ('> 0\n', '> 4\n'),
                     ('for: 2m', 'for: 0m'), ('full == 1', 'full == 2'), ('failing == 1', 'failing == 2'),
                     ('== -1', '== -2')):
        expect(old in rules, True, old)
        with open(f'{folder}/holdfast.yml', 'w', encoding='utf-8') as out:
            out.write(rules.replace(old, new))
        status, said = tool('promtool', 'test', 'rules', f'{folder}/holdfast_test.yml')
        expect(status != 0, True, f'{old} -> {new} is not noticed')


@test
def documented(server):
    """docs/metrics.md names each metric, and no other, and says of each what the server says."""
    traffic(server)
    text = metrics(server).body.decode()
    kinds = dict(re.findall(r'^# TYPE (\w+) (\w+)$', text, re.M))
    helps = dict(re.findall(r'^# HELP (\w+) (.*)$', text, re.M))
    with open(os.path.join(DEPLOY, '../docs/metrics.md'), encoding='utf-8') as lines:
        rows = re.findall(r'^\| `(\w+)` \| (\w+) \| [^|]*\| ([^|]*) \|$', lines.read(), re.M)
    expect({name: (kind, said) for name, kind, said in rows},
           {name: (kind, helps[name]) for name, kind in kinds.items()})


def expressions():
    """(title, expression) of all panels."""
    found = []
    for path in glob.glob(os.path.join(DEPLOY, 'grafana/*.json')):
        with open(path, encoding='utf-8') as lines:
            board = json.load(lines)
        for panel in board['panels']:
            for target in panel.get('targets', []):
                text = target['expr'].replace('$__rate_interval', '20s').replace('$instance', '.+')
                expect('$' in text, False, text)
                found.append((panel['title'], text))
    return found


def query(port, text):
    address = f'http://127.0.0.1:{port}/api/v1/query?' + urllib.parse.urlencode({'query': text})
    with urllib.request.urlopen(address, timeout=60) as answer:
        return json.load(answer)['data']['result']


def configure(server, folder):
    """The configuration that is shipped, for this server and more often."""
    with open(os.path.join(DEPLOY, 'prometheus/prometheus.yml'), encoding='utf-8') as lines:
        text = lines.read()
    for old, new in (('127.0.0.1:9001', server.address), ('interval: 15s', 'interval: 1s'),
                     ('# authorization:', 'authorization:'), ('#   credentials', '  credentials'),
                     ('/etc/prometheus/holdfast.key', os.path.abspath(f'{server.data}/root.key')),
                     ('rules/holdfast.yml', os.path.abspath(f'{RULES}/holdfast.yml'))):
        expect(old in text, True, old)
        text = text.replace(old, new)
    path = f'{folder}/prometheus.yml'
    with open(path, 'w', encoding='utf-8') as out:
        out.write(text)
    status, said = tool('promtool', 'check', 'config', path)
    expect(status, 0, said)
    return path


@test
def dashboard(server):
    """Each expression of the dashboard returns data from a Prometheus that scrapes the server."""
    folder = os.path.dirname(server.data)
    config, port, done = configure(server, folder), free_port(), threading.Event()
    wanted = expressions()
    expect(len(wanted) > 30, True)

    def write():
        while not done.is_set():
            traffic(server)
            done.wait(0.2)

    writer = threading.Thread(target=write)
    with open(f'{folder}/prometheus.log', 'wb') as log:
        prometheus = subprocess.Popen(
            [os.path.join(TOOLS, 'prometheus'), f'--config.file={config}',
             f'--storage.tsdb.path={folder}/tsdb', f'--web.listen-address=127.0.0.1:{port}'],
            stdout=log, stderr=log)
    try:
        writer.start()
        end = time.monotonic() + SECONDS_MAX
        while wanted and time.monotonic() < end:
            time.sleep(0.5)
            try:
                wanted = [(title, text) for title, text in wanted if not query(port, text)]
            except OSError as error:
                if isinstance(error, urllib.error.HTTPError) and error.code == 400:
                    raise AssertionError(error.read()) from None
        expect(wanted, [], 'no data')
        expect([s['value'][1] for s in query(port, 'up{job="holdfast"}')], ['1'])
        expect(query(port, 'holdfast_no_such_thing'), [])
    finally:
        done.set()
        writer.join()
        prometheus.terminate()
        prometheus.wait()


if __name__ == '__main__':
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    TOOLS = os.path.abspath(sys.argv.pop(2))
    sys.exit(SUITE.main(sys.argv, __doc__))
