"""Which of S3's operations were asked for, from the server's access log; and the table of
docs/s3.md that is made of it. Python's standard library only."""
import re

BEGIN, END = '<!-- made by ./dev s3-clients --write -->\n', '<!-- end -->\n'
# Operations as S3 names them: method, what the address names, what the query holds, the name.
# The first that fits is it; those that need a parameter come before those that need none.
SERVICE, BUCKET, OBJECT = 'service', 'bucket', 'object'
OPERATIONS = (
    ('GET', SERVICE, '', 'ListBuckets'),
    ('GET', BUCKET, 'location', 'GetBucketLocation'),
    ('GET', BUCKET, 'versioning', 'GetBucketVersioning'),
    ('PUT', BUCKET, 'versioning', 'PutBucketVersioning'),
    ('GET', BUCKET, 'acl', 'GetBucketAcl'),
    ('PUT', BUCKET, 'acl', 'PutBucketAcl'),
    ('GET', BUCKET, 'cors', 'GetBucketCors'),
    ('PUT', BUCKET, 'cors', 'PutBucketCors'),
    ('DELETE', BUCKET, 'cors', 'DeleteBucketCors'),
    ('GET', BUCKET, 'tagging', 'GetBucketTagging'),
    ('PUT', BUCKET, 'tagging', 'PutBucketTagging'),
    ('DELETE', BUCKET, 'tagging', 'DeleteBucketTagging'),
    ('GET', BUCKET, 'versions', 'ListObjectVersions'),
    ('GET', BUCKET, 'uploads', 'ListMultipartUploads'),
    ('GET', BUCKET, 'list-type', 'ListObjectsV2'),
    ('POST', BUCKET, 'delete', 'DeleteObjects'),
    ('POST', BUCKET, '', 'PostObject'),
    ('GET', BUCKET, '', 'ListObjects'),
    ('PUT', BUCKET, '', 'CreateBucket'),
    ('HEAD', BUCKET, '', 'HeadBucket'),
    ('DELETE', BUCKET, '', 'DeleteBucket'),
    ('GET', OBJECT, 'acl', 'GetObjectAcl'),
    ('PUT', OBJECT, 'acl', 'PutObjectAcl'),
    ('GET', OBJECT, 'tagging', 'GetObjectTagging'),
    ('PUT', OBJECT, 'tagging', 'PutObjectTagging'),
    ('DELETE', OBJECT, 'tagging', 'DeleteObjectTagging'),
    ('GET', OBJECT, 'attributes', 'GetObjectAttributes'),
    ('GET', OBJECT, 'uploadId', 'ListParts'),
    ('POST', OBJECT, 'uploads', 'CreateMultipartUpload'),
    ('POST', OBJECT, 'uploadId', 'CompleteMultipartUpload'),
    ('DELETE', OBJECT, 'uploadId', 'AbortMultipartUpload'),
    ('PUT', OBJECT, 'uploadId', 'UploadPart'),
    ('PUT', OBJECT, '', 'PutObject'),
    ('GET', OBJECT, '', 'GetObject'),
    ('HEAD', OBJECT, '', 'HeadObject'),
    ('DELETE', OBJECT, '', 'DeleteObject'),
)
# The two that differ from another by a header; the log names what was done.
COPIES = {'copy': 'CopyObject', 'upload_part_copy': 'UploadPartCopy'}
ORDER = [row[3] for row in OPERATIONS]
ORDER[ORDER.index('UploadPart') + 1:ORDER.index('UploadPart') + 1] = ['UploadPartCopy']
ORDER[ORDER.index('PutObject') + 1:ORDER.index('PutObject') + 1] = ['CopyObject']
# What has parameters of its own that this list lacks (`?policy`) is none of these.
OTHERS = re.compile(r'policy|lifecycle|encryption|website|replication|object-lock|publicAccessBlock|ownershipControls')
# Columns, and how each is named.
CLIENTS = {'boto3_newest': 'boto3', 'boto3_debian': "boto3, Debian's", 'aws_newest': 'aws',
           'aws_debian': "aws, Debian's", 'sdk_js': 'SDK for JavaScript 3', 'minio_py': 'minio-py', 's3cmd': 's3cmd',
           'rclone': 'rclone', 'restic': 'restic (minio-go)', 's3fs': 's3fs'}


def operation(line):
    """S3's name of a line of the access log; None: it is not in the list."""
    if line['op'] in COPIES:
        return COPIES[line['op']]
    path = line['path'].strip('/')
    scope = OBJECT if '/' in path else BUCKET if path else SERVICE
    params = line['params'].split(',')
    if any(OTHERS.fullmatch(param) for param in params):
        return None
    for method, place, param, name in OPERATIONS:
        if (method, place) == (line['method'], scope) and (not param or param in params):
            return name
    return None


def answered(events):
    """The operations that were asked for at the S3 door and not refused."""
    lines = [e for e in events if e['event'] == 'http.request' and 'params' in e]
    return {operation(line) for line in lines if int(line['status']) < 400} - {None}


def table(done, versions):
    """done: (client, 'HTTP' or 'TLS') → operations. Lines in Markdown."""
    columns = [c for c in CLIENTS if c in versions]
    yield '| operation | ' + ' | '.join(f'{CLIENTS[c]} {versions[c]}' for c in columns) + ' |\n'
    yield '|---' * (len(columns) + 1) + '|\n'
    for name in ORDER:
        cells = []
        for column in columns:
            kinds = [kind for kind in ('HTTP', 'TLS') if name in done.get((column, kind), ())]
            cells.append('yes' if len(kinds) == 2 else ''.join(kinds))
        if any(cells):
            yield f'| {name} | ' + ' | '.join(cells) + ' |\n'


def parts(path):
    """The page before the table, the table's lines, and the page behind it."""
    with open(path, encoding='utf-8') as file:
        before, rest = file.read().split(BEGIN)
    told, behind = rest.split(END)
    return before, told.splitlines(), behind


def write(path, done, versions):
    before, _, behind = parts(path)
    with open(path, 'w', encoding='utf-8') as file:
        file.write(before + BEGIN + ''.join(table(done, versions)) + END + behind)


def missing(path, done):
    """What the page's table tells and done does not have."""
    lines = [[cell.strip() for cell in line.strip('|').split('|')] for line in parts(path)[1]]
    if not lines:
        return ['the table is empty']
    columns = []
    for head in lines[0][1:]:
        title = re.sub(r' [\d.]+$', '', head)
        columns.append(next(c for c, name in CLIENTS.items() if name == title))
    out = [f'column {c}' for c in CLIENTS if c not in columns]
    for name, *cells in lines[2:]:
        for column, cell in zip(columns, cells):
            wanted = ('HTTP', 'TLS') if cell == 'yes' else [cell] if cell else ()
            out += [f'{name} by {column} over {kind}' for kind in wanted
                    if name not in done.get((column, kind), ())]
    return out
