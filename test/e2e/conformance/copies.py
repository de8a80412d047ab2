"""CopyObject: where from, what goes with it, what is refused."""
from kit import BIG, XMLNS, md5_of, quote, text, tree

TOLD = {'Content-Type': 'a/b', 'Cache-Control': 'no-cache', 'Content-Disposition': 'inline', 'Content-Language': 'de',
        'Content-Encoding': 'gzip', 'x-amz-meta-a': '1', 'x-amz-meta-b': '2'}
ODD = ('a b', 'a+b', 'a%b', 'a%2Fb', '//', 'a?b', 'a#b', 'ü/漢/🎈', '../a', "!*'()", 'x' * 1024)


def copy(t, source, key='copy', **headers):
    return t.call('PUT', key, headers={'x-amz-copy-source': source,
                                       **{k.replace('_', '-'): v for k, v in headers.items()}})


def sources(t):
    for key in ODD:
        t.put(key, key.encode())
        for way, source in (('slash', f'/{t.bucket}/{quote(key, "/")}'), ('bare', f'{t.bucket}/{quote(key, "/")}'),
                            ('all escaped', quote(f'/{t.bucket}/{key}'))):
            t.answer(f'from {key[:20]!r}, {way}', copy(t, source), 200)
            t.answer(f'from {key[:20]!r}, {way}, read', t.call('GET', 'copy'), 200, body=key.encode())
    bucket = t.bucket
    for name, source, status, code in (
            ('absent key', f'/{bucket}/absent', 404, 'NoSuchKey'), ('absent bucket', '/g-absent/k', 404, 'NoSuchBucket'),
            ('no key', f'/{bucket}', 400, 'InvalidArgument'), ('no key, slash', f'/{bucket}/', 400, 'InvalidArgument'),
            ('empty', '', 400, 'InvalidArgument'), ('slash', '/', 400, 'InvalidArgument'),
            ('slashes', '//', 400, 'InvalidArgument'), ('bad escape', f'/{bucket}/%zz', 400, 'InvalidArgument'),
            ('no such version', f'/{bucket}/a%20b?versionId=00000000000000000099', 404, 'NoSuchVersion'),
            ('what is no version', f'/{bucket}/a%20b?versionId=abc', 400, 'InvalidArgument'),
            ('an empty version', f'/{bucket}/a%20b?versionId=', 400, 'InvalidArgument'),
            ('another parameter', f'/{bucket}/a%20b?acl', 400, 'InvalidArgument'),
            ('too long', f'/{bucket}/' + 'x' * 1025, 404, 'NoSuchKey')):
        got = copy(t, source, 'no')
        seen = (got.status // 100, True) if name == 'too long' else None
        if seen:
            t.equal(f'refused: {name}', seen, (4, True))
        else:
            t.answer(f'refused: {name}', got, status, code)
    t.answer('refused: a range, which a part has', copy(t, f'/{bucket}/a%20b', 'no', x_amz_copy_source_range='bytes=0-1'),
             501, 'NotImplemented')
    t.equal('refused: nothing was made', t.call('HEAD', 'no').status, 404)


def attributes(t):
    t.call('PUT', 'from', body=b'content', headers=TOLD)
    source = f'/{t.bucket}/from'
    for size, body in (('small', b'content'), ('large', BIG)):
        t.call('PUT', 'from', body=body, headers=TOLD)
        got = copy(t, source)
        result = tree(got.body)
        t.equal(f'{size}: answer', (got.status, text(result, 'ETag')), (200, md5_of(body)))
        t.answer(f'{size}: all goes with it', t.call('GET', 'copy'), 200, body=body, **TOLD)
        copy(t, source, x_amz_metadata_directive='COPY', x_amz_meta_c='3', Content_Type='c/d')
        t.answer(f'{size}: COPY takes none of the request', t.call('HEAD', 'copy'), 200, **TOLD, x_amz_meta_c=None)
        copy(t, source, x_amz_metadata_directive='REPLACE', x_amz_meta_c='3')
        t.answer(f'{size}: REPLACE takes none of the source', t.call('GET', 'copy'), 200, body=body, x_amz_meta_c='3',
                 x_amz_meta_a=None, Content_Type='binary/octet-stream', Cache_Control=None, Content_Disposition=None)
        t.answer(f'{size}: onto itself', copy(t, source, 'from'), 400, 'InvalidRequest')
        got = copy(t, source, 'from', x_amz_metadata_directive='REPLACE', Content_Type='e/f')
        t.answer(f'{size}: onto itself, replaced', got, 200)
        t.answer(f'{size}: onto itself, read', t.call('GET', 'from'), 200, body=body, Content_Type='e/f', x_amz_meta_a=None)
    for value in ('replace', 'copy', 'x', ''):
        t.answer(f'directive {value!r}', copy(t, source, x_amz_metadata_directive=value), 400, 'InvalidArgument')
    t.answer('to an absent bucket', t.raw.call('PUT', '/g-absent/k', headers={'x-amz-copy-source': source}), 404,
             'NoSuchBucket')
    t.answer('to a key too long', t.raw.call('PUT', f'/{t.bucket}/' + 'x' * 1025, headers={'x-amz-copy-source': source}),
             400, 'KeyTooLongError')
    t.answer('metadata too large', copy(t, source, x_amz_metadata_directive='REPLACE', x_amz_meta_a='x' * 2048), 400,
             'MetadataTooLarge')
    t.answer('an algorithm that is none', copy(t, source, x_amz_checksum_algorithm='MD4'), 400, 'InvalidRequest')
    for algorithm in ('CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'):
        result = tree(copy(t, source, x_amz_checksum_algorithm=algorithm).body)
        t.equal(f'checksum asked for: {algorithm}', result.find(f'{XMLNS}Checksum{algorithm}') is not None, True)
    t.put('empty', b'')
    t.answer('of nothing', copy(t, f'/{t.bucket}/empty'), 200)
    t.answer('of nothing, read', t.call('GET', 'copy'), 200, body=b'')


def run(t):
    sources(t)
    attributes(t)
