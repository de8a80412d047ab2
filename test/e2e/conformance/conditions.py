"""Conditions of reads, writes, copies and deletes: all that can be combined, as RFC 9110 section
13.2.2 and S3 have it."""
import itertools

from kit import md5_of

BODY = b'the body'
ETAG = md5_of(BODY)
PAST, FUTURE = 'Sat, 01 Jan 2000 00:00:00 GMT', 'Fri, 01 Jan 2100 00:00:00 GMT'
# Condition → how it is sent so that it holds, and so that it does not.
MATCH = {'holds': ETAG, 'fails': '"other"'}
NONE_MATCH = {'holds': '"other"', 'fails': ETAG}
MODIFIED = {'holds': PAST, 'fails': FUTURE}
UNMODIFIED = {'holds': FUTURE, 'fails': PAST}
KINDS = (None, 'holds', 'fails')


def status_of(match, none_match, modified, unmodified):
    """What a read is answered when each is None, 'holds' or 'fails'."""
    if match == 'fails' or match is None and unmodified == 'fails':
        return 412
    if none_match == 'fails' or none_match is None and modified == 'fails':
        return 304
    return 200


def combinations():
    """(name, the four kinds, their headers without x-amz-copy-source-)."""
    for kinds in itertools.product(KINDS, repeat=4):
        headers = {}
        for header, values, kind in zip(('if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since'),
                                        (MATCH, NONE_MATCH, MODIFIED, UNMODIFIED), kinds):
            if kind is not None:
                headers[header] = values[kind]
        yield ' '.join(str(kind) for kind in kinds), kinds, headers


def reads(t):
    for name, kinds, headers in combinations():
        wanted = status_of(*kinds)
        got = t.call('GET', 'k', headers=headers)
        t.equal(f'get: {name}', (got.status, got.body == BODY), (wanted, wanted == 200), got.body)
        got = t.call('HEAD', 'k', headers=headers)
        t.equal(f'head: {name}', (got.status, got.body), (wanted, b''))


def copies(t):
    for name, kinds, headers in combinations():
        sent = {f'x-amz-copy-source-{k}': v for k, v in headers.items()}
        got = t.call('PUT', 'copy', headers={'x-amz-copy-source': f'/{t.bucket}/k', **sent})
        wanted = 200 if status_of(*kinds) == 200 else 412
        t.answer(f'copy: {name}', got, wanted, '' if wanted == 200 else 'PreconditionFailed')


def lists_of_etags(t):
    bare = ETAG.strip('"')
    for sent, matches in ((ETAG, True), (bare, True), ('*', True), (f'"a", {ETAG}', True), (f'{ETAG},"a"', True),
                          (f'"a","b" , {ETAG} ,"c"', True), ('"a", "b"', False), (f'"{bare[:-1]}"', False),
                          (f'"{bare}0"', False), ('""', False), (f'"{bare.upper()}"', False)):
        got = t.call('GET', 'k', headers={'If-Match': sent})
        t.answer(f'match: {sent}', got, *((200, '') if matches else (412, 'PreconditionFailed')))
        got = t.call('GET', 'k', headers={'If-None-Match': sent})
        t.equal(f'none match: {sent}', got.status, 304 if matches else 200)
    t.equal('weak, to match', t.call('GET', 'k', headers={'If-Match': f'W/{ETAG}'}).status, 412)
    t.equal('weak, to match none', t.call('GET', 'k', headers={'If-None-Match': f'W/{ETAG}'}).status, 304)
    t.answer('304 has the etag', t.call('GET', 'k', headers={'If-None-Match': ETAG}), 304, body=b'', ETag=ETAG)
    kept = {'Cache-Control': 'max-age=5', 'Expires': 'Wed, 21 Oct 2065 07:28:00 GMT', 'Content-Language': 'de'}
    t.call('PUT', 'cached', body=b'x', headers=kept)
    whole = t.call('GET', 'cached')
    got = t.call('GET', 'cached', headers={'If-None-Match': whole.headers['ETag']})
    t.equal('304 has what caches need', [got.status, *(got.headers[n] for n in ('ETag', 'Last-Modified', *kept))],
            [304, *(whole.headers[n] for n in ('ETag', 'Last-Modified', 'Cache-Control', 'Expires')), None])
    got = t.call('HEAD', 'cached', {'response-cache-control': 'no-cache'}, headers={'If-None-Match': whole.headers['ETag']})
    t.equal('304, overridden', (got.status, got.headers['Cache-Control']), (304, 'no-cache'))
    t.answer('absent, to match', t.call('GET', 'absent', headers={'If-Match': '*'}), 404, 'NoSuchKey')
    t.answer('absent, to match none', t.call('GET', 'absent', headers={'If-None-Match': '*'}), 404, 'NoSuchKey')


