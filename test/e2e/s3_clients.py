#!/usr/bin/env python3
"""Programs that speak S3 and that nobody here wrote, each at work on a server of its own, over HTTP
and over TLS: what they store is read back by them and by the REST door, and compared.

    s3_clients.py BINARY [TEST...] [--write]

./dev s3-clients-tools installs them. Prints `LAYER s3-clients required= executed= failed=`, where
one test is one client over one of both. The server's access log tells which of S3's operations each
of them asked for and got: docs/s3.md has that as a table, which --write makes anew, and which the
last test holds against this run.
"""
import contextlib
import filecmp
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import s3_operations  # noqa: E402
from certificates import Authority  # noqa: E402
from server import free_port  # noqa: E402
from smoke import expect  # noqa: E402
from suite import Suite  # noqa: E402

SUITE = Suite('s3-clients')
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
VENV = os.path.join(ROOT, 'build-tools/s3-clients/bin')
NODE = os.path.join(ROOT, 'build-tools/s3-js')
PAGE = os.path.join(ROOT, 'docs/s3.md')
LONG_S = 300  # within which all ends that does, on a machine that is ten times slower
MIB = 1 << 20
FUSE = '/dev/fuse'
INSTALLS = './dev s3-clients-tools installs it'
DEVICE = 'the kernel needs its module fuse, a container the device'
# Names that file systems hold and addresses do not like.
ODD = ['a b', 'a+b', 'a%20b', '%', 'ü ß 漢字 🎈', 'a?b#c', '&<>"\'', 'x' * 200, "!*'();:@=,$[]", '~', '\\']
DONE = {}  # (client, 'HTTP' or 'TLS') → its operations that were answered
VERSIONS = {}  # client → what it says of itself


class Case:
    """A server, and where a client keeps its things."""

    def __init__(self, folder, tls):
        self.folder, self.tls = folder, tls
        self.server = SUITE.server(folder, '--access-log')
        self.server.s3_address = f'127.0.0.1:{free_port()}'
        self.host = self.server.s3_address
        self.url = f'{"https" if tls else "http"}://{self.host}'
        self.ca = None
        if tls:
            authority = Authority(f'{folder}/authority')
            self.ca = authority.cert
            authority.make(f'{folder}/tls.pem', f'{folder}/tls.key')
            self.server.options += ['--tls-cert', f'{folder}/tls.pem', '--tls-key', f'{folder}/tls.key']
            self.server.tls = authority.trust()
        self.server.start()
        self.key_id, self.secret = self.server.key().split('.')
        os.mkdir(f'{folder}/home')

    def run(self, *words, status=0, cwd=None, **env):
        """A program, as a user of it who has no files of his own here; what it printed."""
        trust = {name: self.ca for name in ('NODE_EXTRA_CA_CERTS', 'CURL_CA_BUNDLE') if self.ca}
        own = {name: value for name, value in os.environ.items()
               if not name.startswith(('AWS_', 'RCLONE_', 'RESTIC_'))}
        env = {**own, 'HOME': f'{self.folder}/home', 'TMPDIR': self.folder, 'LC_ALL': 'C.UTF-8',
               'AWS_ACCESS_KEY_ID': self.key_id, 'AWS_SECRET_ACCESS_KEY': self.secret,
               'AWS_DEFAULT_REGION': 'us-east-1', 'AWS_EC2_METADATA_DISABLED': 'true', 'AWS_MAX_ATTEMPTS': '1',
               **trust, **env}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=env, cwd=cwd,
                              timeout=LONG_S, stdin=subprocess.DEVNULL)
        expect(done.returncode, status, f'{words}: {done.stdout[-1500:]}{done.stderr[-3000:]}')
        return done.stdout

    def tree(self, name='tree'):
        """A folder with small files in folders, odd names, an empty file, and one of 11 MiB."""
        root = f'{self.folder}/{name}'
        for i in range(40):
            os.makedirs(f'{root}/many/{i % 4}', exist_ok=True)
            write(f'{root}/many/{i % 4}/{i}', content(i * 37, i))
        os.makedirs(f'{root}/odd', exist_ok=True)
        for i, odd in enumerate(ODD):
            write(f'{root}/odd/{odd}', content(100 + i, i))
        write(f'{root}/empty', b'')
        write(f'{root}/large', content(11 * MIB + 5, 99))
        return root

    def stored(self, bucket, prefix, root):
        """The REST door has each file of root below prefix, with its bytes."""
        for folder, _, names in os.walk(root):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, 'rb') as file:
                    body = file.read()
                got = self.server.get(bucket, prefix + os.path.relpath(path, root))
                expect((got.status, got.body == body), (200, True), path)

    def empty(self, bucket):
        """The bucket has no file, and no upload is left."""
        got = self.server.request('GET', f'/v1/files?bucket={bucket}')
        expect((got.status, got.json()['files']), (200, []))


