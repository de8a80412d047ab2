"""DeleteObject and DeleteObjects."""
from kit import CHECKSUMS, XMLNS, checksum, content_md5, text, tree

OPEN = b'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'


def of(*keys, more=b''):
    return OPEN + more + b''.join(b'<Object><Key>%s</Key></Object>' % k for k in keys) + b'</Delete>'


def send(t, body, **headers):
    return t.call('POST', query='delete=', body=body,
                  headers={'Content-MD5': content_md5(body), **{k.replace('_', '-'): v for k, v in headers.items()}})


def told(got):
    """(keys that are gone, (key, code) of those that are not)."""
    page = tree(got.body)
    return ([text(d, 'Key') for d in page.findall(XMLNS + 'Deleted')],
            [(text(e, 'Key'), text(e, 'Code')) for e in page.findall(XMLNS + 'Error')])


def bad_bodies(t):
    one = b'<Object><Key>keep</Key></Object>'
    for name, body in {
            'none': b'', 'text': b'x', 'no object': b'<Delete/>', 'no object, open': OPEN + b'</Delete>',
            'empty object': b'<Delete><Object/></Delete>', 'empty key': b'<Delete><Object><Key/></Object></Delete>',
            'cut off': of(b'keep')[:-1], 'another root': b'<Deletes>' + one + b'</Deletes>',
            'one deeper': b'<A><Delete>' + one + b'</Delete></A>', 'two keys': b'<Delete><Object><Key>keep</Key><Key>b</Key></Object></Delete>',
            'document type': b'<!DOCTYPE a>' + of(b'keep'), 'entity': b'<!DOCTYPE a [<!ENTITY e "keep">]>' + of(b'&e;'),
            'unknown entity': of(b'&nbsp;'), 'zero': of(b'&#0;'), 'a control character': of(b'&#1;'),
            'no UTF-8': of(b'\xff'), 'behind the end': of(b'keep') + b'x', 'two at once': of(b'keep') * 2,
            'unknown element': OPEN + one + b'<Other/></Delete>', 'quiet is no truth': of(b'keep', more=b'<Quiet>perhaps</Quiet>'),
            '1001': of(*[b'keep'] * 1001), 'long': of(b'keep') + b' ' * (8 << 20)}.items():
        got = send(t, body)
        t.answer(f'body: {name}', got, 400, 'MalformedXML')
    t.equal('body: nothing went', t.call('HEAD', 'keep').status, 200)


def digests(t):
    one = of(b'k')
    bare = t.call('POST', query='delete=', body=one)
    t.answer('no digest', bare, 400, 'InvalidRequest')
    t.answer('MD5 wrong', send(t, one, Content_MD5=content_md5(b'x')), 400, 'BadDigest')
    t.answer('MD5 no MD5', send(t, one, Content_MD5='x'), 400, 'InvalidDigest')
    t.equal('digest: nothing went', t.call('HEAD', 'k').status, 200)
    for name in CHECKSUMS:
        header = f'x-amz-checksum-{name}'
        got = t.call('POST', query='delete=', body=one, headers={header: checksum(name, b'x')})
        t.answer(f'{name} wrong', got, 400, 'BadDigest')
        t.put('k')
        got = t.call('POST', query='delete=', body=one, headers={header: checksum(name, one)})
        t.answer(f'{name} right', got, 200)
        t.equal(f'{name} right: gone', t.call('HEAD', 'k').status, 404)


def good(t):
    names = {'plain': (b'a', 'a'), 'entity': (b'a&amp;&lt;&gt;&quot;&apos;', 'a&<>"\''), 'number': (b'&#65;&#x42;', 'AB'),
             'unicode': ('ü漢🎈'.encode(), 'ü漢🎈'), 'spaces': (b'  a  ', '  a  '), 'newline': (b'a&#10;b', 'a\nb'),
             'carriage return': (b'a&#13;b', 'a\rb'), 'CDATA': (b'<![CDATA[a&b]]>', 'a&b'), 'slashes': (b'//', '//'),
             'escape': (b'a%20b', 'a%20b'), 'longest': (b'x' * 1024, 'x' * 1024), 'comment': (b'a<!-- -->c', 'ac')}
    for name, (sent, key) in names.items():
        t.put(key)
        got = send(t, of(sent))
        t.equal(f'key: {name}', (got.status, told(got)[0]), (200, [key]), got.body)
        t.equal(f'key: {name}: gone', t.call('HEAD', key).status, 404)
    got = send(t, of(b'never', b'there'))
    t.equal('absent', told(got), (['never', 'there'], []))
    t.put('k')
    got = send(t, of(b'k', b'k'))
    t.equal('twice the same', (got.status, told(got)[0][0], told(got)[1]), (200, 'k', []))
    got = send(t, of(b'x' * 1025, b'k'))
    t.equal('one too long', told(got), (['k'], [('x' * 1025, 'KeyTooLongError')]))
    for quiet, seen in ((b'true', []), (b'false', ['k']), (b'TRUE', []), (b'True', [])):
        t.put('k')
        got = send(t, of(b'k', more=b'<Quiet>%s</Quiet>' % quiet))
        t.equal(f'quiet {quiet.decode()}', (got.status, told(got)[0]), (200, seen))
    for i in range(30):
        t.put(f'many/{i}')
    got = send(t, of(*[f'many/{i}'.encode() for i in range(1000)]))
    t.equal('1000', (len(told(got)[0]), t.keys(prefix='many/')), (1000, []))
    got = t.raw.call('POST', '/g-absent', 'delete=', of(b'a'), {'Content-MD5': content_md5(of(b'a'))})
    t.answer('absent bucket', got, 404, 'NoSuchBucket')


def single(t):
    t.answer('one: absent', t.call('DELETE', 'absent'), 204, body=b'')
    t.put('k')
    t.answer('one: there', t.call('DELETE', 'k'), 204, body=b'')
    t.answer('one: again', t.call('DELETE', 'k'), 204, body=b'')
    t.put('a/b')
    t.answer('a folder that is no object', t.call('DELETE', 'a/'), 204)
    t.equal('its file stays', t.call('HEAD', 'a/b').status, 200)
    t.answer('a version that is not there', t.call('DELETE', 'a/b', 'versionId=00000000000000000099'), 204)
    t.answer('what is no version', t.call('DELETE', 'a/b', 'versionId=abc'), 400, 'InvalidArgument')
    t.answer('an empty version', t.call('DELETE', 'a/b', 'versionId='), 400, 'InvalidArgument')
    t.equal('its file still stays', t.call('HEAD', 'a/b').status, 200)
    t.answer('the null version', t.call('DELETE', 'a/b', 'versionId=null'), 204)
    t.equal('it is gone', t.call('HEAD', 'a/b').status, 404)


def run(t):
    for key in ('keep', 'k'):
        t.put(key)
    bad_bodies(t)
    digests(t)
    good(t)
    single(t)
