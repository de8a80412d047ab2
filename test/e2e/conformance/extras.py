"""Tags of objects and buckets, lists of access, CORS rules, GetObjectAttributes: limits and what is
none."""
from kit import XMLNS, content_md5, quote, text, tree

GOOD_ACL = ('private', 'bucket-owner-full-control')
BAD_ACL = ('public-read', 'public-read-write', 'authenticated-read', 'aws-exec-read', 'bucket-owner-read', 'log-delivery-write', 'x')


def tagging(pairs):
    rows = ''.join(f'<Tag><Key>{k}</Key><Value>{v}</Value></Tag>' for k, v in pairs)
    return f'<Tagging><TagSet>{rows}</TagSet></Tagging>'.encode()


def tags_of(got):
    return [(text(tag, 'Key'), text(tag, 'Value')) for tag in tree(got.body).iter(XMLNS + 'Tag')]


def put(t, key, query, body, **headers):
    return t.call('PUT', key, query, body, {'Content-MD5': content_md5(body), **headers})


def tags(t):
    t.put('k')
    for key, most in (('k', 10), (None, 50)):
        what = 'object' if key else 'bucket'
        for name, pairs, good in (
                ('one', [('a', 'b')], True), ('empty value', [('a', '')], True), ('unicode', [('ü', '漢')], True),
                ('spaces', [('a b', 'c d')], True), ('most', [(f'k{i}', 'v') for i in range(most)], True),
                ('one too many', [(f'k{i}', 'v') for i in range(most + 1)], False), ('twice', [('a', '1'), ('a', '2')], False),
                ('long key', [('k' * 128, 'v')], True), ('key too long', [('k' * 129, 'v')], False),
                ('long value', [('k', 'v' * 256)], True), ('value too long', [('k', 'v' * 257)], False),
                ('no key', [('', 'v')], False)):
            got = put(t, key, 'tagging=', tagging(pairs))
            t.equal(f'tags, {what}: {name}', got.status, (200 if key else 204) if good else 400, got.body)
            if good:
                t.equal(f'tags, {what}: {name}: told', sorted(tags_of(t.call('GET', key, 'tagging='))), sorted(pairs))
        for name, body in (('text', b'x'), ('another root', b'<A/>'), ('no set', b'<Tagging/>'), ('document type', b'<!DOCTYPE a>' + tagging([])),
                           ('cut', tagging([('a', 'b')])[:-4])):
            got = put(t, key, 'tagging=', body)
            t.answer(f'tags, {what}: {name}', got, 400, 'MalformedXML')
        t.answer(f'tags, {what}: go', t.call('DELETE', key, 'tagging='), 204, body=b'')
    t.equal('tags, object: none', tags_of(t.call('GET', 'k', 'tagging=')), [])
    t.answer('tags, bucket: none', t.call('GET', None, 'tagging='), 404, 'NoSuchTagSet')
    t.answer('tags of what is not there', t.call('GET', 'absent', 'tagging='), 404, 'NoSuchKey')
    t.answer('tags to what is not there', put(t, 'absent', 'tagging=', tagging([('a', 'b')])), 404, 'NoSuchKey')
    for sent, pairs in (('a=b', [('a', 'b')]), ('a=b&c=d', [('a', 'b'), ('c', 'd')]), ('a=', [('a', '')]),
                        ('a%20b=c%26d', [('a b', 'c&d')]), (quote('ü') + '=' + quote('漢'), [('ü', '漢')])):
        t.answer(f'tags in a header: {sent}', t.call('PUT', 'k', body=b'x', headers={'x-amz-tagging': sent}), 200)
        t.equal(f'tags in a header: {sent}: told', sorted(tags_of(t.call('GET', 'k', 'tagging='))), sorted(pairs))
        t.answer(f'tags in a header: {sent}: counted', t.call('HEAD', 'k'), 200, x_amz_tagging_count=str(len(pairs)))
    for sent in ('a=1&a=2', '=b', 'a=%zz', '&'.join(f'k{i}=v' for i in range(11)), 'k' * 129 + '=v', 'k=' + 'v' * 257):
        got = t.call('PUT', 'no', body=b'x', headers={'x-amz-tagging': sent})
        t.equal(f'tags in a header: {sent[:30]}: refused', got.status, 400, got.body)
    t.equal('tags in a header: nothing was kept', t.call('HEAD', 'no').status, 404)
    t.put('k')
    t.answer('an overwrite forgets tags', t.call('HEAD', 'k'), 200, x_amz_tagging_count=None)