def content(size, seed):
    """Bytes that differ from seed to seed, and from place to place."""
    return hashlib.shake_256(str(seed).encode()).digest(size)


def write(path, body):
    with open(path, 'wb') as file:
        file.write(body)


def same_trees(one, two):
    """Both have the same folders and files, with the same bytes."""
    def names(root):
        return sorted(os.path.relpath(os.path.join(folder, name), root)
                      for folder, _, files in os.walk(root) for name in files)
    expect(names(two), names(one))
    for name in names(one):
        expect(filecmp.cmp(f'{one}/{name}', f'{two}/{name}', shallow=False), True, name)


def client(*needs):
    """Marks the work of a client: two tests, over HTTP and over TLS."""
    def mark(work):
        def over(kind):
            def run(folder):
                for need in needs:
                    if not (os.path.exists(need) or shutil.which(need)):
                        raise AssertionError(f'{need} is not there: {DEVICE if need == FUSE else INSTALLS}')
                case = Case(folder, kind == 'TLS')
                try:
                    work(case)
                    DONE[work.__name__, kind] = s3_operations.answered(case.server.events())
                    expect(case.server.stop(), 0)
                finally:
                    case.server.end()
            run.__name__ = f'{work.__name__}_{kind.lower()}'
            run.__doc__ = work.__doc__
            SUITE.bare(run)
        over('HTTP')
        over('TLS')
        return work
    return mark


def version(name, text, pattern=r'(\d+\.\d+[.\d]*)'):
    VERSIONS[name] = re.search(pattern, text)[1]


# --- libraries ---

def boto(case, name, python):
    version(name, case.run(python, '-c', 'import boto3; print(boto3.__version__)'))
    case.run(python, f'{HERE}/s3_clients_boto.py', case.url, case.key_id, case.secret, f'{case.folder}/w',
             case.ca or '-')


@client(f'{VENV}/python')
def boto3_newest(case):
    boto(case, 'boto3_newest', f'{VENV}/python')


@client('/usr/lib/python3/dist-packages/boto3')
def boto3_debian(case):
    boto(case, 'boto3_debian', '/usr/bin/python3')


@client('node', f'{NODE}/node_modules')
def sdk_js(case):
    """The script lies beside its modules, which is where node looks for them."""
    script = f'{NODE}/s3_clients.js'
    shutil.copy(f'{HERE}/s3_clients.js', script)
    with open(f'{NODE}/node_modules/@aws-sdk/client-s3/package.json', encoding='utf-8') as file:
        VERSIONS['sdk_js'] = json.load(file)['version']
    os.mkdir(f'{case.folder}/w')
    case.run('node', script, case.url, case.key_id, case.secret, f'{case.folder}/w')


@client(f'{VENV}/python')
def minio_py(case):
    version('minio_py', case.run(f'{VENV}/python', '-c', 'import minio; print(minio.__version__)'))
    case.run(f'{VENV}/python', f'{HERE}/s3_clients_minio.py', case.host, case.key_id, case.secret,
             f'{case.folder}/w', case.ca or '-')


# --- programs ---

def aws(case, name, *program):
    """The high commands of the AWS command line, over a tree; the slow start of each counts, so over
    TLS those that have a body or need none of the others."""
    version(name, case.run(*program, '--version'), r'aws-cli/(\S+)')

    trust = {'AWS_CA_BUNDLE': case.ca} if case.tls else {}  # rclone would stumble over it

    def s3(*words, **more):
        return case.run(*program, '--endpoint-url', case.url, *words, **trust, **more)

    tree, back = case.tree(), f'{case.folder}/back'
    s3('s3', 'mb', 's3://by-aws')
    s3('s3', 'sync', tree, 's3://by-aws/tree')
    case.stored('by-aws', 'tree/', tree)
    if not case.tls:
        aws_more(case, s3, name, tree)
    s3('s3', 'sync', 's3://by-aws/tree', back)
    same_trees(tree, back)
    s3('s3', 'rm', '--recursive', '--quiet', 's3://by-aws')
    case.empty('by-aws')
    s3('s3', 'rb', 's3://by-aws')


