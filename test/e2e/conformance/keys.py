"""Names of objects: all that UTF-8 can say but NUL, to 1,024 bytes; each byte for byte what was sent."""
from kit import XMLNS, md5_of, quote, text, tree

GOOD = {
    'letter': 'a', 'space': ' ', 'spaces inside': 'a  b', 'space at both ends': ' a ', 'plus': '+', 'plus inside': 'a+b',
    'percent': '%', 'percent and hex': '%41', 'escape of an escape': '%2541', 'percent, no hex': '%zz',
    'escaped slash': '%2F', 'slash': '/', 'slashes': '//', 'three slashes': 'a///b', 'slash first': '/a',
    'slash last': 'a/', 'dot': '.', 'two dots': '..', 'dot folder': './a', 'up': '../a', 'up inside': 'a/../b',
    'dot inside': 'a/./b', 'dot last': 'a.', 'dots last': 'a/..', 'question mark': 'a?b', 'hash': 'a#b',
    'ampersand': 'a&b=c', 'semicolon': 'a;b', 'colon': 'a:b', 'at': '@', 'quotes': '"\'`', 'tags': '<a>&amp;</a>',
    'cdata': ']]>', 'entity': '&#0;', 'backslash': 'a\\b', 'bar': 'a|b', 'braces': '{a}', 'brackets': '[a]',
    'caret': '^', 'tilde': '~', 'star': '*', 'unreserved': 'aZ0-._~', 'reserved': "!*'();:@&=+$,/?%#[]",
    'looks like a query': '?acl', 'looks like a list': '?list-type=2', 'null': 'null', 'none': 'undefined',
    'control': '\x01', 'escape': '\x1b', 'tab': 'a\tb', 'newline': 'a\nb', 'carriage return': 'a\r\nb', 'delete': '\x7f',
    'latin': 'ü', 'composed': '\u00fc', 'taken apart': 'u\u0308', 'greek': 'Ω', 'cyrillic': 'Привет',
    'chinese': '漢字', 'arabic': 'مرحبا', 'right to left mark': '\u202ea', 'emoji': '🎈', 'emoji joined': '👩\u200d👩\u200d👧',
    'nothing wide': '\u200b', 'no-break space': '\u00a0', 'line separator': '\u2028', 'byte order mark': '\ufeffa',
    'not a character': '\uffff', 'last of all': '\U0010ffff', 'private': '\ue000', 'one byte long': 'x' * 1023,
    'longest': 'x' * 1024, 'longest of two bytes': 'ü' * 512, 'longest of three bytes': '漢' * 341 + 'x',
    'longest of four bytes': '🎈' * 256, 'longest of slashes': '/' * 1024, 'many folders': 'a/' * 512,
    'longest escaped': '%' * 1024,
}
# Addresses that are no key: what is sent behind the bucket, status and code.
BAD = {
    'too long': ('x' * 1025, 'KeyTooLongError'), 'too long of two bytes': ('%C3%BC' * 513, 'KeyTooLongError'),
    'too long of three bytes': ('%E6%BC%A2' * 342, 'KeyTooLongError'), 'zero': ('%00', None),
    'zero inside': ('a%00b', None), 'half a character': ('%C3', None), 'second byte alone': ('%BC', None),
    'no UTF-8': ('%FF', None), 'overlong slash': ('%C0%AF', None), 'overlong zero': ('%C0%80', None),
    'surrogate': ('%ED%A0%80', None), 'beyond Unicode': ('%F4%90%80%80', None), 'escape cut off': ('a%', None),
    'escape cut in half': ('a%4', None), 'escape without hex': ('a%zz', None),
}
# Ways to write one key.
SAME = {'upper-case hex': '%C3%BC%41', 'lower-case hex': '%c3%bc%41', 'letter as it is': '%C3%BCA'}


def run(t):
    for name, key in GOOD.items():
        body = f'{name}: {key}'.encode()
        put = t.call('PUT', key, body=body)
        t.answer(f'put: {name}', put, 200, ETag=md5_of(body))
    for name, key in GOOD.items():
        t.answer(f'get: {name}', t.call('GET', key), 200, body=f'{last(key)}: {key}'.encode())
    distinct = sorted(set(GOOD.values()), key=lambda k: k.encode())
    found = tree(t.call('GET', query={'list-type': '2', 'encoding-type': 'url'}).body)
    t.equal('list: all, encoded', [text(c, 'Key') for c in found.findall(XMLNS + 'Contents')],
            [quote(key, '/') for key in distinct])
    for name, key in GOOD.items():
        if len(key.encode()) < 1024:
            continue
        body = t.call('GET', query={'list-type': '2', 'prefix': key, 'encoding-type': 'url'}).body
        t.equal(f'prefix: {name}', [text(c, 'Key') for c in tree(body).findall(XMLNS + 'Contents')], [quote(key, '/')])
    for key in distinct:
        got = t.call('DELETE', key)
        assert got.status == 204, (key, got.body)
    t.equal('list: none', t.keys(), [])
    for name, key in GOOD.items():
        got = t.call('HEAD', key)
        t.equal(f'gone: {name}', (got.status, got.body), (404, b''))
    for name, (sent, code) in BAD.items():
        for method in ('PUT', 'GET', 'DELETE'):
            got = t.raw.call(method, f'/{t.bucket}/{sent}')
            t.equal(f'{method.lower()}: {name}', got.status, 400, got.body)
            if code is not None:
                t.equal(f'{method.lower()}, code: {name}', code in got.body.decode(), True, got.body)
    t.equal('nothing of it is there', t.keys(), [])
    for name, sent in SAME.items():
        t.answer(f'write: {name}', t.raw.call('PUT', f'/{t.bucket}/{sent}', body=name.encode()), 200)
        t.answer(f'read: {name}', t.call('GET', 'üA'), 200, body=name.encode())
    t.equal('one key in three ways', t.keys(), ['üA'])


def last(key):
    """The last name in the table of a key that is there twice."""
    return [name for name, other in GOOD.items() if other == key][-1]
