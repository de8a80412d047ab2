#!/usr/bin/env python3
"""TLS on both doors: what clients do over it, what is refused, certificates that are renewed while
clients are there, and a start that says what is wrong with them.

    tls.py BINARY [TEST...]

To be run by the Python of a venv with boto3 (`./dev s3-tools` makes it). Prints
`LAYER tls required= executed= failed=`, where one test is one function below.
"""
import hashlib
import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import smoke  # noqa: E402
from certificates import Authority, openssl  # noqa: E402
from ports import free_port  # noqa: E402
from smoke import content, expect  # noqa: E402
from suite import Suite  # noqa: E402

SUITE = Suite('tls')
bare = SUITE.bare
MIB = 1 << 20
HANDSHAKE_S = 10  # that the server gives a client
LONG_S = 120      # within which all happens that does, on a machine that is ten times slower


class Case:
    """An authority, a certificate of it, and a server that has that."""

    def __init__(self, folder, *options):
        self.folder = folder
        self.authority = Authority(f'{folder}/authority')
        self.cert, self.key = f'{folder}/tls.pem', f'{folder}/tls.key'
        self.authority.make(self.cert, self.key)
        self.server = SUITE.server(folder, '--tls-cert', self.cert, '--tls-key', self.key, *options)
        self.server.tls = self.authority.trust()

    def connect(self, **more):
        """A TLS connection of its own, with these attributes of the context."""
        plain = socket.create_connection(('127.0.0.1', self.server.port), LONG_S)
        return self.authority.trust(**more).wrap_socket(plain, server_hostname='127.0.0.1')

    def metric(self, name):
        text = self.server.request('GET', '/metrics', key=None).body.decode()
        return float(re.search(rf'^{re.escape(name)} (\S+)$', text, re.M)[1])

    def run(self, *words, status=0, **env):
        """The command line, as a user of this server."""
        env = {**os.environ, 'HOLDFAST_URL': f'https://{self.server.address}',
               'HOLDFAST_KEY': self.server.key(), **env}
        done = subprocess.run([*SUITE.binary, *words], capture_output=True, text=True, check=False,
                              env=env, timeout=LONG_S)
        expect(done.returncode, status, f'{words}: {done.stderr}')
        return done.stdout + done.stderr

    def log_has(self, event, count=1):
        """Waits until the log has so many lines of event; the last one."""
        end = time.monotonic() + LONG_S
        while time.monotonic() < end:
            lines = [line for line in self.server.events() if line['event'] == event]
            if len(lines) >= count:
                return lines[-1]
            time.sleep(0.05)
        raise AssertionError(f'{event} is not in the log {count} times')


def test(function):
    """Marks a test that gets a Case whose server runs."""
    def run(folder):
        case = Case(folder)
        case.server.s3_address = f'127.0.0.1:{free_port()}'
        try:
            case.server.start()
            function(case)
            expect(case.server.stop(), 0)
        finally:
            case.server.end()
    run.__name__ = function.__name__
    return bare(run)


def read_all(sock):
    data = b''
    while True:
        piece = sock.recv(65536)
        if not piece:
            return data
        data += piece


# --- what clients do ---

@test
def rest(case):
    """The REST door as without TLS: sizes from 0 to 20 MiB both ways, names, ranges."""
    smoke.sizes(case.server)
    smoke.by_id(case.server)
    smoke.head_and_delete(case.server)
    body = content(3 * MIB, 5)
    case.server.put('files', 'ranged', body)
    for first, last in ((0, 0), (65535, 65537), (16383, 16385), (MIB, 3 * MIB - 1)):
        got = case.server.get('files', 'ranged', headers={'Range': f'bytes={first}-{last}'})
        expect((got.status, got.body == body[first:last + 1]), (206, True), first)
    expect(case.log_has('tls.certificate')['names'], '127.0.0.1, localhost, files.test, *.files.test')


