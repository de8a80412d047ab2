"""Content-MD5, x-amz-content-sha256 and each checksum: right, wrong, and no checksum at all."""
from kit import BIG, CHECKSUMS, base64_of, checksum, content_md5

SIZES = {'empty': b'', 'small': b'hello world', 'large': BIG}


def each(t):
    for size, body in SIZES.items():
        if size == 'large':
            names = ('sha1', 'sha256')  # the others take Python too long
        else:
            names = CHECKSUMS
        for name in names:
            header, value = f'x-amz-checksum-{name}', checksum(name, body)
            got = t.call('PUT', 'k', body=body, headers={header: value})
            t.answer(f'{size} {name}: right', got, 200, **{header: value})
            got = t.call('GET', 'k', headers={'x-amz-checksum-mode': 'ENABLED'})
            t.answer(f'{size} {name}: told', got, 200, body=body, **{header: value, 'x-amz-checksum-type': 'FULL_OBJECT'})
            t.answer(f'{size} {name}: not unasked', t.call('GET', 'k'), 200, **{header: None})
            wrong = base64_of(bytes([CHECKSUMS[name](body)[0] ^ 1]) + CHECKSUMS[name](body)[1:])
            for what, sent, code in (('one bit off', wrong, 'BadDigest'), ('too short', value[4:], 'InvalidRequest'),
                                     ('too long', 'AAAA' + value, 'InvalidRequest'), ('empty', '', 'InvalidRequest'),
                                     ('no base64', '!' + value[1:], 'InvalidRequest'),
                                     ('hex', CHECKSUMS[name](body).hex(), 'InvalidRequest')):
                got = t.call('PUT', 'wrong', body=body, headers={header: sent})
                t.answer(f'{size} {name}: {what}', got, 400, code)
        t.equal(f'{size}: nothing wrong was kept', t.call('HEAD', 'wrong').status, 404)


def md5(t):
    for size, body in SIZES.items():
        t.answer(f'{size} MD5: right', t.call('PUT', 'k', body=body, headers={'Content-MD5': content_md5(body)}), 200)
        for what, sent, code in (('of another', content_md5(body + b'x'), 'BadDigest'), ('empty', '', 'InvalidDigest'),
                                 ('short', 'AAAA', 'InvalidDigest'), ('long', content_md5(body) + 'AAAA', 'InvalidDigest'),
                                 ('no base64', '!' * 24, 'InvalidDigest'), ('hex', '0' * 32, 'InvalidDigest')):
            got = t.call('PUT', 'wrong', body=body, headers={'Content-MD5': sent})
            t.answer(f'{size} MD5: {what}', got, 400, code)
        got = t.call('PUT', 'wrong', body=body, body_hash='0' * 64)
        t.answer(f'{size} SHA-256 of the signature', got, 400, 'XAmzContentSHA256Mismatch')
    t.equal('MD5: nothing wrong was kept', t.call('HEAD', 'wrong').status, 404)


def several(t):
    body = b'hello world'
    right = {f'x-amz-checksum-{n}': checksum(n, body) for n in CHECKSUMS}
    got = t.call('PUT', 'wrong', body=body, headers={k: right[k] for k in list(right)[:2]})
    t.answer('two at once', got, 400, 'InvalidRequest')
    got = t.call('PUT', 'k', body=body, headers={'x-amz-checksum-crc32': right['x-amz-checksum-crc32'],
                                                 'Content-MD5': content_md5(body)})
    t.answer('with MD5', got, 200)
    got = t.call('PUT', 'wrong', body=body, headers={'x-amz-checksum-crc32': right['x-amz-checksum-crc32'],
                                                     'Content-MD5': content_md5(b'')})
    t.answer('right, with a wrong MD5', got, 400, 'BadDigest')
    for sdk, header, status in (('CRC32', 'crc32', 200), ('crc32', 'crc32', 200), ('SHA256', 'crc32', 400),
                                ('MD5', 'crc32', 400), ('', 'crc32', 400), ('CRC64NVME', 'crc64nvme', 200)):
        got = t.call('PUT', 'k' if status == 200 else 'wrong', body=body,
                     headers={'x-amz-sdk-checksum-algorithm': sdk, f'x-amz-checksum-{header}': checksum(header, body)})
        t.answer(f'named {sdk!r}, sent {header}', got, status, '' if status == 200 else 'InvalidRequest')
    for header in ('x-amz-checksum-md4', 'x-amz-checksum-', 'x-amz-checksum-crc16', 'x-amz-checksum-crc32x'):
        t.answer(f'nobody knows {header}', t.call('PUT', 'wrong', body=body, headers={header: 'AAAA'}), 400,
                 'InvalidRequest')
    t.answer('none: CRC64NVME is made', t.call('PUT', 'k', body=b'123456789'), 200,
             x_amz_checksum_crc64nvme=base64_of(0xae8b14860a799888.to_bytes(8, 'big')))
    got = t.call('GET', 'k', headers={'x-amz-checksum-mode': 'ENABLED', 'Range': 'bytes=0-1'})
    t.answer('of a range none is told', got, 206, body=b'12', x_amz_checksum_crc64nvme=None)
    t.equal('several: nothing wrong was kept', t.call('HEAD', 'wrong').status, 404)


def run(t):
    each(t)
    md5(t)
    several(t)
