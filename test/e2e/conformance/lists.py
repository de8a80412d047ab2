"""ListObjects and ListObjectsV2, held against a model: each page of each walk, and each parameter."""
import itertools

from kit import XMLNS, text, tree

KEYS = sorted(['a', 'a b', 'a+b', 'a-', 'a-b', 'a-b-c', 'a--b', 'a/', 'a//', 'a/b', 'a/b/c', 'a/b/d', 'a/c', 'a0', 'b/1',
               'b/2', 'b/3', 'b1', 'c', 'ü/1', 'ü/2', '漢', '🎈', 'z--1', 'z--2'], key=lambda k: k.encode())
PREFIXES = ('', 'a', 'a/', 'a/b', 'b/', 'ü', 'zz', '/')
DELIMITERS = ('', '/', '-', '--', 'b/', '漢', '\U0001f388')
AFTER = ('', 'a/', 'a/b', 'b/2', 'ü/1', '\U0010ffff', '!')


def model(prefix, delimiter, after):
    """Entries of the whole list, in order: (name, is it a common prefix)."""
    out = []
    for key in KEYS:
        if not key.startswith(prefix):
            continue
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        entry = (key, False) if at < 0 else (key[:at + len(delimiter)], True)
        if entry[0].encode() <= after.encode() or entry in out:
            continue
        if entry[1] and after.startswith(entry[0]):
            continue
        out.append(entry)
    return out


def entries(page):
    files = [(text(c, 'Key'), False) for c in page.findall(XMLNS + 'Contents')]
    prefixes = [(text(p, 'Prefix'), True) for p in page.findall(XMLNS + 'CommonPrefixes')]
    return sorted(files + prefixes, key=lambda e: e[0].encode())


def walk(t, version, prefix, delimiter, after, size):
    """Pages until the last; at most as many as there are keys."""
    query = {'prefix': prefix, 'delimiter': delimiter, 'max-keys': str(size)}
    query |= {'list-type': '2', 'start-after': after} if version == 2 else {'marker': after}
    found = []
    for _ in range(len(KEYS) + 1):
        got = t.call('GET', query=query)
        if got.status != 200:
            return got.body
        page = tree(got.body)
        some = entries(page)
        if len(some) > size or (version == 2 and text(page, 'KeyCount') != str(len(some))):
            return f'a page of {len(some)}'
        found += some
        if text(page, 'IsTruncated') == 'false':
            return found
        if version == 2:
            query['continuation-token'] = text(page, 'NextContinuationToken')
        else:  # without a delimiter S3 tells none: the last key is it
            query['marker'] = text(page, 'NextMarker') if delimiter else some[-1][0]
    return 'it does not end'


def walks(t):
    for prefix, delimiter, after in itertools.product(PREFIXES, DELIMITERS, AFTER):
        wanted = model(prefix, delimiter, after)
        sizes = (1, 2, 3) if (len(prefix) + len(delimiter) + len(after)) % 3 == 0 else (2,)
        got = [walk(t, version, prefix, delimiter, after, size) for version in (1, 2) for size in (1000, *sizes)]
        t.equal(f'walk: prefix {prefix!r}, delimiter {delimiter!r}, after {after!r}', got, [wanted] * len(got))


def numbers(t):
    for version in ('1', '2'):
        base = {'list-type': version} if version == '2' else {}
        for sent, count, told in (('0', 0, '0'), ('1', 1, '1'), ('1000', len(KEYS), '1000'),
                                  ('1001', len(KEYS), '1000'), ('2147483647', len(KEYS), '1000'), ('', len(KEYS), '1000')):
            page = tree(t.call('GET', query={**base, 'max-keys': sent}).body)
            t.equal(f'V{version} max-keys {sent!r}', (len(entries(page)), text(page, 'MaxKeys'), text(page, 'IsTruncated')),
                    (count, told, 'true' if 0 < count < len(KEYS) else 'false'))
        for sent in ('-1', 'x', '1.0', '1 ', '2147483648', '99999999999999999999', '0x10', '+1'):
            t.answer(f'V{version} max-keys {sent!r}', t.call('GET', query={**base, 'max-keys': sent}), 400,
                     'InvalidArgument')
        for sent in ('xml', 'URL', 'base64'):
            t.answer(f'V{version} encoding-type {sent!r}', t.call('GET', query={**base, 'encoding-type': sent}), 400,
                     'InvalidArgument')