@test
def curl(case):
    """TLS 1.2 and 1.3, and a host name; a certificate of nobody known is refused by the client."""
    case.server.put('files', 'a', content(300000))
    base = ['curl', '-sS', '--noproxy', '*', '-H', f'Authorization: Bearer {case.server.key()}']
    url = f'https://files.test:{case.server.port}/v1/buckets/files/files/a'
    trust = ['--cacert', case.authority.cert, '--resolve', f'files.test:{case.server.port}:127.0.0.1']
    for version in ('1.2', '1.3'):
        done = subprocess.run([*base, *trust, f'--tlsv{version}', '--tls-max', version, url],
                              capture_output=True, check=True)
        expect(done.stdout == content(300000), True, version)
    expect(subprocess.run([*base, *trust[2:], url], capture_output=True, check=False).returncode, 60)


@test
def s3(case):
    """boto3, which sends checksums in trailers over TLS only."""
    import boto3
    from botocore.config import Config
    key, secret = case.server.key().split('.')
    client = boto3.client('s3', endpoint_url=f'https://{case.server.s3_address}', verify=case.authority.cert,
                          aws_access_key_id=key, aws_secret_access_key=secret, region_name='us-east-1',
                          config=Config(retries={'max_attempts': 0}, signature_version='s3v4'))
    sent = []
    client.meta.events.register('before-send.s3.PutObject', lambda request, **_: sent.append(request.headers))
    for size in (0, 1, 65536, 65537, 9 * MIB):
        body = content(size, size)
        with open(f'{case.folder}/body', 'wb') as file:
            file.write(body)
        with open(f'{case.folder}/body', 'rb') as file:
            client.put_object(Bucket='files', Key=str(size), Body=file, ChecksumAlgorithm='CRC32')
        got = client.get_object(Bucket='files', Key=str(size), ChecksumMode='ENABLED')
        expect(got['Body'].read() == body, True, size)
        expect('ChecksumCRC32' in got, True, got)
    trailers = [h for h in sent if h.get('X-Amz-Trailer') in (b'x-amz-checksum-crc32', 'x-amz-checksum-crc32')]
    expect(len(trailers), 5, sent)
    expect(len(client.list_objects_v2(Bucket='files')['Contents']), 5)
    upload = client.create_multipart_upload(Bucket='files', Key='parts')['UploadId']
    part = client.upload_part(Bucket='files', Key='parts', UploadId=upload, PartNumber=1, Body=content(5 * MIB))
    made = client.complete_multipart_upload(
        Bucket='files', Key='parts', UploadId=upload,
        MultipartUpload={'Parts': [{'PartNumber': 1, 'ETag': part['ETag']}]})
    expect(made['Location'], f'https://{case.server.s3_address}/files/parts')
    link = client.generate_presigned_url('get_object', Params={'Bucket': 'files', 'Key': '1'})
    done = subprocess.run(['curl', '-sS', '--noproxy', '*', '--cacert', case.authority.cert, link],
                          capture_output=True, check=True)
    expect(done.stdout, content(1, 1))


@test
def command_line(case):
    """--ca, HOLDFAST_CA; without them, and for another name, it says what to do."""
    tree = f'{case.folder}/tree'
    os.mkdir(tree)
    for size in (0, 10, 70000, 5 * MIB):
        with open(f'{tree}/{size}', 'wb') as file:
            file.write(content(size, size))
    case.run('put', '-r', '--ca', case.authority.cert, tree, 'files/t')
    case.run('get', '-r', 'files/t', f'{case.folder}/back', HOLDFAST_CA=case.authority.cert)
    expect(sorted(os.listdir(f'{case.folder}/back')), sorted(os.listdir(tree)))
    for name in os.listdir(tree):
        with open(f'{tree}/{name}', 'rb') as one, open(f'{case.folder}/back/{name}', 'rb') as other:
            expect(one.read() == other.read(), True, name)
    expect('--ca FILE names whom to trust' in case.run('ls', 'files', status=2), True)
    said = case.run('ls', 'files', '--ca', f'{case.folder}/none', status=2)
    expect(f'--ca {case.folder}/none' in said, True, said)
    other = f'https://[::ffff:127.0.0.1]:{case.server.port}'
    said = case.run('ls', '--url', other, '--ca', case.authority.cert, 'files', status=2)
    expect('is not trusted' in said, True, said)
    said = case.run('ls', '--url', f'http://{case.server.address}', 'files', status=2)
    expect('https://' in said, True, said)


