"""Buckets: names, CreateBucket's body, what is not there, and what HEAD does not say."""
from kit import XMLNS, text, tree

# Name → can there be such a bucket?
NAMES = {
    'abc': True, 'a-b': True, 'a.b.c': True, '123': True, '1ab': True, 'a1-': False, '-ab': False, 'ab-': False,
    '.ab': False, 'ab.': False, 'a..b': False, 'a.-b': None, 'a-.b': None, 'ab': False, 'a': False, 'Abc': False, 'aBc': False,
    'abC': False, 'a_b': False, 'a b': False, 'a+b': False, 'a%b': False, 'a/b': None, 'ünd': False, 'a!b': False,
    'a*b': False, 'a:b': False, 'a~b': False, 'a@b': False, "a'b": False, 'a\\b': False, 'a\nb': False, 'a\tb': False,
    '192.168.5.4': False, '127.0.0.1': False, '1.2.3': True, '1.2.3.4.5': True, 'x' * 63: True, 'x' * 64: False,
    'x' * 255: False, 'x' * 2000: False, '...': False, '---': False, '\x7fab': False,
}
BODIES = {
    'none': (b'', 200, ''), 'empty': (b'<CreateBucketConfiguration/>', 200, ''),
    'namespace': (b'<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>', 200, ''),
    'declaration': (b'<?xml version="1.0" encoding="UTF-8"?>\n<CreateBucketConfiguration/>', 200, ''),
    'own region': (b'<CreateBucketConfiguration><LocationConstraint>us-east-1</LocationConstraint>'
                   b'</CreateBucketConfiguration>', 200, ''),
    'another region': (b'<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint>'
                       b'</CreateBucketConfiguration>', 400, 'IllegalLocationConstraintException'),
    'text': (b'x', 400, 'MalformedXML'), 'open': (b'<CreateBucketConfiguration>', 400, 'MalformedXML'),
    'another element': (b'<Other/>', 400, 'MalformedXML'), 'two roots': (b'<CreateBucketConfiguration/><a/>', 400, 'MalformedXML'),
    'document type': (b'<!DOCTYPE a [<!ENTITY e "x">]><CreateBucketConfiguration/>', 400, 'MalformedXML'),
    'external entity': (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><CreateBucketConfiguration/>', 400, 'MalformedXML'),
    'zero byte': (b'<CreateBucketConfiguration>\x00</CreateBucketConfiguration>', 400, 'MalformedXML'),
    'no UTF-8': (b'<CreateBucketConfiguration><LocationConstraint>\xff</LocationConstraint></CreateBucketConfiguration>',
                 400, 'MalformedXML'),
    'deep': (b'<a>' * 5000 + b'</a>' * 5000, 400, 'MalformedXML'),
    'long': (b'<CreateBucketConfiguration>' + b' ' * (2 << 20) + b'</CreateBucketConfiguration>', 400, 'MalformedXML'),
}
# GET of what is not set up here: code.
UNSET = {'policy': 'NoSuchBucketPolicy', 'lifecycle': 'NoSuchLifecycleConfiguration',
         'encryption': 'ServerSideEncryptionConfigurationNotFoundError', 'website': 'NoSuchWebsiteConfiguration',
         'replication': 'ReplicationConfigurationNotFoundError', 'object-lock': 'ObjectLockConfigurationNotFoundError',
         'publicAccessBlock': 'NoSuchPublicAccessBlockConfiguration', 'ownershipControls': 'OwnershipControlsNotFoundError'}


def names(t):
    for name, good in NAMES.items():
        if good is None:
            continue
        path = '/' + ''.join(f'%{b:02X}' if not chr(b).isalnum() and chr(b) not in '-._~' or b > 127 else chr(b)
                             for b in name.encode())
        made = t.raw.call('PUT', path)
        t.answer(f'create {name[:30]!r} of {len(name)}', made, *((200, '') if good else (400, 'InvalidBucketName')))
        head = t.raw.call('HEAD', path)
        t.equal(f'head {name[:30]!r} of {len(name)}', (head.status if good else head.status in (400, 404), head.body),
                (200 if good else True, b''))
        if good:
            t.answer(f'delete {name[:30]!r} of {len(name)}', t.raw.call('DELETE', path), 204)


def bodies(t):
    for name, (body, status, code) in BODIES.items():
        t.answer(f'body: {name}', t.raw.call('PUT', '/g-body', body=body), status, code)
        gone = t.raw.call('DELETE', '/g-body')
        t.equal(f'body, after: {name}', gone.status, 204 if status == 200 else 404)


def there_and_not(t):
    listed = tree(t.raw.call('GET', '/').body)
    found = [text(b, 'Name') for b in listed.iter(XMLNS + 'Bucket')]
    t.equal('list: sorted, with this one', (t.bucket in found, found), (True, sorted(found)))
    t.equal('list: owner', text(listed.find(XMLNS + 'Owner'), 'ID') is not None, True)
    t.equal('again, in us-east-1', t.call('PUT').status, 200)
    t.answer('again, elsewhere', t.raw.call('PUT', t.path(), region='eu-west-1'), 409, 'BucketAlreadyOwnedByYou')
    t.answer('location', t.call('GET', query='location='), 200)
    t.answer('head', t.call('HEAD'), 200, body=b'')
    t.put('k')
    t.answer('delete: not empty', t.call('DELETE'), 409, 'BucketNotEmpty')
    t.call('DELETE', 'k')
    for method, key, query, body in (('GET', None, '', b''), ('DELETE', None, '', b''), ('GET', None, 'location=', b''),
                                     ('GET', None, 'versioning=', b''), ('GET', None, 'versions=', b''),
                                     ('GET', None, 'uploads=', b''), ('GET', None, 'acl=', b''), ('GET', 'k', '', b''),
                                     ('PUT', 'k', '', b'x'), ('DELETE', 'k', '', b''), ('POST', 'k', 'uploads=', b''),
                                     ('GET', 'k', 'acl=', b''), ('GET', 'k', 'uploadId=x', b'')):
        got = t.raw.call(method, '/g-absent' + (f'/{key}' if key else ''), query, body)
        t.answer(f'absent: {method} {key} {query}', got, 404, 'NoSuchBucket')
    for method, key in (('HEAD', ''), ('HEAD', '/k')):
        got = t.raw.call(method, '/g-absent' + key)
        t.equal(f'absent: {method} {key}', (got.status, got.body), (404, b''))
    for param, code in UNSET.items():
        t.answer(f'unset: {param}', t.call('GET', query=f'{param}='), 404, code)
        t.answer(f'unset, absent: {param}', t.raw.call('GET', '/g-absent', f'{param}='), 404, 'NoSuchBucket')
        t.answer(f'set: {param}', t.call('PUT', query=f'{param}=', body=b'<a/>'), 501, 'NotImplemented')


def hosts(t):
    """Virtual-host style."""
    t.put('k', b'by path')
    host = f'{t.bucket}.s3.example'
    t.answer('host: object', t.raw.call('GET', '/k', host=host), 200, body=b'by path')
    t.answer('host: port', t.raw.call('GET', '/k', host=f'{host}:1234'), 200, body=b'by path')
    t.answer('host: upper case', t.raw.call('GET', '/k', host=f'{t.bucket}.S3.Example'), 200, body=b'by path')
    t.answer('host: list', t.raw.call('GET', '/', 'list-type=2', host=host), 200)
    t.answer('host: service', t.raw.call('GET', '/', host='s3.example'), 200)
    t.answer('host: another, by path', t.raw.call('GET', t.path('k'), host='other.example'), 200, body=b'by path')
    t.answer('host: a name behind it', t.raw.call('GET', '/k', host=f'{host}.evil'), 404, 'NoSuchBucket')
    t.answer('host: absent', t.raw.call('GET', '/k', host='g-absent.s3.example'), 404, 'NoSuchBucket')
    t.answer('host: key like a path', t.raw.call('GET', t.path('k'), host=host), 404, 'NoSuchKey')
    t.call('DELETE', 'k')


def run(t):
    names(t)
    bodies(t)
    there_and_not(t)
    hosts(t)