def aws_more(case, s3, name, tree):
    """Lists, moves and copies of parts, HEAD."""
    expect(s3('s3', 'sync', '--size-only', tree, 's3://by-aws/tree'), '')  # nothing to do
    expect('PRE tree/' in s3('s3', 'ls', 's3://by-aws'), True)
    expect(len(s3('s3', 'ls', '--recursive', 's3://by-aws/tree/odd/').splitlines()), len(ODD))
    s3('s3', 'mv', 's3://by-aws/tree/large', 's3://by-aws/moved')  # a copy of parts
    s3('s3', 'cp', 's3://by-aws/moved', f'{case.folder}/moved')
    expect(filecmp.cmp(f'{case.folder}/moved', f'{tree}/large', shallow=False), True)
    s3('s3', 'mv', 's3://by-aws/moved', 's3://by-aws/tree/large')
    head = json.loads(s3('s3api', 'head-object', '--bucket', 'by-aws', '--key', 'tree/large'))
    expect(head['ContentLength'], 11 * MIB + 5)
    refused = 255 if VERSIONS[name].startswith('1.') else 254
    s3('s3api', 'head-object', '--bucket', 'by-aws', '--key', 'absent', status=refused)


@client(f'{VENV}/aws')
def aws_newest(case):
    aws(case, 'aws_newest', f'{VENV}/aws')


@client('/usr/bin/aws')
def aws_debian(case):
    aws(case, 'aws_debian', '/usr/bin/aws')


@client('/usr/bin/s3cmd')
def s3cmd(case):
    """Put, get, sync both ways, parts, copies, moves, changed headers, deletes."""
    version('s3cmd', case.run('s3cmd', '--version'))
    secure = [f'--ca-certs={case.ca}', '--ssl'] if case.tls else ['--no-ssl']

    def run(*words, **more):
        return case.run('/usr/bin/s3cmd', f'--host={case.host}', f'--host-bucket={case.host}', '--no-progress',
                        '--multipart-chunk-size-mb=5', f'--access_key={case.key_id}',
                        f'--secret_key={case.secret}', *secure, *words, **more)

    tree, back = case.tree(), f'{case.folder}/back'
    run('mb', 's3://by-s3cmd')
    expect('s3://by-s3cmd' in run('ls'), True)
    run('sync', f'{tree}/', 's3://by-s3cmd/tree/')
    case.stored('by-s3cmd', 'tree/', tree)
    expect('upload:' in run('sync', f'{tree}/', 's3://by-s3cmd/tree/'), False)
    expect(len(run('ls', '-r', 's3://by-s3cmd/tree/odd/').splitlines()), len(ODD))
    expect('DIR' in run('ls', 's3://by-s3cmd/tree/'), True)
    expect(f'File size: {11 * MIB + 5}' in run('info', 's3://by-s3cmd/tree/large'), True)
    os.mkdir(back)
    run('sync', 's3://by-s3cmd/tree/', f'{back}/')
    same_trees(tree, back)
    run('put', '--add-header=x-amz-meta-a:b', f'{tree}/many/1/1', 's3://by-s3cmd/one')
    run('modify', '--add-header=x-amz-meta-c:d', 's3://by-s3cmd/one')
    told = case.server.get('by-s3cmd', 'one').headers
    expect((told['Holdfast-Meta-a'], told['Holdfast-Meta-c']), ('b', 'd'))
    run('cp', 's3://by-s3cmd/one', 's3://by-s3cmd/two')
    run('mv', 's3://by-s3cmd/two', 's3://by-s3cmd/three')
    run('get', 's3://by-s3cmd/three', f'{case.folder}/three')
    expect(filecmp.cmp(f'{case.folder}/three', f'{tree}/many/1/1', shallow=False), True)
    run('du', 's3://by-s3cmd')
    run('multipart', 's3://by-s3cmd')
    run('del', 's3://by-s3cmd/one')
    run('del', '-r', '-f', 's3://by-s3cmd')
    case.empty('by-s3cmd')
    run('rb', 's3://by-s3cmd')
    run('info', 's3://by-s3cmd', status=12)  # it is not there