def dates(t):
    own = t.call('HEAD', 'k').headers['Last-Modified']
    t.equal('of its own time, modified', t.call('GET', 'k', headers={'If-Modified-Since': own}).status, 304)
    t.equal('of its own time, unmodified', t.call('GET', 'k', headers={'If-Unmodified-Since': own}).status, 200)
    # The two forms that RFC 9110 calls obsolete are not read: no client of S3 sends them.
    for sent, read in ((PAST, True), ('Saturday, 01-Jan-00 00:00:00 GMT', False), ('Sat Jan  1 00:00:00 2000', False),
                       ('2000-01-01T00:00:00Z', False), ('yesterday', False), ('0', False),
                       ('Sat, 32 Jan 2000 00:00:00 GMT', False)):
        got = t.call('GET', 'k', headers={'If-Unmodified-Since': sent})
        t.equal(f'unmodified since {sent}', got.status, 412 if read else 200, got.body)


def writes(t):
    """key, headers → status, code; what was refused left everything as it was."""
    other = md5_of(b'other')
    for name, key, headers, status, code in (
            ('new, to be new', 'new', {'If-None-Match': '*'}, 200, ''),
            ('there, to be new', 'k', {'If-None-Match': '*'}, 412, 'PreconditionFailed'),
            ('there, to match', 'k', {'If-Match': ETAG}, 200, ''),
            ('there, to match, bare', 'k', {'If-Match': ETAG.strip('"')}, 200, ''),
            ('there, to match another', 'k', {'If-Match': other}, 412, 'PreconditionFailed'),
            ('absent, to match', 'absent', {'If-Match': ETAG}, 404, 'NoSuchKey')):
        for size, body in (('small', b'written'), ('large', b'written' * 20000)):
            t.call('DELETE', 'new')
            t.put('k', BODY)
            got = t.call('PUT', key, body=body, headers=headers)
            t.answer(f'put, {size}: {name}', got, status, code)
            after = t.call('GET', key)
            seen = body if status == 200 else BODY if key == 'k' else None
            t.equal(f'after put, {size}: {name}', after.body == seen if seen else after.status, True if seen else 404)
        t.call('DELETE', 'new')
        t.put('k', BODY)
        got = t.call('PUT', key, headers={'x-amz-copy-source': f'/{t.bucket}/k', 'x-amz-metadata-directive': 'REPLACE',
                                          'x-amz-meta-a': 'b', **headers})
        t.answer(f'copy upon: {name}', got, status, code)


def deletes(t):
    for name, key, etag, status, code in (
            ('another etag', 'k', '"other"', 412, 'PreconditionFailed'), ('its etag', 'k', ETAG, 204, ''),
            ('its etag, bare', 'k', ETAG.strip('"'), 204, ''), ('any', 'k', '*', 204, ''),
            ('absent', 'absent', ETAG, 404, 'NoSuchKey'), ('absent, any', 'absent', '*', 412, 'PreconditionFailed')):
        t.put('k', BODY)
        got = t.call('DELETE', key, headers={'If-Match': etag})
        t.answer(f'delete: {name}', got, status, code)
        t.equal(f'after delete: {name}', t.call('HEAD', 'k').status, 404 if status == 204 else 200)


def run(t):
    t.put('k', BODY)
    reads(t)
    copies(t)
    lists_of_etags(t)
    dates(t)
    writes(t)
    deletes(t)
