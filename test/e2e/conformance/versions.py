"""Versions: ids, delete markers, null versions, lists of them page by page."""
from kit import XMLNS, text, tree


def switch(t, status):
    body = f'<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>'.encode()
    return t.call('PUT', query='versioning=', body=body)


def entries(t, **query):
    """(key, version, kind, is it the latest) in the order of the answer, and the answer."""
    page = tree(t.call('GET', query={'versions': '', **{k.replace('_', '-'): v for k, v in query.items()}}).body)
    kinds = {XMLNS + 'Version': 'v', XMLNS + 'DeleteMarker': 'm'}
    return ([(text(e, 'Key'), text(e, 'VersionId'), kinds[e.tag], text(e, 'IsLatest') == 'true')
             for e in page if e.tag in kinds], page)


def configuration(t):
    for name, body in (('none', b''), ('text', b'x'), ('no status', b'<VersioningConfiguration/>'),
                       ('another', b'<VersioningConfiguration><Status>On</Status></VersioningConfiguration>'),
                       ('lower case', b'<VersioningConfiguration><Status>enabled</Status></VersioningConfiguration>'),
                       ('another root', b'<Versioning><Status>Enabled</Status></Versioning>')):
        t.answer(f'configuration: {name}', t.call('PUT', query='versioning=', body=body), 400, 'MalformedXML')
    got = t.call('GET', query='versioning=')
    t.equal('never switched on', (got.status, text(tree(got.body), 'Status')), (200, None))
    t.answer('before: no version is told', t.put('null-one', b'null'), 200, x_amz_version_id=None)
    for turn, status in enumerate(('Enabled', 'Suspended', 'Enabled')):
        t.answer(f'{status}, turn {turn}', switch(t, status), 200)
        t.equal(f'{status} is told, turn {turn}', text(tree(t.call('GET', query='versioning=').body), 'Status'), status)


def ids(t):
    first = t.put('k', b'1').headers['x-amz-version-id']
    second = t.put('k', b'2').headers['x-amz-version-id']
    t.equal('ids differ', first != second and '' not in (first, second), True)
    for version, body in ((first, b'1'), (second, b'2')):
        t.answer(f'read {body}', t.call('GET', 'k', {'versionId': version}), 200, body=body, x_amz_version_id=version)
        t.answer(f'head {body}', t.call('HEAD', 'k', {'versionId': version}), 200, body=b'', x_amz_version_id=version)
        got = t.call('PUT', 'copy', headers={'x-amz-copy-source': f'/{t.bucket}/k?versionId={version}'})
        t.answer(f'copy {body}', got, 200, x_amz_copy_source_version_id=version)
        t.answer(f'copy {body}: read', t.call('GET', 'copy'), 200, body=body)
    for version in ('abc', first[:-1], first + 'x', ' ', '%', '0', 'ü', 'A' * 1000, "' or 1=1"):
        for method in ('GET', 'HEAD'):
            got = t.call(method, 'k', {'versionId': version})
            t.equal(f'{method} {version[:20]!r}', got.status in (400, 404), True, got.body)
    t.answer('empty id', t.call('GET', 'k', {'versionId': ''}), 400, 'InvalidArgument')
    # An id is a place in one shard's log: two keys may have the same, each of its own.
    other = next(key for key in (f'other {i}' for i in range(100))
                 if t.put(key, b'x').headers['x-amz-version-id'] != first)
    t.answer('of another key', t.call('GET', other, {'versionId': first}), 404, 'NoSuchVersion')
    t.answer('put of a version', t.call('PUT', 'k', {'versionId': first}, b'x'), 400, 'InvalidArgument')
    t.answer('the latest is as it was', t.call('GET', 'k'), 200, body=b'2')
    t.answer('null of what has none', t.call('GET', 'k', {'versionId': 'null'}), 404, 'NoSuchVersion')
    t.answer('null of what was before', t.call('GET', 'null-one', {'versionId': 'null'}), 200, body=b'null')