@client('/usr/bin/rclone')
def rclone(case):
    """sync, check of all bytes, copies with metadata, streams, server-side moves, purge."""
    version('rclone', case.run('rclone', 'version'))
    setup = {'TYPE': 's3', 'PROVIDER': 'Other', 'ENDPOINT': case.url, 'ACCESS_KEY_ID': case.key_id,
             'SECRET_ACCESS_KEY': case.secret, 'CHUNK_SIZE': '5Mi', 'UPLOAD_CUTOFF': '5Mi'}
    env = {f'RCLONE_CONFIG_HF_{name}': value for name, value in setup.items()}
    trust = ['--ca-cert', case.ca] if case.tls else []

    def run(*words, **more):
        return case.run('/usr/bin/rclone', '--retries', '1', '--low-level-retries', '1', *trust, *words, **env,
                        **more)

    tree, back = case.tree(), f'{case.folder}/back'
    run('mkdir', 'hf:by-rclone')
    run('sync', tree, 'hf:by-rclone/tree')
    case.stored('by-rclone', 'tree/', tree)
    run('check', '--download', tree, 'hf:by-rclone/tree')
    run('check', tree, 'hf:by-rclone/tree')
    os.remove(f'{tree}/many/1/1')
    write(f'{tree}/many/2/2', b'other bytes')
    run('sync', tree, 'hf:by-rclone/tree')
    expect(case.server.get('by-rclone', 'tree/many/1/1').status, 404)
    run('sync', 'hf:by-rclone/tree', back)
    same_trees(tree, back)
    run('copy', '--metadata', '--metadata-set', 'colour=red', f'{tree}/empty', 'hf:by-rclone/meta')
    run('copyto', '--metadata', 'hf:by-rclone/meta/empty', 'hf:by-rclone/meta/copy')
    listed = json.loads(run('lsjson', '--metadata', 'hf:by-rclone/meta'))
    expect([(f['Name'], f['Metadata']['colour']) for f in listed], [('copy', 'red'), ('empty', 'red')])
    run('moveto', 'hf:by-rclone/tree/large', 'hf:by-rclone/moved')
    run('copyto', '--s3-copy-cutoff', '5Mi', 'hf:by-rclone/moved', 'hf:by-rclone/parts')  # copies of parts
    expect(case.server.get('by-rclone', 'parts').body == content(11 * MIB + 5, 99), True)
    write(f'{case.folder}/text', ''.join(f'line {i}\n' for i in range(1000)).encode())
    run('copyto', f'{case.folder}/text', 'hf:by-rclone/text')
    expect(run('cat', '--offset', '7', '--count', '6', 'hf:by-rclone/text'), 'line 1')
    run('touch', 'hf:by-rclone/moved')  # a new time: a copy onto itself
    expect(json.loads(run('size', '--json', 'hf:by-rclone/tree/odd'))['count'], len(ODD))
    run('delete', 'hf:by-rclone/meta')
    run('purge', 'hf:by-rclone')
    expect(case.server.request('GET', '/v1/buckets/by-rclone').status, 404)


@client('/usr/bin/restic')
def restic(case):
    """A repository: two backups, all its data read, the older forgotten and pruned, restored."""
    version('restic', case.run('restic', 'version'))
    env = {'RESTIC_REPOSITORY': f's3:{case.url}/by-restic/repo', 'RESTIC_PASSWORD': 'secret'}
    trust = ['--cacert', case.ca] if case.tls else []

    def run(*words):
        return case.run('/usr/bin/restic', *trust, *words, **env)

    tree = case.tree()
    run('init')
    run('backup', tree)
    write(f'{tree}/large', content(11 * MIB, 5))
    os.remove(f'{tree}/many/1/1')
    run('backup', tree)
    expect(len(json.loads(run('snapshots', '--json'))), 2)
    run('check', '--read-data')
    run('forget', '--keep-last', '1', '--prune')
    expect(len(json.loads(run('snapshots', '--json'))), 1)
    run('check', '--read-data')
    run('restore', 'latest', '--target', f'{case.folder}/back')
    same_trees(tree, f'{case.folder}/back{tree}')


