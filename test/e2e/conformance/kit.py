"""What the groups of the conformance suite share. A group is a module with `run(t)`, t being a
Cases; each case has a name of its own and is judged by itself. Python's standard library only."""
import base64
import hashlib
import os
import re
import sys
import traceback
import xml.etree.ElementTree

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from s3_raw import Raw, code_of, encode_query, quote  # noqa: E402

XMLNS = '{http://s3.amazonaws.com/doc/2006-03-01/}'
MIB = 1 << 20
BIG = b''.join(i.to_bytes(4, 'big') for i in range(65536))  # 256 KiB: in blobs; no two words are the same


class Cases:
    """The cases of one group, over a bucket of its own."""

    def __init__(self, name, server, bucket):
        self.name, self.server, self.bucket = name, server, bucket
        self.raw = Raw(int(server.s3_address.split(':')[1]), server.key())
        self.names = set()
        self.failures = []

    # --- requests ---

    def path(self, key=None):
        return f'/{self.bucket}' + ('' if key is None else '/' + quote(key, '/'))

    def call(self, method, key=None, query='', body=b'', headers=(), **more):
        """A signed request about a key of the bucket, or about the bucket."""
        return self.raw.call(method, self.path(key), query, body, headers, **more)

    def put(self, key, body=b'x', **headers):
        """Must go well: what cases stand upon."""
        got = self.call('PUT', key, body=body, headers={k.replace('_', '-'): v for k, v in headers.items()})
        assert got.status == 200, (key, got.status, got.body)
        return got

    def clear(self):
        """Takes all files away."""
        for key in self.keys():
            self.call('DELETE', key)

    def keys(self, **query):
        """All keys of the bucket, by V2 lists."""
        found, token = [], {}
        while True:
            got = tree(self.call('GET', query={'list-type': '2', **query, **token}).body)
            found += [text(c, 'Key') for c in got.findall(XMLNS + 'Contents')]
            if text(got, 'IsTruncated') != 'true':
                return found
            token = {'continuation-token': text(got, 'NextContinuationToken')}

    # --- cases ---

    def equal(self, name, got, wanted, what=''):
        """The case `name`: got is what is wanted."""
        assert name not in self.names, f'two cases are named {name}'
        self.names.add(name)
        if got != wanted:
            self.failures.append(f'{self.name}: {name}: {got!r:.400}, not {wanted!r:.400} {what!r:.600}')

    def answer(self, name, got, status, code='', body=None, **headers):
        """The case `name`: status, S3's code, the body if given, and these headers (None: not there)."""
        seen, wanted = [got.status], [status]
        if status != 304:
            seen.append(code_of(got))
            wanted.append(code)
        if body is not None:
            seen.append(got.body if len(got.body) < 200 else hashlib.md5(got.body).hexdigest())
            wanted.append(body if len(body) < 200 else hashlib.md5(body).hexdigest())
        for header, value in headers.items():
            header = header.replace('_', '-')
            seen.append((header, got.headers[header]))
            wanted.append((header, value))
        self.equal(name, seen, wanted, got.body[:400])

    def run(self, work):
        """All cases of a module; what they stand upon may fail too."""
        try:
            work(self)
        except Exception:  # whatever it is, the group failed
            self.failures.append(f'{self.name}: {traceback.format_exc()}')


def tree(body):
    return xml.etree.ElementTree.fromstring(body)


def text(element, name):
    """The text of a child; None: there is none."""
    found = element.find(XMLNS + name)
    return None if found is None else found.text or ''


def md5_of(body):
    return f'"{hashlib.md5(body).hexdigest()}"'


def base64_of(data):
    return base64.b64encode(data).decode()


def content_md5(body):
    return base64_of(hashlib.md5(body).digest())


# --- checksums, by their definitions ---

def reflected(data, polynomial, bits):
    """A CRC that shifts to the right, all ones before and after."""
    rows = []
    for row in range(256):
        for _ in range(8):
            row = row >> 1 ^ (polynomial if row & 1 else 0)
        rows.append(row)
    crc = (1 << bits) - 1
    for byte in data:
        crc = crc >> 8 ^ rows[(crc ^ byte) & 255]
    return (crc ^ (1 << bits) - 1).to_bytes(bits // 8, 'big')


CHECKSUMS = {'crc32': lambda data: reflected(data, 0xedb88320, 32),
             'crc32c': lambda data: reflected(data, 0x82f63b78, 32),
             'crc64nvme': lambda data: reflected(data, 0x9a6c9329ac4bc9b5, 64),
             'sha1': lambda data: hashlib.sha1(data).digest(),
             'sha256': lambda data: hashlib.sha256(data).digest()}


def checksum(name, data):
    """As it stands in x-amz-checksum-NAME."""
    return base64_of(CHECKSUMS[name](data))


__all__ = ['BIG', 'CHECKSUMS', 'Cases', 'MIB', 'XMLNS', 'base64_of', 'checksum', 'code_of', 'content_md5',
           'encode_query', 'md5_of', 'quote', 're', 'text', 'tree']