# --- what is refused ---

def handshake(case, *options):
    """What openssl s_client sees: its output."""
    return subprocess.run(['openssl', 's_client', '-connect', case.server.address, *options],
                          input='', capture_output=True, text=True, check=False, timeout=LONG_S)


@test
def versions(case):
    """1.2 and 1.3; nothing before, no weak cipher, no protocol but HTTP/1.1, no renegotiation."""
    for option in ('-tls1_2', '-tls1_3'):
        done = handshake(case, option, '-CAfile', case.authority.cert, '-verify_return_error')
        expect((done.returncode, 'Verification: OK' in done.stdout), (0, True), done.stdout + done.stderr)
    weak = ['-cipher', 'ALL:@SECLEVEL=0']
    for options in (['-tls1', *weak], ['-tls1_1', *weak], ['-tls1_2', '-cipher', 'AES128-GCM-SHA256'],
                    ['-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-SHA'], ['-alpn', 'h2']):
        done = handshake(case, *options)
        expect((done.returncode, 'alert' in done.stderr), (1, True), f'{options}: {done.stderr}')
    expect('ALPN protocol: http/1.1' in handshake(case, '-alpn', 'h2,http/1.1').stdout, True)
    done = subprocess.run(['openssl', 's_client', '-connect', case.server.address, '-tls1_2'],
                          input='R\nGET / HTTP/1.1\n', capture_output=True, text=True, check=False)
    expect('no renegotiation' in done.stderr, True, done.stderr)
    expect(case.metric('holdfast_tls_handshakes_total{result="failed"}'), 5)


@test
def plain(case):
    """Who speaks HTTP without TLS is told so; what is neither is only closed."""
    def answer(sent, port):
        with socket.create_connection(('127.0.0.1', port), LONG_S) as sock:
            sock.sendall(sent)
            return read_all(sock)
    for port in (case.server.port, int(case.server.s3_address.split(':')[1])):
        got = answer(b'PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello', port)
        expect(got.startswith(b'HTTP/1.1 400 Bad Request\r\n'), True, got)
        expect(b'https://' in got and b'Connection: close' in got, True, got)
    for sent in (b'\x00', b'\x16\x03\x01\xff\xff', b'\x16\x03\x01\x00\x05hello', b'\x80\x2e\x01'):
        with socket.create_connection(('127.0.0.1', case.server.port), LONG_S) as sock:
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            try:
                expect(read_all(sock)[:1] in (b'', b'\x15'), True, sent)  # nothing, or an alert
            except ConnectionResetError:
                pass
    expect(case.metric('holdfast_tls_handshakes_total{result="plain"}'), 2)


@test
def half_open(case):
    """Clients that begin a handshake and stop do not hold up others, and are gone soon."""
    hello = ssl.MemoryBIO()
    asking = case.authority.trust().wrap_bio(ssl.MemoryBIO(), hello, server_hostname='127.0.0.1')
    try:
        asking.do_handshake()
    except ssl.SSLWantReadError:
        pass
    hello = hello.read()
    socks = []
    for i in range(300):
        sock = socket.create_connection(('127.0.0.1', case.server.port), LONG_S)
        sock.sendall((b'', hello[:1], hello[:100], hello)[i % 4])
        socks.append(sock)
    for i in range(20):
        expect(case.server.put('files', f'{i}', b'x').status, 201)
    begin = time.monotonic()
    for sock in socks:
        try:
            read_all(sock)
        except ConnectionResetError:
            pass
        sock.close()
    expect(time.monotonic() - begin < LONG_S, True)
    expect(case.metric('holdfast_tls_handshakes_total{result="unfinished"}'), 300)


# --- ends, slow clients ---