@contextlib.contextmanager
def mounted(case, bucket, at):
    """bucket by s3fs, in the foreground, until the end."""
    os.makedirs(at)
    write(f'{case.folder}/passwd', f'{case.key_id}:{case.secret}'.encode())
    os.chmod(f'{case.folder}/passwd', 0o600)
    env = {**os.environ, 'HOME': f'{case.folder}/home', **({'CURL_CA_BUNDLE': case.ca} if case.tls else {})}
    with open(f'{case.folder}/s3fs.log', 'wb') as log:
        process = subprocess.Popen(
            ['/usr/bin/s3fs', bucket, at, '-f', '-o', f'url={case.url}', '-o', 'use_path_request_style',
             '-o', f'passwd_file={case.folder}/passwd', '-o', 'multipart_size=5',
             '-o', 'retries=3'],  # it reads CURL_CA_BUNDLE once it was refused
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
    try:
        end = time.monotonic() + LONG_S
        while not os.path.ismount(at):
            if process.poll() is not None or time.monotonic() > end:
                with open(f'{case.folder}/s3fs.log', encoding='utf-8', errors='replace') as log:
                    raise AssertionError(f's3fs does not mount: {log.read()[-2000:]}')
            time.sleep(0.05)
        yield
        case.run('fusermount', '-u', at)
        expect(process.wait(LONG_S), 0)
    finally:
        if process.poll() is None:
            subprocess.run(['fusermount', '-u', '-z', at], check=False, capture_output=True)
            process.kill()
            process.wait()


@client('/usr/bin/s3fs', 'git', 'fusermount', FUSE)
def s3fs(case):
    """A git repository is made in a mounted bucket, and is whole after it was mounted again."""
    version('s3fs', case.run('s3fs', '--version'))
    expect(case.server.request('PUT', '/v1/buckets/by-s3fs').status, 201)
    at, tree = f'{case.folder}/mount', f'{case.folder}/tree'
    case.tree()
    who = {'GIT_AUTHOR_NAME': 'a', 'GIT_AUTHOR_EMAIL': 'a@b', 'GIT_COMMITTER_NAME': 'a',
           'GIT_COMMITTER_EMAIL': 'a@b', 'GIT_CONFIG_COUNT': '1', 'GIT_CONFIG_KEY_0': 'safe.directory',
           'GIT_CONFIG_VALUE_0': '*'}

    def git(*words):
        return case.run('git', '-C', f'{at}/repo', *words, **who)

    with mounted(case, 'by-s3fs', at):
        shutil.copytree(tree, f'{at}/repo')
        git('init', '-q')
        git('add', '-A')
        git('commit', '-q', '-m', 'first')
        os.rename(f'{at}/repo/many/1', f'{at}/repo/many/moved')
        os.chmod(f'{at}/repo/empty', 0o755)
        with open(f'{at}/repo/large', 'r+b') as file:  # in its middle: parts are copied
            file.seek(6 * MIB)
            file.write(b'changed')
        git('add', '-A')
        git('commit', '-q', '-m', 'second')
        os.symlink('empty', f'{at}/repo/link')
        git('gc', '-q')
    os.rmdir(at)
    with mounted(case, 'by-s3fs', at):
        git('fsck', '--full', '--strict')
        expect((os.readlink(f'{at}/repo/link'), os.stat(f'{at}/repo/empty').st_mode & 0o777), ('empty', 0o755))
        case.run('git', 'clone', '-q', f'{at}/repo', f'{case.folder}/clone', **who)
    os.rename(f'{tree}/many/1', f'{tree}/many/moved')
    with open(f'{tree}/large', 'r+b') as file:
        file.seek(6 * MIB)
        file.write(b'changed')
    shutil.rmtree(f'{case.folder}/clone/.git')
    same_trees(tree, f'{case.folder}/clone')
    case.stored('by-s3fs', 'repo/', tree)


@SUITE.bare
def page(_):
    """Each operation that docs/s3.md says a client does was asked for in this run, and answered."""
    if '--write' in sys.argv:
        s3_operations.write(PAGE, DONE, VERSIONS)
    missing = s3_operations.missing(PAGE, DONE)
    expect(missing, [], 'docs/s3.md says more than this run saw; ./dev s3-clients --write makes its table')


if __name__ == '__main__':
    if not os.path.exists('/dev/fuse'):
        SUITE.leave_out('s3fs', 'there is no /dev/fuse here: s3fs can mount nothing')
    sys.exit(SUITE.main([word for word in sys.argv if word != '--write'], __doc__))
