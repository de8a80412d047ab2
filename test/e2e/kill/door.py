"""One keep-alive connection to a REST door over a plain socket.

Not http.client: a test that kills the server must know whether any byte of a request can have
reached it, must read an answer that came before the connection broke, and must be quick enough to
load a server from a handful of threads.
"""
import json
import socket

PIECE = 64 * 1024  # bytes of a body that are sent at once
HEAD_MAX = 64 * 1024


class Broken(Exception):
    """The connection ended without an answer. sent: the server may have seen the request."""

    def __init__(self, why, sent):
        super().__init__(why)
        self.sent = sent


class BadAnswer(Exception):
    """What came back is not HTTP as this client understands it, or did not come in time."""


class Reply:
    """An answer: status, headers (names in lower case), body (bytes)."""
    __slots__ = ('status', 'headers', 'body')

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def json(self):
        """The body as JSON; {} if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return {}

    def code(self):
        """`code` of a problem+json body, or ''."""
        value = self.json()
        return value.get('code', '') if isinstance(value, dict) else ''

    def __str__(self):
        return f'{self.status} {self.body[:300]!r}'


class Door:
    """A connection to 127.0.0.1:port, opened when needed. Belongs to one thread."""

    def __init__(self, port, key, timeout_s=60.0):
        self.port = port
        self.timeout_s = timeout_s
        self.fixed = f'Host: 127.0.0.1:{port}\r\n'
        if key:
            self.fixed += f'Authorization: Bearer {key}\r\n'
        self.sock = None
        self.rest = b''  # bytes that came and are not used yet

    def close(self):
        """Closes the connection; the next request opens another."""
        if self.sock is not None:
            self.sock.close()
        self.sock = None
        self.rest = b''

    def request(self, method, target, headers=(), body=b'', chunked=False):
        """Sends a request, waits for its answer. Raises Broken or BadAnswer."""
        if self.sock is None:
            try:
                self.sock = socket.create_connection(('127.0.0.1', self.port), self.timeout_s)
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                raise Broken(f'connect: {error}', False) from None
        try:
            refused = self._send(method, target, headers, body, chunked)
            reply = self._answer(method, refused)
        except (Broken, BadAnswer):
            self.close()
            raise
        if reply.headers.get('connection', '').lower() == 'close':
            self.close()
        return reply

    def _send(self, method, target, headers, body, chunked):
        """Sends all of it. The error that ended the sending, or None: an answer may be there."""
        head = f'{method} {target} HTTP/1.1\r\n{self.fixed}'
        for name, value in headers:
            head += f'{name}: {value}\r\n'
        if chunked:
            head += 'Transfer-Encoding: chunked\r\n'
        elif body or method in ('PUT', 'POST'):
            head += f'Content-Length: {len(body)}\r\n'
        data = (head + '\r\n').encode('latin-1')
        try:
            if len(body) <= PIECE and not chunked:
                self.sock.sendall(data + body)
                return None
            self.sock.sendall(data)
            for at in range(0, len(body), PIECE):
                piece = body[at:at + PIECE]
                if chunked:
                    piece = b'%x\r\n%b\r\n' % (len(piece), piece)
                self.sock.sendall(piece)
            if chunked:
                self.sock.sendall(b'0\r\n\r\n')
        except TimeoutError:
            raise BadAnswer(f'{method} {target}: not taken for {self.timeout_s} s') from None
        except OSError as error:
            return error
        return None

    def _more(self, what):
        """Reads more bytes into rest."""
        try:
            data = self.sock.recv(256 * 1024)
        except TimeoutError:
            raise BadAnswer(f'no {what} for {self.timeout_s} s') from None
        except OSError as error:
            raise Broken(f'{what}: {error}', True) from None
        if not data:
            raise Broken(f'{what}: connection closed', True)
        self.rest += data

    def _take(self, count, what):
        """The next count bytes."""
        if len(self.rest) < count:
            parts = [self.rest]
            have = len(self.rest)
            while have < count:
                self.rest = b''
                self._more(what)
                parts.append(self.rest)
                have += len(self.rest)
            self.rest = b''.join(parts)
        data, self.rest = self.rest[:count], self.rest[count:]
        return data

    def _line(self, what):
        """The next line without its end."""
        while b'\r\n' not in self.rest:
            if len(self.rest) > HEAD_MAX:
                raise BadAnswer(f'{what} without an end: {self.rest[:100]!r}')
            self._more(what)
        line, self.rest = self.rest.split(b'\r\n', 1)
        return line.decode('latin-1')

    def _answer(self, method, refused):
        """Reads one answer. refused: why the request was not sent to its end, or None."""
        while True:
            try:
                first = self._line('answer')
            except Broken as error:
                raise Broken(str(refused or error), True) from None
            parts = first.split(' ', 2)
            if len(parts) < 2 or parts[0] != 'HTTP/1.1' or not parts[1].isdigit():
                raise BadAnswer(f'status line {first!r}')
            status = int(parts[1])
            headers = {}
            while line := self._line('header'):
                name, _, value = line.partition(':')
                headers[name.lower()] = value.strip()
            if status >= 200:
                break
        return Reply(status, headers, self._body(method, status, headers))

    def _body(self, method, status, headers):
        """The body of an answer whose head was read."""
        if method == 'HEAD' or status in (204, 304):
            return b''
        if headers.get('transfer-encoding', '').lower() == 'chunked':
            parts = []
            while size := int(self._line('chunk size').split(';')[0], 16):
                parts.append(self._take(size, 'chunk'))
                self._line('end of chunk')
            self._line('end of chunks')
            return b''.join(parts)
        if 'content-length' not in headers:
            raise BadAnswer(f'{status} without a length')
        return self._take(int(headers['content-length']), 'body')