def access(t):
    t.put('k')
    for key in ('k', None):
        what = 'object' if key else 'bucket'
        told = t.call('GET', key, 'acl=')
        t.equal(f'access, {what}: told', (told.status, told.body.count(b'<Permission>FULL_CONTROL</Permission>')), (200, 1))
        t.answer(f'access, {what}: the same again', put(t, key, 'acl=', told.body), 200)
        for canned in GOOD_ACL:
            t.answer(f'access, {what}: {canned}', t.call('PUT', key, 'acl=', headers={'x-amz-acl': canned}), 200)
        for canned in BAD_ACL:
            got = t.call('PUT', key, 'acl=', headers={'x-amz-acl': canned})
            t.equal(f'access, {what}: {canned}', got.status, 400, got.body)
        for grant in ('read', 'write', 'read-acp', 'write-acp', 'full-control'):
            got = t.call('PUT', key, 'acl=', headers={f'x-amz-grant-{grant}': 'id="x"'})
            t.equal(f'access, {what}: grant {grant}', got.status, 400, got.body)
        everyone = told.body.replace(b'FULL_CONTROL', b'READ')
        t.equal(f'access, {what}: less for the owner', put(t, key, 'acl=', everyone).status, 400)
        for name, body in (('text', b'x'), ('another root', b'<A/>')):
            t.answer(f'access, {what}: {name}', put(t, key, 'acl=', body), 400, 'MalformedXML')
    for canned in BAD_ACL:
        t.equal(f'access of a new object: {canned}', t.call('PUT', 'no', body=b'x', headers={'x-amz-acl': canned}).status, 400)
    t.equal('access: nothing was made', t.call('HEAD', 'no').status, 404)
    t.answer('access of what is not there', t.call('GET', 'absent', 'acl='), 404, 'NoSuchKey')


def rule(origin='https://a.example', method='GET', more=''):
    return f'<CORSRule><AllowedOrigin>{origin}</AllowedOrigin><AllowedMethod>{method}</AllowedMethod>{more}</CORSRule>'


def cors(t):
    def configure(rules):
        return put(t, None, 'cors=', f'<CORSConfiguration>{rules}</CORSConfiguration>'.encode())

    def preflight(origin, method, headers=None):
        return t.raw.send('OPTIONS', t.path('k'), {'Origin': origin, 'Access-Control-Request-Method': method,
                                                   **({'Access-Control-Request-Headers': headers} if headers else {})})
    t.answer('rules: none', t.call('GET', None, 'cors='), 404, 'NoSuchCORSConfiguration')
    t.equal('preflight: no rules', preflight('https://a.example', 'GET').status, 403)
    for name, rules, good in (
            ('one', rule(), True), ('any origin', rule('*'), True), ('one star', rule('https://*.example'), True),
            ('two stars', rule('*.a.*'), False), ('another method', rule(method='PATCH'), False), ('lower case', rule(method='get'), False),
            ('no origin', '<CORSRule><AllowedMethod>GET</AllowedMethod></CORSRule>', False),
            ('no method', '<CORSRule><AllowedOrigin>*</AllowedOrigin></CORSRule>', False), ('empty', '', False),
            ('age', rule(more='<MaxAgeSeconds>60</MaxAgeSeconds>'), True), ('no age', rule(more='<MaxAgeSeconds>x</MaxAgeSeconds>'), False),
            ('most', rule() * 100, True), ('one too many', rule() * 101, False), ('text', 'x', False)):
        got = configure(rules)
        t.equal(f'rules: {name}', got.status, 200 if good else 400, got.body)
    t.answer('rules: set', configure(rule(method='PUT', more='<AllowedHeader>x-amz-*</AllowedHeader><MaxAgeSeconds>60</MaxAgeSeconds>')
                                     + rule('https://*.b.example')), 200)
    for origin, method, headers, good in (
            ('https://a.example', 'PUT', None, True), ('https://a.example', 'PUT', 'x-amz-date', True), ('https://a.example', 'PUT', 'X-Amz-Date, x-amz-acl', True),
            ('https://a.example', 'PUT', 'content-type', False), ('https://a.example', 'GET', None, False), ('https://a.example', 'DELETE', None, False),
            ('http://a.example', 'PUT', None, False), ('https://a.example.evil', 'PUT', None, False), ('https://x.b.example', 'GET', None, True),
            ('https://b.example', 'GET', None, False), ('null', 'GET', None, False)):
        got = preflight(origin, method, headers)
        t.equal(f'preflight: {origin} {method} {headers}', (got.status, got.headers['Access-Control-Allow-Origin']),
                (200, origin) if good else (403, None))
    t.answer('rules: go', t.call('DELETE', None, 'cors='), 204)
    t.answer('rules: gone', t.call('GET', None, 'cors='), 404, 'NoSuchCORSConfiguration')


def attributes(t):
    t.put('k', b'hello')

    def ask(names, key='k'):
        return t.call('GET', key, 'attributes=', headers={'x-amz-object-attributes': names})
    for name, element in (('ETag', 'ETag'), ('ObjectSize', 'ObjectSize'), ('StorageClass', 'StorageClass'), ('Checksum', 'Checksum')):
        page = tree(ask(name).body)
        t.equal(f'attribute {name}', [child.tag for child in page], [XMLNS + element])
    page = tree(ask('ETag,ObjectSize').body)
    t.equal('attributes: two', (text(page, 'ETag'), text(page, 'ObjectSize')), ('5d41402abc4b2a76b9719d911017c592', '5'))
    for names in ('', 'x', 'ETag,x', 'etag'):
        got = ask(names)
        t.equal(f'attributes {names!r}', got.status, 400, got.body)
    t.equal('attributes: none named', t.call('GET', 'k', 'attributes=').status, 400)
    t.answer('attributes of what is not there', ask('ETag', 'absent'), 404, 'NoSuchKey')


def run(t):
    tags(t)
    access(t)
    cors(t)
    attributes(t)
