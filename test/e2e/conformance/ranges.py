"""GetObject and HeadObject of a part: Range, partNumber, of small, large and empty objects."""
from kit import BIG

SMALL = bytes(range(100))
# Range → first and last byte that come, 'all' (it is no range), or 'none' (416).
OF_100 = {
    'bytes=0-0': (0, 0), 'bytes=0-': (0, 99), 'bytes=0-99': (0, 99), 'bytes=0-100': (0, 99), 'bytes=99-': (99, 99),
    'bytes=99-99': (99, 99), 'bytes=50-60': (50, 60), 'bytes=-1': (99, 99), 'bytes=-99': (1, 99),
    'bytes=-100': (0, 99), 'bytes=-101': (0, 99), 'bytes=-0': 'none', 'bytes=100-': 'none', 'bytes=100-100': 'none',
    'bytes=100-200': 'none', 'bytes=5-4': 'all', 'bytes=': 'all', 'bytes=-': 'all', 'bytes=a-b': 'all',
    'bytes=1-b': 'all', 'bytes 0-1': 'all', 'items=0-1': 'all', '0-1': 'all', 'bytes=0x1-2': 'all', 'bytes=--1': 'all',
    'bytes=1--2': 'all', 'bytes=+1-2': 'all', 'bytes=0-18446744073709551615': (0, 99),
    'bytes=0-18446744073709551616': (0, 99), 'bytes=0-99999999999999999999999': (0, 99),
    'bytes=18446744073709551616-': 'none', 'bytes=18446744073709551615-': 'none',
    'bytes=-18446744073709551616': (0, 99), 'bytes=00000000000000000000001-2': (1, 2),
    'bytes=0-0,50-50': 'all', 'bytes=0-0,0-0': (0, 0),
}
BORDERS = ((0, 0), (1, 65536), (65535, 65536), (65536, 65536), (131071, 131072), (200000, len(BIG) - 1),
           (len(BIG) - 1, len(BIG) - 1))


def ranges(t, method, size, content, key):
    for header, wanted in OF_100.items():
        got = t.call(method, key, headers={'Range': header})
        name = f'{method} {size} {header}'
        if wanted == 'none':
            t.equal(name, (got.status, got.headers['Content-Range']), (416, f'bytes */{len(content)}'), got.body)
            continue
        part = content if wanted == 'all' else content[wanted[0]:wanted[1] + 1]
        told = None if wanted == 'all' else f'bytes {wanted[0]}-{wanted[1]}/{len(content)}'
        t.equal(name, (got.status, got.headers['Content-Length'], got.headers['Content-Range'],
                       got.body == (part if method == 'GET' else b'')),
                (200 if wanted == 'all' else 206, str(len(part)), told, True))


def run(t):
    t.put('small', SMALL)
    t.put('big', BIG)
    t.put('empty', b'')
    ranges(t, 'GET', 'small', SMALL, 'small')
    ranges(t, 'HEAD', 'small', SMALL, 'small')
    for first, last in BORDERS:
        got = t.call('GET', 'big', headers={'Range': f'bytes={first}-{last}'})
        t.answer(f'big {first}-{last}', got, 206, body=BIG[first:last + 1],
                 Content_Range=f'bytes {first}-{last}/{len(BIG)}')
        got = t.call('GET', 'big', headers={'Range': f'bytes=-{len(BIG) - first}'})
        t.answer(f'big, from the end {first}', got, 206, body=BIG[first:])
    for header in ('bytes=0-', 'bytes=0-0', 'bytes=-1', 'bytes=1-'):
        t.answer(f'empty {header}', t.call('GET', 'empty', headers={'Range': header}), 416, 'InvalidRange')
        got = t.call('HEAD', 'empty', headers={'Range': header})
        t.equal(f'empty, HEAD {header}', (got.status, got.body), (416, b''))
    t.answer('empty, no range', t.call('GET', 'empty', headers={'Range': 'bytes=x'}), 200, body=b'',
             Content_Length='0')
    t.answer('accepts', t.call('HEAD', 'small'), 200, Accept_Ranges='bytes')
    t.answer('of an absent one', t.call('GET', 'absent', headers={'Range': 'bytes=0-1'}), 404, 'NoSuchKey')
    # Parts of what came in one.
    for key, content in (('small', SMALL), ('big', BIG)):
        for method in ('GET', 'HEAD'):
            got = t.call(method, key, 'partNumber=1')
            wanted = f'bytes 0-{len(content) - 1}/{len(content)}' if content else None
            t.answer(f'{method} {key} part 1: its range', got, 206 if content else 200, Content_Range=wanted)
            t.answer(f'{method} {key} part 1', got, got.status, body=content if method == 'GET' else b'',
                     Content_Length=str(len(content)))
        t.answer(f'{key} part 2', t.call('GET', key, 'partNumber=2'), 416, 'InvalidPartNumber')
    for number in ('0', '-1', '10001', 'x', '1.5', '', '99999999999999999999'):
        t.answer(f'part {number!r}', t.call('GET', 'small', {'partNumber': number}), 400, 'InvalidArgument')
    got = t.call('GET', 'small', 'partNumber=1', headers={'Range': 'bytes=0-1'})
    t.answer('part and range', got, 400, 'InvalidRequest')
