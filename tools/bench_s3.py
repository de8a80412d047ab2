#!/usr/bin/env python3
"""Measures the S3 door: beside the REST door, this machine's limits and nginx.

    bench_s3.py [--only NAMES] [--rounds N] [--seconds S] [--data DIR] [--keys N] [--fill]
                [--holdfast PROGRAM] [--tools DIR]

NAMES, of these, with commas between: small (PUT and GET of 4 KiB, 64 connections, S3 beside REST, by
`holdfast bench`), multipart (one file of 1 GiB whose parts go over 8 connections, beside the disk's and the
hashes' limits and beside bench-limit, which does the same with each part), list (a
page of 1,000 common prefixes out of --keys keys), delete (1,000 keys by DeleteObjects, and one by
one), tls (GET of 64 MiB over TLS, beside nginx). What is compared is measured in turn, A B A B, and a
ratio is the median of the rounds' ratios. In a network namespace with reno, as root.

--fill only stores the keys of `list` below --data, which takes minutes; with --data they are used.
Prints a line of JSON for each figure; docs/benchmarks.md has them.
"""
import argparse
import base64
import hashlib
import http.client
import json
import mmap
import os
import re
import shlex
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, 'test/e2e'), os.path.join(ROOT, 'tools')]
from bench import enter_namespace, nginx_program  # noqa: E402
from certificates import Authority  # noqa: E402
from s3_raw import Raw, encode_query  # noqa: E402
from server import Server, free_port  # noqa: E402

MIB = 1 << 20
FILE, PART, CONNECTIONS = 1024 * MIB, 16 * MIB, 8  # of multipart
PREFIXES = 1000
NGINX = '''daemon off; worker_processes 2; pid {0}/nginx.pid; error_log {0}/error.log; user root;
events {{ worker_connections 64; }}
http {{ access_log off; sendfile on; tcp_nopush on; client_body_temp_path {0}/t1; proxy_temp_path {0}/t2;
    fastcgi_temp_path {0}/t3; uwsgi_temp_path {0}/t4; scgi_temp_path {0}/t5;
    server {{ listen 127.0.0.1:{1} ssl; root {0}/files; ssl_certificate {2}; ssl_certificate_key {3};
              ssl_protocols TLSv1.3; }} }}
'''


def tell(name, **figures):
    print(json.dumps({'figure': name, **figures}), flush=True)


def send_range(sock, file, offset):
    end = offset + PART
    while offset < end:
        offset += os.sendfile(sock.fileno(), file.fileno(), offset, end - offset)


def settle():
    """What was written and removed before is no work for what is measured next."""
    os.sync()
    time.sleep(0.5)


def cpu_of(pid):
    """Seconds of CPU that a process has taken."""
    with open(f'/proc/{pid}/stat', encoding='ascii') as file:
        fields = file.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def middle(values):
    return round(statistics.median(values), 3)


