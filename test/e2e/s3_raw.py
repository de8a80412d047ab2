"""Signs S3 requests by itself and sends them as they are, so that each part can be wrong. Python's
standard library only."""
import base64
import datetime
import hashlib
import hmac
import http.client
import re
import socket
import time
import urllib.parse

from server import Answer

REGION = 'us-east-1'
UNSIGNED = 'UNSIGNED-PAYLOAD'
CHUNKS = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD'
CHUNKS_TRAILER = CHUNKS + '-TRAILER'
TRAILER = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'
EMPTY = hashlib.sha256(b'').hexdigest()


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def stamp(shift=0):
    """Now, shifted by seconds, as a signature writes it."""
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=shift)
    return now.strftime('%Y%m%dT%H%M%SZ')


def quote(text, safe=''):
    return urllib.parse.quote(text, safe=safe + '-_.~')


def encode_query(query):
    """As S3's clients send and sign it: sorted, each with an equals sign."""
    return '&'.join(f'{quote(k)}={quote(v)}' for k, v in sorted(query.items()))


class Raw:
    """A key pair and where the door is."""

    def __init__(self, port, key):
        self.port = port
        self.key_id, self.secret = key.split('.')

    def signing_key(self, date, region=REGION):
        key = mac(('AWS4' + self.secret).encode(), date[:8])
        for part in (region, 's3', 'aws4_request'):
            key = mac(key, part)
        return key

    def host(self):
        return f'127.0.0.1:{self.port}'

    def signature(self, method, path, query, headers, names, body_hash, date, region=REGION):
        values = {k.lower(): re.sub(' +', ' ', v.strip()) for k, v in headers.items()}
        lines = ''.join(f'{n}:{values[n]}\n' for n in names)
        canonical = f'{method}\n{path}\n{query}\n{lines}\n{";".join(names)}\n{body_hash}'
        scope = f'{date[:8]}/{region}/s3/aws4_request'
        text = (f'AWS4-HMAC-SHA256\n{date}\n{scope}\n'
                + hashlib.sha256(canonical.encode()).hexdigest())
        return mac(self.signing_key(date, region), text).hex()

    def sign(self, method, path, query='', headers=(), body_hash=EMPTY, date=None, region=REGION,
             host=None):
        """The headers of a signed request."""
        date = date or stamp()
        headers = {'Host': host or self.host(), 'x-amz-date': date,
                   'x-amz-content-sha256': body_hash, **dict(headers)}
        names = sorted(k.lower() for k in headers if k.lower() not in ('user-agent', 'expect'))
        signature = self.signature(method, path, query, headers, names, body_hash, date, region)
        headers['Authorization'] = (
            f'AWS4-HMAC-SHA256 Credential={self.key_id}/{date[:8]}/{region}/s3/aws4_request, '
            f'SignedHeaders={";".join(names)}, Signature={signature}')
        return headers

    def presign(self, method, path, expires='60', date=None, more=()):
        """The address of a presigned request."""
        date = date or stamp()
        query = {'X-Amz-Algorithm': 'AWS4-HMAC-SHA256', 'X-Amz-Date': date,
                 'X-Amz-Credential': f'{self.key_id}/{date[:8]}/{REGION}/s3/aws4_request',
                 'X-Amz-Expires': expires, 'X-Amz-SignedHeaders': 'host', **dict(more)}
        text = encode_query(query)
        signature = self.signature(method, path, text, {'host': self.host()}, ['host'], UNSIGNED,
                                   date)
        return f'{path}?{text}&X-Amz-Signature={signature}'

    def presign_v2(self, method, path, expires=None, query='', headers=()):
        """The address of a request that is presigned by Version 2."""
        expires = str(int(time.time()) + 60 if expires is None else expires)
        lower = {k.lower(): v for k, v in dict(headers).items()}
        amz = ''.join(f'{k}:{v}\n' for k, v in sorted(lower.items()) if k.startswith('x-amz-'))
        own = '&'.join(sorted(urllib.parse.unquote(p) for p in query.split('&'))) if query else ''
        text = (f'{method}\n{lower.get("content-md5", "")}\n{lower.get("content-type", "")}\n'
                f'{expires}\n{amz}{path}' + (f'?{own}' if own else ''))
        made = hmac.new(self.secret.encode(), text.encode(), hashlib.sha1).digest()
        signature = quote(base64.b64encode(made).decode())
        return (f'{path}?' + (f'{query}&' if query else '')
                + f'AWSAccessKeyId={self.key_id}&Expires={expires}&Signature={signature}')

    def send(self, method, target, headers=(), body=None, chunked=False):
        """Sends exactly this. body: bytes, or pieces for Transfer-Encoding: chunked."""
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=60)
        try:
            connection.request(method, target, body=body, headers=dict(headers),
                               encode_chunked=chunked)
            response = connection.getresponse()
            return Answer(response, response.read())
        finally:
            connection.close()

    def exchange(self, text):
        """Sends bytes or text as they are; all that comes back until the server closes."""
        with socket.create_connection(('127.0.0.1', self.port), timeout=60) as connection:
            connection.sendall(text if isinstance(text, bytes) else text.encode('latin-1'))
            out = b''
            while piece := connection.recv(65536):
                out += piece
            return out

    def call(self, method, path, query='', body=b'', headers=(), body_hash=None, **more):
        """A signed request. path is encoded already, query is a text or a dict."""
        query = query if isinstance(query, str) else encode_query(query)
        hashed = body_hash or hashlib.sha256(body).hexdigest()
        signed = self.sign(method, path, query, headers, hashed, **more)
        send = body if body or method in ('PUT', 'POST') else None
        return self.send(method, path + (f'?{query}' if query else ''), signed, send)

    def chunks(self, pieces, headers, trailers=None, date=None):
        """A body in signed chunks that goes on from a request's signature."""
        previous = re.search('Signature=([0-9a-f]{64})', headers['Authorization']).group(1)
        date = headers['x-amz-date']
        scope = f'{date[:8]}/{REGION}/s3/aws4_request'
        out = b''
        for piece in [*pieces, b'']:
            text = (f'AWS4-HMAC-SHA256-PAYLOAD\n{date}\n{scope}\n{previous}\n{EMPTY}\n'
                    + hashlib.sha256(piece).hexdigest())
            previous = mac(self.signing_key(date), text).hex()
            out += f'{len(piece):x};chunk-signature={previous}\r\n'.encode()
            out += piece + b'\r\n' if piece else b''
        if trailers is not None:
            lines = ''.join(f'{k}:{v}\n' for k, v in trailers)
            text = (f'AWS4-HMAC-SHA256-TRAILER\n{date}\n{scope}\n{previous}\n'
                    + hashlib.sha256(lines.encode()).hexdigest())
            out += lines.replace('\n', '\r\n').encode()
            out += f'x-amz-trailer-signature:{mac(self.signing_key(date), text).hex()}\r\n'.encode()
        return out + b'\r\n'


def code_of(answer):
    """S3's code in an answer; empty: there is none."""
    found = re.search(rb'<Code>(\w+)</Code>', answer.body)
    return found.group(1).decode() if found else ''