def markers(t):
    got = t.call('DELETE', 'k')
    marker = got.headers['x-amz-version-id']
    t.answer('delete', got, 204, x_amz_delete_marker='true')
    t.answer('get behind a marker', t.call('GET', 'k'), 404, 'NoSuchKey', x_amz_delete_marker='true')
    got = t.call('HEAD', 'k')
    t.equal('head behind a marker', (got.status, got.headers['x-amz-delete-marker'], got.body), (404, 'true', b''))
    t.answer('get of the marker', t.call('GET', 'k', {'versionId': marker}), 405, 'MethodNotAllowed', x_amz_delete_marker='true',
             Allow='DELETE')
    got = t.call('PUT', 'no', headers={'x-amz-copy-source': f'/{t.bucket}/k'})
    t.answer('copy behind a marker', got, 404, 'NoSuchKey')
    got = t.call('PUT', 'no', headers={'x-amz-copy-source': f'/{t.bucket}/k?versionId={marker}'})
    t.answer('copy of the marker', got, 400, 'InvalidRequest')
    t.equal('not in a list', 'k' in t.keys(), False)
    found = [e for e in entries(t)[0] if e[0] == 'k']
    t.equal('in a list of versions', [(e[2], e[3]) for e in found], [('m', True), ('v', False), ('v', False)])
    t.answer('to be new, behind a marker', t.call('PUT', 'k', body=b'3', headers={'If-None-Match': '*'}), 200)
    t.answer('the marker goes', t.call('DELETE', 'k', {'versionId': marker}), 204, x_amz_delete_marker='true', x_amz_version_id=marker)
    for key, version, kind, _ in entries(t, prefix='k')[0]:
        t.answer(f'version {kind}{len(t.names)} goes', t.call('DELETE', key, {'versionId': version}), 204, x_amz_version_id=version)
    t.equal('nothing of it is left', entries(t, prefix='k')[0], [])


def pages(t):
    for key in ('p/a', 'p/b', 'p/b', 'p/c', 'p/d/1', 'p/d/2', 'p/ü'):
        t.put(key, key.encode())
    t.call('DELETE', 'p/c')
    whole = entries(t, prefix='p/')[0]
    t.equal('all', [(e[0], e[2]) for e in whole], [('p/a', 'v'), ('p/b', 'v'), ('p/b', 'v'), ('p/c', 'm'), ('p/c', 'v'),
                                                   ('p/d/1', 'v'), ('p/d/2', 'v'), ('p/ü', 'v')])
    for size in (1, 2, 3, 7, 8, 1000):
        found, marks = [], {}
        for _ in range(10):
            some, page = entries(t, prefix='p/', max_keys=str(size), **marks)
            found += some
            if text(page, 'IsTruncated') != 'true':
                break
            marks = {'key_marker': text(page, 'NextKeyMarker'), 'version_id_marker': text(page, 'NextVersionIdMarker')}
        t.equal(f'pages of {size}', found, whole)
    some, page = entries(t, prefix='p/', delimiter='/')
    t.equal('delimiter', ([e[0] for e in some], [text(p, 'Prefix') for p in page.findall(XMLNS + 'CommonPrefixes')]),
            (['p/a', 'p/b', 'p/b', 'p/c', 'p/c', 'p/ü'], ['p/d/']))
    t.equal('key marker', [e[0] for e in entries(t, prefix='p/', key_marker='p/b')[0]], ['p/c', 'p/c', 'p/d/1', 'p/d/2', 'p/ü'])
    for name, value in (('max-keys', '-1'), ('max-keys', 'x'), ('encoding-type', 'x')):
        t.answer(f'{name} {value}', t.call('GET', query={'versions': '', name: value}), 400, 'InvalidArgument')
    t.answer('version marker without key', t.call('GET', query={'versions': '', 'version-id-marker': 'x'}), 400, 'InvalidArgument')


def suspended(t):
    kept = t.put('s', b'kept').headers['x-amz-version-id']
    switch(t, 'Suspended')
    t.answer('suspended: put', t.call('PUT', 's', body=b'null 1'), 200, x_amz_version_id='null')
    t.answer('suspended: put again', t.call('PUT', 's', body=b'null 2'), 200, x_amz_version_id='null')
    t.equal('suspended: one null', [(e[1] == 'null', e[3]) for e in entries(t, prefix='s')[0]], [(True, True), (False, False)])
    t.answer('suspended: the older stays', t.call('GET', 's', {'versionId': kept}), 200, body=b'kept')
    got = t.call('DELETE', 's')
    t.answer('suspended: delete', got, 204, x_amz_delete_marker='true', x_amz_version_id='null')
    t.equal('suspended: a null marker', [(e[1] == 'null', e[2]) for e in entries(t, prefix='s')[0]], [(True, 'm'), (False, 'v')])
    t.answer('suspended: the marker goes', t.call('DELETE', 's', {'versionId': 'null'}), 204)
    t.answer('suspended: the older is back', t.call('GET', 's'), 200, body=b'kept')
    t.answer('not empty', t.call('DELETE'), 409, 'BucketNotEmpty')


def run(t):
    configuration(t)
    ids(t)
    markers(t)
    pages(t)
    suspended(t)