class Bench:
    def __init__(self, options, work):
        self.options, self.work = options, work

    def server(self, folder=None, *more):
        """A new server, or one over folder."""
        folder = folder or tempfile.mkdtemp(dir=self.work)
        os.makedirs(folder, exist_ok=True)
        server = Server([self.options.holdfast], f'{folder}/data', f'{folder}/log', list(more), timeout=600)
        server.s3_address = f'127.0.0.1:{free_port()}'
        return server

    def holdfast_bench(self, server, *words):
        """A run of `holdfast bench`; its report."""
        env = {**os.environ, 'HOLDFAST_KEY': server.key()}
        door = [] if '--door' in words else ['--url', f'http://{server.address}']
        done = subprocess.run([self.options.holdfast, 'bench', '--json', *door, *words, 'files'], env=env,
                              capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    def load(self, server, path, count):
        """PUTs of 100 bytes, names counted from 0 behind path."""
        subprocess.run([f'{self.options.tools}/bench-load', '--port', str(server.port), '--mode', 'put', '--connections',
                        '32', '--size', '100', '--requests', str(count), '--first', '0', '--auth', f'Bearer {server.key()}',
                        '--path', f'/v1/buckets/files/files/{path}'], check=True, capture_output=True)

    # --- figures ---

    def small(self):
        server = self.server().start()
        rates = {}
        for _ in range(self.options.rounds):
            for op in ('put', 'get'):
                for door in ('rest', 's3'):
                    where = ['--door', 's3', '--url', f'http://{server.s3_address}'] if door == 's3' else []
                    got = self.holdfast_bench(server, *where, '--size', '4KiB', '--connections', '64', '--mix', f'{op}=1',
                                              '--seconds', str(self.options.seconds))
                    figures = got['operations'][op]
                    assert figures['errors'] == 0, got
                    rates.setdefault((op, door), []).append(figures)
        for op in ('put', 'get'):
            rest, s3 = ([f['requests_per_second'] for f in rates[op, door]] for door in ('rest', 's3'))
            tell(f'{op} 4 KiB, 64 connections', rest=middle(rest), s3=middle(s3), ratio=middle(b / a for a, b in zip(rest, s3)),
                 s3_p50_ms=middle(f['p50_ms'] for f in rates[op, 's3']), s3_p99_ms=middle(f['p99_ms'] for f in rates[op, 's3']),
                 bar=0.8)
        server.stop()

    def disk(self):
        """Bytes a second that this machine writes and syncs: 1 GiB in pieces of 8 MiB, past the page cache, which
        is the faster way here."""
        piece = mmap.mmap(-1, 8 * MIB)  # aligned
        piece.write(os.urandom(8 * MIB))
        path = f'{self.work}/disk'
        start = time.monotonic()
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
        for _ in range(128):
            assert os.write(file, piece) == 8 * MIB
        os.fdatasync(file)
        os.close(file)
        took = time.monotonic() - start
        os.remove(path)
        return 1024 * MIB / took

    @staticmethod
    def hashes():
        """Bytes a second that all cores together hash: each byte needs an MD5, which is an S3 etag. At the same
        time, for two virtual cores may be one."""
        piece = os.urandom(8 * MIB)

        def run():
            for _ in range(16):
                hashlib.md5(piece)
                hashlib.sha256(piece)
        threads = [threading.Thread(target=run) for _ in range(os.cpu_count())]
        start = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(threads) * 128 * MIB / (time.monotonic() - start)

    def limit(self):
        """The limit program over a folder, and its port."""
        folder, port = tempfile.mkdtemp(dir=self.work), free_port()
        process = subprocess.Popen([f'{self.options.tools}/bench-limit', '--port', str(port), '--dir', folder, '--keys',
                                    '1', '--md5'], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b'ready\n'
        return process, port, folder

    def send_parts(self, port, file, requests):
        """Sends parts of file over CONNECTIONS connections: what (target, headers, offset) of each is, in
        requests. Their etags, in that order; the body goes by sendfile, so the client hardly takes a core."""
        etags, waiting = [None] * len(requests), list(enumerate(requests))[::-1]
        failures = []

        def run():
            try:
                with socket.create_connection(('127.0.0.1', port)) as sock:
                    answers = sock.makefile('rb')
                    while waiting:
                        i, (target, headers, offset) = waiting.pop()
                        head = ''.join(f'{name}: {value}\r\n' for name, value in headers.items())
                        sock.sendall(f'PUT {target} HTTP/1.1\r\n{head}Content-Length: {PART}\r\n\r\n'.encode())
                        send_range(sock, file, offset)
                        status = answers.readline()
                        while (line := answers.readline().rstrip()) != b'':
                            if line.lower().startswith(b'etag:'):
                                etags[i] = line.split(b':')[1].strip().decode()
                        assert status.split()[1] in (b'200', b'201'), status
            except (OSError, AssertionError, IndexError) as failure:
                failures.append(failure)
        threads = [threading.Thread(target=run) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures
        return etags

    def upload(self, server, file, name):
        """Bytes a second of one file of parts, from its beginning to the answer that it is there."""
        raw = Raw(int(server.s3_address.split(':')[1]), server.key())
        connection = http.client.HTTPConnection('127.0.0.1', raw.port, timeout=600)

        def ask(method, query, body=b''):
            signed = raw.sign(method, f'/files/{name}', query, (), hashlib.sha256(body).hexdigest())
            connection.request(method, f'/files/{name}?{query}', body=body, headers=signed)
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status == 200, text
            return text
        start = time.monotonic()
        upload = re.search('<UploadId>(.*)</UploadId>', ask('POST', 'uploads='))[1]
        requests = []
        for i in range(FILE // PART):
            query = encode_query({'partNumber': str(i + 1), 'uploadId': upload})
            requests.append((f'/files/{name}?{query}', raw.sign('PUT', f'/files/{name}', query, (), 'UNSIGNED-PAYLOAD'), i * PART))
        etags = self.send_parts(raw.port, file, requests)
        parts = ''.join(f'<Part><PartNumber>{i}</PartNumber><ETag>{etag}</ETag></Part>' for i, etag in enumerate(etags, 1))
        ask('POST', encode_query({'uploadId': upload}), f'<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>'.encode())
        took = time.monotonic() - start
        head = raw.sign('HEAD', f'/files/{name}')
        connection.request('HEAD', f'/files/{name}', headers=head)
        answer = connection.getresponse()
        answer.read()
        assert int(answer.headers['Content-Length']) == FILE, answer.headers
        connection.request('DELETE', f'/files/{name}', headers=raw.sign('DELETE', f'/files/{name}'))
        assert connection.getresponse().status == 204
        return FILE / took

    def multipart(self):
        path = f'{self.work}/file'
        with open(path, 'wb') as file:
            for _ in range(FILE // (8 * MIB)):
                file.write(os.urandom(8 * MIB))
            os.fsync(file.fileno())
        server = self.server().start()
        limit, port, folder = self.limit()
        rates = {name: [] for name in ('s3', 'limit', 'disk', 'hashes')}
        cpu = []
        try:
            with open(path, 'rb') as file:
                for i in range(self.options.rounds):
                    rates['disk'].append(self.disk())
                    rates['hashes'].append(self.hashes())
                    start = time.monotonic()
                    self.send_parts(port, file, [(f'/L{part}', {}, part * PART) for part in range(FILE // PART)])
                    rates['limit'].append(FILE / (time.monotonic() - start))
                    for part in range(FILE // PART):
                        os.remove(f'{folder}/L{part}')
                    settle()
                    before = cpu_of(server.process.pid)
                    rates['s3'].append(self.upload(server, file, f'm{i}'))
                    cpu.append(cpu_of(server.process.pid) - before)
                    settle()
        finally:
            limit.terminate()
            limit.wait()
        whole = [min(pair) for pair in zip(rates['disk'], rates['hashes'])]
        tell(f'one file of 1 GiB in parts of {PART // MIB} MiB over {CONNECTIONS} connections',
             **{f'{name}_MiB_per_second': [round(rate / MIB) for rate in found] for name, found in rates.items()},
             server_cpu_seconds=middle(cpu), to_disk_or_hashes=middle(a / b for a, b in zip(rates['s3'], whole)),
             to_limit=middle(a / b for a, b in zip(rates['s3'], rates['limit'])), bar=0.8)
        server.stop()

    def fill(self):
        server = self.server(self.options.data).start()
        for i in range(PREFIXES):
            self.load(server, f'p{i:04d}%2F', self.options.keys // PREFIXES)
        server.stop()

    def list(self):
        server = self.server(self.options.data).start()
        if not self.options.data:
            for i in range(PREFIXES):
                self.load(server, f'p{i:04d}%2F', self.options.keys // PREFIXES)
        raw = Raw(int(server.s3_address.split(':')[1]), server.key())
        connection = http.client.HTTPConnection('127.0.0.1', raw.port, timeout=600)
        query = encode_query({'list-type': '2', 'delimiter': '/', 'max-keys': '1000'})
        times = []
        for _ in range(100):
            signed = raw.sign('GET', '/files', query)
            start = time.monotonic()
            connection.request('GET', f'/files?{query}', headers=signed)
            body = connection.getresponse().read()
            times.append(time.monotonic() - start)
            assert body.count(b'<CommonPrefixes>') == PREFIXES, body[:500]
        times.sort()
        tell(f'list of 1,000 common prefixes out of {self.options.keys} keys', p50_ms=middle(times) * 1000,
             p99_ms=round(times[98] * 1000, 1), bytes=len(body), bar_p50_ms=30)
        server.stop()

    def delete(self):
        server = self.server().start()
        raw = Raw(int(server.s3_address.split(':')[1]), server.key())
        connection = http.client.HTTPConnection('127.0.0.1', raw.port, timeout=600)

        def syncs():
            text = server.request('GET', '/metrics').body.decode()
            return int(re.search(r'^holdfast_wal_batch_records_count (\d+)', text, re.M)[1])

        def ask(method, target, signed, body=None):
            connection.request(method, target, body=body, headers=signed)
            got = connection.getresponse()
            text = got.read()
            assert got.status in (200, 204), text
            return text
        many, single, batches = [], [], []
        for _ in range(self.options.rounds):
            self.load(server, 'd', 1000)
            xml = '<Delete>' + ''.join(f'<Object><Key>d{i:08d}</Key></Object>' for i in range(1000)) + '</Delete>'
            body = xml.encode()
            signed = raw.sign('POST', '/files', 'delete=', {'x-amz-checksum-sha256': base64.b64encode(
                hashlib.sha256(body).digest()).decode()}, hashlib.sha256(body).hexdigest())
            before, start = syncs(), time.monotonic()
            text = ask('POST', '/files?delete=', signed, body)
            many.append(time.monotonic() - start)
            batches.append(syncs() - before)
            assert text.count(b'<Deleted>') == 1000
            self.load(server, 'd', 1000)
            requests = [(f'/files/d{i:08d}', raw.sign('DELETE', f'/files/d{i:08d}')) for i in range(1000)]
            start = time.monotonic()
            for target, signed in requests:
                ask('DELETE', target, signed)
            single.append(time.monotonic() - start)
        tell('DeleteObjects of 1,000 keys', ms=round(middle(many) * 1000, 1), one_by_one_ms=round(middle(single) * 1000),
             ratio=middle(b / a for a, b in zip(many, single)), batches_of_the_log=batches, bar=20)
        server.stop()

    def tls(self):
        authority = Authority(f'{self.work}/authority')
        cert, key = f'{self.work}/tls.pem', f'{self.work}/tls.key'
        authority.make(cert, key)
        server = self.server(None, '--tls-cert', cert, '--tls-key', key)
        server.tls = ssl.create_default_context(cafile=authority.cert)
        server.start()
        body = os.urandom(64 * MIB)
        assert server.put('files', 'L', body).status == 201
        raw = Raw(int(server.s3_address.split(':')[1]), server.key())
        folder = f'{self.work}/nginx'
        os.makedirs(f'{folder}/files')
        with open(f'{folder}/files/L', 'wb') as file:
            file.write(body)
        port = free_port()
        with open(f'{folder}/conf', 'w', encoding='ascii') as file:
            file.write(NGINX.format(folder, port, cert, key))
        nginx = subprocess.Popen([nginx_program(), '-p', folder, '-c', f'{folder}/conf'])
        try:
            time.sleep(1)  # its workers start
            urls = {'nginx': f'https://127.0.0.1:{port}/L',
                    's3': f'https://127.0.0.1:{raw.port}' + raw.presign('GET', '/files/L', expires='3600')}
            rates = {name: [] for name in urls}
            for _ in range(3 * self.options.rounds):
                for name, url in urls.items():
                    done = subprocess.run(['curl', '-sS', '--fail', '--cacert', authority.cert, '-w', '%{size_download} %{time_total} ',
                                           *shlex.split('-o /dev/null'), url, *shlex.split('-o /dev/null'), url,
                                           *shlex.split('-o /dev/null'), url], capture_output=True, text=True, check=True)
                    figures = [float(word) for word in done.stdout.split()]
                    assert figures[0::2] == [64 * MIB] * 3, done.stdout
                    rates[name].append(sum(figures[0::2]) / sum(figures[1::2]) / MIB)
            tell('TLS GET 64 MiB, one connection', s3_MiB_per_second=round(middle(rates['s3'])),
                 nginx_MiB_per_second=round(middle(rates['nginx'])),
                 ratio=middle(a / b for a, b in zip(rates['s3'], rates['nginx'])), bar=1.0)
        finally:
            nginx.terminate()
            nginx.wait()
            server.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', default='small,multipart,list,delete,tls')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--seconds', type=int, default=4)
    parser.add_argument('--data')
    parser.add_argument('--keys', type=int, default=1000000)
    parser.add_argument('--fill', action='store_true')
    parser.add_argument('--holdfast', default=f'{ROOT}/build-release/holdfast')
    parser.add_argument('--tools', default=f'{ROOT}/build-test/test')
    options = parser.parse_args()
    network = enter_namespace()
    with tempfile.TemporaryDirectory(prefix='holdfast-bench-s3-') as work:
        bench = Bench(options, work)
        if options.fill:
            bench.fill()
            return
        tell('machine', network=network, cores=os.cpu_count())
        for name in options.only.split(','):
            getattr(bench, name)()


if __name__ == '__main__':
    main()