def tokens(t):
    whole = entries(tree(t.call('GET', query={'list-type': '2'}).body))
    first = tree(t.call('GET', query={'list-type': '2', 'max-keys': '3'}).body)
    token = text(first, 'NextContinuationToken')
    got = tree(t.call('GET', query={'list-type': '2', 'continuation-token': token}).body)
    t.equal('token: goes on', entries(got), whole[3:])
    t.equal('token: told again', text(got, 'ContinuationToken'), token)
    got = tree(t.call('GET', query={'list-type': '2', 'continuation-token': token, 'start-after': 'zz'}).body)
    t.equal('token: before start-after', entries(got), whole[3:])
    for sent in ('x', '!', '=', 'AAAA=AAA', token[:-1] + '!', ' ', 'A' * 4000, '%'):
        t.answer(f'token: {sent[:20]!r}', t.call('GET', query={'list-type': '2', 'continuation-token': sent}), 400,
                 'InvalidArgument')
    t.answer('token: empty', t.call('GET', query={'list-type': '2', 'continuation-token': ''}), 400, 'InvalidArgument')
    for sent in ('0', '3', 'x', '22', '-2'):
        t.answer(f'list-type {sent!r}', t.call('GET', query={'list-type': sent}), 400, 'InvalidArgument')


def elements(t):
    """What stands in an answer, and what does not."""
    for version, query in ((1, {}), (2, {'list-type': '2'})):
        page = tree(t.call('GET', query={**query, 'prefix': 'a/', 'delimiter': '/', 'encoding-type': 'url'}).body)
        told = {child.tag.replace(XMLNS, '') for child in page}
        wanted = {'Name', 'Prefix', 'Delimiter', 'MaxKeys', 'EncodingType', 'IsTruncated', 'Contents', 'CommonPrefixes'}
        t.equal(f'V{version}: elements', told, wanted | ({'KeyCount'} if version == 2 else {'Marker'}))
        file = page.find(XMLNS + 'Contents')
        told = {child.tag.replace(XMLNS, '') for child in file}
        wanted = {'Key', 'LastModified', 'ETag', 'Size', 'StorageClass'}
        t.equal(f'V{version}: of a file', told - {'ChecksumAlgorithm', 'ChecksumType'}, wanted | ({'Owner'} if version == 1 else set()))
        t.equal(f'V{version}: name', (text(page, 'Name'), text(page, 'Prefix')), (t.bucket, 'a/'))
        head = t.call('HEAD', text(file, 'Key'))
        t.equal(f'V{version}: etag and size', (text(file, 'ETag'), text(file, 'Size')),
                (head.headers['ETag'], head.headers['Content-Length']))
    for sent, owner in (('true', True), ('false', False), ('', False)):
        page = tree(t.call('GET', query={'list-type': '2', 'fetch-owner': sent}).body)
        t.equal(f'fetch-owner {sent!r}', page.find(f'{XMLNS}Contents/{XMLNS}Owner') is not None, owner)
    page = tree(t.call('GET', query={'list-type': '2', 'encoding-type': 'url', 'delimiter': '/', 'start-after': 'b 漢'}).body)
    t.equal('encoded: start-after', text(page, 'StartAfter'), 'b%20%E6%BC%A2')
    t.equal('encoded: prefixes', sorted(p for p, is_prefix in entries(page) if is_prefix), ['%C3%BC/', 'b/'])
    page = tree(t.call('GET', query={'encoding-type': 'url', 'marker': 'a+', 'prefix': 'a b', 'delimiter': '+'}).body)
    t.equal('encoded: marker, prefix, delimiter', (text(page, 'Marker'), text(page, 'Prefix'), text(page, 'Delimiter')),
            ('a%2B', 'a%20b', '%2B'))
    t.answer('absent bucket, V1', t.raw.call('GET', '/g-absent'), 404, 'NoSuchBucket')
    t.answer('absent bucket, V2', t.raw.call('GET', '/g-absent', 'list-type=2'), 404, 'NoSuchBucket')
    t.answer('slash behind the bucket', t.raw.call('GET', f'/{t.bucket}/', 'list-type=2'), 200)
    t.answer('what nobody knows', t.call('GET', query={'list-type': '2', 'x-id': 'ListObjectsV2'}), 200)


def run(t):
    for key in KEYS:
        t.put(key, key.encode())
    walks(t)
    numbers(t)
    tokens(t)
    elements(t)
    t.clear()
    page = tree(t.call('GET', query={'list-type': '2'}).body)
    t.equal('empty bucket', (entries(page), text(page, 'KeyCount'), text(page, 'IsTruncated')), ([], '0', 'false'))