@test
def ends(case):
    """An answer that ends the connection ends with close_notify; one that breaks off does not."""
    case.server.put('files', 'a', content(200000))
    sock = case.connect()
    sock.suppress_ragged_eofs = False
    sock.sendall(b'GET /v1/buckets/files/files/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n'
                 b'Authorization: Bearer ' + case.server.key().encode() + b'\r\n\r\n')
    head, _, body = read_all(sock).partition(b'\r\n\r\n')  # raises without close_notify
    expect(body == content(200000), True, head)
    # Who says first that it sends no more still gets its answer.
    sock = case.connect(maximum_version=ssl.TLSVersion.TLSv1_3)
    sock.sendall(b'GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n')
    socket.socket.shutdown(sock, socket.SHUT_WR)
    expect(read_all(sock).startswith(b'HTTP/1.1 200'), True)
    # Pipelined in one record, and a head in many.
    sock = case.connect()
    sock.sendall(b'GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n' * 2 +
                 b'GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    expect(read_all(sock).count(b'HTTP/1.1 200'), 3)
    sock = case.connect()
    for byte in b'GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n':
        sock.sendall(bytes([byte]))
    expect(read_all(sock).count(b'HTTP/1.1 200'), 1)


@test
def slow_readers(case):
    """Large answers to clients with little room: whole, and within the memory that was told."""
    body = content(6 * MIB, 3)
    case.server.put('files', 'big', body)
    socks = []
    for _ in range(12):
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        plain.settimeout(LONG_S)
        plain.connect(('127.0.0.1', case.server.port))
        sock = case.authority.trust().wrap_socket(plain, server_hostname='127.0.0.1')
        sock.sendall(b'GET /v1/buckets/files/files/big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n'
                     b'Authorization: Bearer ' + case.server.key().encode() + b'\r\n\r\n')
        socks.append((sock, hashlib.sha256(), []))
    while socks:
        for entry in list(socks):
            sock, digest, head = entry
            piece = sock.recv(16384)
            if not piece:
                socks.remove(entry)
                expect(digest.hexdigest(), hashlib.sha256(body).hexdigest())
                continue
            if not head:
                head.append(piece.index(b'\r\n\r\n') + 4)
                piece = piece[head[0]:]
            digest.update(piece)
    plan = case.log_has('node.memory')
    expect(case.server.memory_peak() <= plan['sum'], True)


@test
def new_keys(case):
    """A client of TLS 1.3 that changes keys all the time, and reads nothing, is served as any other."""
    client = subprocess.Popen(['openssl', 's_client', '-connect', case.server.address, '-tls1_3'],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    # K at the beginning of what s_client reads: a new key on both sides; it says when.
    for _ in range(20):
        client.stdin.write(b'K\n')
        client.stdin.flush()
        while b'KEYUPDATE' not in client.stdout.readline():
            expect(client.poll(), None, 's_client ended')
    client.stdin.write(b'GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    client.stdin.flush()
    seen = []
    while not seen or b'HTTP/1.1 200' not in seen[-1]:
        seen.append(client.stdout.readline())
        expect(seen[-1] != b'', True, seen)
    client.communicate(timeout=LONG_S)


@bare
def memory(folder):
    """Idle connections take no more than was told for them."""
    case = Case(folder, '--connections', '1200')
    try:
        case.server.start()
        plan = case.log_has('node.memory')
        without = SUITE.server(folder + '/x', '--connections', '1200')
        os.mkdir(folder + '/x')
        without.start()
        before = next(line for line in without.events() if line['event'] == 'node.memory')
        expect(without.stop(), 0)
        expect(plan['connections'] > before['connections'], True, plan)
        expect(plan['requests'] > before['requests'], True, plan)

        def anonymous():
            with open(f'/proc/{case.server.process.pid}/status', encoding='ascii') as lines:
                return next(int(line.split()[1]) * 1024 for line in lines if line.startswith('RssAnon:'))
        case.server.request('GET', '/readyz', key=None)
        start = anonymous()
        socks = [case.connect() for _ in range(500)]
        for sock in socks:
            sock.sendall(b'GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n')
        for sock in socks:
            expect(sock.recv(65536).startswith(b'HTTP/1.1 200'), True)
        each = (anonymous() - start) / 500
        print(f'       {each / 1024:.1f} KiB a connection, {plan["connections"] / 1200 / 1024:.0f} KiB told')
        expect(each < plan['connections'] / 1200, True, each)
        for sock in socks:
            sock.close()
        expect(case.server.stop(), 0)
    finally:
        case.server.end()


# --- certificates ---

@bare
def bad_certificates(folder):
    """A start says which file and what is wrong with it, before anything is made."""
    authority = Authority(f'{folder}/authority')
    good, key = f'{folder}/good.pem', f'{folder}/good.key'
    authority.make(good, key)
    authority.make(f'{folder}/old.pem', f'{folder}/old.key', first=-20, last=-1)
    authority.make(f'{folder}/early.pem', f'{folder}/early.key', first=1)
    authority.make(f'{folder}/weak.pem', f'{folder}/weak.key', kind=('rsa:1024',))
    for name, mode in (('others.key', 0o644), ('group.key', 0o660)):
        shutil.copy(key, f'{folder}/{name}')
        os.chmod(f'{folder}/{name}', mode)
    openssl('pkey', '-in', key, '-aes128', '-passout', 'pass:x', '-out', f'{folder}/locked.key')
    os.chmod(f'{folder}/locked.key', 0o600)
    with open(f'{folder}/empty.pem', 'w', encoding='ascii') as file:
        file.write('nothing\n')
    os.chmod(f'{folder}/empty.pem', 0o600)
    with open(good, encoding='ascii') as whole, open(f'{folder}/cut.pem', 'w', encoding='ascii') as cut:
        text = whole.read()
        cut.write(text + text[:len(text) // 2] + '\n-----END CERTIFICATE-----\n')
    for cert, with_key, why in (
            ('none.pem', 'good.key', "tls-cert {}/none.pem: can't be read: No such file"),
            ('good.pem', 'none.key', "tls-key {}/none.key: can't be read: No such file"),
            ('authority', 'good.key', 'tls-cert {}/authority: is no file'),
            ('empty.pem', 'good.key', 'tls-cert {}/empty.pem: holds no certificate in PEM'),
            ('cut.pem', 'good.key', 'tls-cert {}/cut.pem: certificate 2 in it is damaged'),
            ('good.pem', 'empty.pem', 'tls-key {}/empty.pem: holds no private key in PEM'),
            ('good.pem', 'locked.key', 'tls-key {}/locked.key: is under a passphrase'),
            ('good.pem', 'old.key', 'tls-key {}/old.key: is not the key of the first certificate'),
            ('good.pem', 'others.key', 'tls-key {}/others.key: others than its owner may get at it (mode 644)'),
            ('good.pem', 'group.key', 'tls-key {}/group.key: others than its owner may get at it (mode 660)'),
            ('old.pem', 'old.key', 'tls-cert {}/old.pem: has expired, on '),
            ('early.pem', 'early.key', 'tls-cert {}/early.pem: is valid from '),
            ('weak.pem', 'weak.key', 'tls-cert {}/weak.pem: OpenSSL does not take it: '),
            ('good.pem', None, 'tls-cert is set and tls-key is not')):
        words = ['--tls-key', f'{folder}/{with_key}'] if with_key else []
        done = subprocess.run([*SUITE.binary, 'serve', '--data', f'{folder}/d', '--http', f'127.0.0.1:{free_port()}',
                               '--s3', 'off', '--log-format', 'text', '--tls-cert', f'{folder}/{cert}', *words],
                              capture_output=True, text=True, check=False, timeout=LONG_S)
        expect((done.returncode, why.format(folder) in done.stderr), (2, True), f'{why}: {done.stderr}')
        expect(os.path.exists(f'{folder}/d'), False, why)


@bare
def chain(folder):
    """A certificate of an authority between, in one file with it and its key, of RSA."""
    case = Case(folder)
    between = Authority(f'{folder}/between', above=case.authority)
    between.make(f'{folder}/own.pem', f'{folder}/own.key', last=20, kind=('rsa:2048',))
    with open(case.cert, 'w', encoding='ascii') as out:
        for name in (f'{folder}/own.pem', between.cert, f'{folder}/own.key'):
            with open(name, encoding='ascii') as file:
                out.write(file.read())
    os.chmod(case.cert, 0o640)  # its group may read it
    case.server.options = ['--tls-cert', case.cert, '--tls-key', case.cert]
    try:
        case.server.start()
        expect(case.server.put('files', 'a', b'x').status, 201)
        expect(case.log_has('tls.certificate_ends')['days'], 19)
        expect(case.server.stop(), 0)
    finally:
        case.server.end()


@bare
def renewed(folder):
    """SIGHUP takes a new certificate for new connections; those that are there stay, and a bad one
    changes nothing. Meanwhile no request fails."""
    case = Case(folder)
    server = case.server
    stop, failures, done = threading.Event(), [], [0]

    def work(number, keep):
        connection = server.connect() if keep else None
        try:
            while not stop.is_set():
                body = content(100000 + number, number)
                expect(server.put('files', f'{number}', body, connection=connection).status in (200, 201), True)
                expect(server.get('files', f'{number}', connection=connection).body == body, True)
                done[0] += 1
        except Exception as problem:  # noqa: BLE001  (any is a failure)
            failures.append(repr(problem))
            stop.set()

    def serial():
        with case.connect() as sock:
            return sock.getpeercert()['serialNumber']

    def reload():
        server.process.send_signal(signal.SIGHUP)

    try:
        server.start()
        threads = [threading.Thread(target=work, args=(i, i < 2)) for i in range(4)]
        for thread in threads:
            thread.start()
        serials = [serial()]
        for turn in range(3):
            case.authority.make(case.cert + '.new', case.key + '.new')
            os.rename(case.key + '.new', case.key)
            os.rename(case.cert + '.new', case.cert)
            reload()
            case.log_has('tls.certificate', turn + 2)
            case.log_has('config.reloaded', turn + 1)
            serials.append(serial())
        expect(len(set(serials)), 4, serials)
        os.rename(case.key, case.key + '.good')
        with open(case.key, 'w', encoding='ascii') as file:
            file.write('half a ke')
        os.chmod(case.key, 0o600)
        reload()
        kept = case.log_has('tls.kept')
        expect(case.key in kept['error'] and kept['level'] == 'error', True, kept)
        expect(serial(), serials[-1])
        os.rename(case.key + '.good', case.key)
        reload()
        case.log_has('tls.certificate', 5)
        before = done[0]
        end = time.monotonic() + LONG_S
        while done[0] < before + 8 and not stop.is_set() and time.monotonic() < end:
            time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join()
        expect((failures, done[0] >= before + 8), ([], True))
        expect(server.stop(), 0)
    finally:
        stop.set()
        server.end()


@bare
def killed(folder):
    """What was acknowledged over TLS is there after kill -9; no request is answered twice."""
    case = Case(folder)
    server = case.server
    kept, stop = {}, threading.Event()

    def work(number):
        i = 0
        while not stop.is_set():
            key, body = f'{number}/{i}', content(1000 + 70000 * (i % 2), number + i)
            try:
                if server.put('files', key, body).status == 201:
                    kept[key] = body
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)
            i += 1

    try:
        server.start()
        threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        for turn in range(3):
            wanted, end = len(kept) + 10, time.monotonic() + LONG_S
            while len(kept) < wanted and time.monotonic() < end:
                time.sleep(0.02)
            expect(len(kept) >= wanted, True, turn)
            server.kill()
            server.start()
        stop.set()
        for thread in threads:
            thread.join()
        for key, body in kept.items():
            expect(server.get('files', key).body == body, True, key)
        expect(server.stop(), 0)
    finally:
        stop.set()
        server.end()


if __name__ == '__main__':
    sys.exit(SUITE.main(sys.argv, __doc__))
