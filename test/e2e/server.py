"""A real `holdfast serve` for end-to-end tests, and a plain client. Python's standard library only."""
import http.client
import json
import os
import signal
import subprocess
import time
import urllib.parse

import contract
from ports import free_port

SYMBOLIZER_SAYS = ('LLVM ERROR', 'pure virtual method', 'terminate called')


class Answer:
    """A response, read whole."""

    def __init__(self, response, body):
        self.status = response.status
        self.headers = response.headers
        self.body = body

    def json(self):
        return json.loads(self.body)


class Server:
    """One data directory and the process that serves it. binary: a list of words."""

    def __init__(self, binary, data, log, options=(), fault=None, timeout=60):
        self.binary = binary
        self.data = data
        self.log = log
        self.options = list(options)
        self.fault = fault
        self.timeout = timeout  # seconds a request may stand still
        self.port = free_port()
        self.s3_address = None  # of the S3 door; None: there is none, '': what is preset
        self.tls = None  # an ssl.SSLContext: it speaks TLS
        self.process = None

    @property
    def address(self):
        return f'127.0.0.1:{self.port}'

    def start(self, wait=True):
        """Starts it, with its HOLDFAST_FAULT if it has one, and waits until it is ready."""
        env = dict(os.environ)
        if self.fault is not None:
            env['HOLDFAST_FAULT'] = self.fault
        s3 = [] if self.s3_address == '' else ['--s3', self.s3_address or 'off']
        with open(self.log, 'ab') as out:
            self.process = subprocess.Popen(
                [*self.binary, 'serve', '--data', self.data, '--http', self.address,
                 *s3, '--log-format', 'json', *self.options],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=out, env=env)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f'the server ended with {self.process.returncode}')
            try:
                if self.request('GET', '/readyz', key=None).status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError('the server does not become ready')

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds=60):
        """SIGTERM; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def end(self):
        """Whatever state it is in."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def key(self):
        with open(os.path.join(self.data, 'root.key'), encoding='ascii') as file:
            return file.read().strip()

    def memory_peak(self):
        """VmHWM in bytes."""
        with open(f'/proc/{self.process.pid}/status', encoding='ascii') as lines:
            for line in lines:
                if line.startswith('VmHWM:'):
                    return int(line.split()[1]) * 1024
        raise RuntimeError('no VmHWM')

    def events(self):
        """The lines of its log, parsed; but for what a sanitizer's symbolizer says when it is killed."""
        with open(self.log, encoding='utf-8') as lines:
            return [json.loads(line) for line in lines if not line.startswith(SYMBOLIZER_SAYS)]

    def connect(self, timeout=None):
        """A connection; timeout in seconds, the server's own unless given."""
        timeout = timeout or self.timeout
        if self.tls is not None:
            return http.client.HTTPSConnection('127.0.0.1', self.port, timeout=timeout, context=self.tls)
        return http.client.HTTPConnection('127.0.0.1', self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=(), key='root', chunked=False,
                connection=None):
        """One request; the path is sent as it is. The answer is held against /openapi.json."""
        headers = dict(headers)
        if key is not None:
            headers['Authorization'] = f'Bearer {self.key() if key == "root" else key}'
        own = connection is None
        connection = connection or self.connect()
        try:
            connection.request(method, path, body=body, headers=headers, encode_chunked=chunked)
            response = connection.getresponse()
            answer = Answer(response, response.read())
        finally:
            if own:
                connection.close()
        contract.check(self.binary, method, path, answer)
        return answer

    def name_path(self, bucket, key):
        return f'/v1/buckets/{bucket}/files/{urllib.parse.quote(key)}'

    def put(self, bucket, key, body, **more):
        return self.request('PUT', self.name_path(bucket, key), body, **more)

    def get(self, bucket, key, **more):
        return self.request('GET', self.name_path(bucket, key), **more)
