"""Authorities and certificates for tests, by the openssl command. Python's standard library only."""
import os
import ssl
import subprocess
import time

CONFIG = """[ca]
default_ca = here
[here]
database = {0}/index
new_certs_dir = {0}
serial = {0}/serial
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
[req]
distinguished_name = name
[name]
"""
NAMES = 'IP:127.0.0.1,DNS:localhost,DNS:files.test,DNS:*.files.test'


def openssl(*args):
    done = subprocess.run(['openssl', *args], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise AssertionError(f'openssl {args}: {done.stderr}')


def stamp(days):
    """So many days from now."""
    return time.strftime('%Y%m%d%H%M%SZ', time.gmtime(time.time() + days * 86400))


class Authority:
    """In a folder of its own, which it makes; cert is what clients trust."""

    def __init__(self, folder, above=None):
        os.mkdir(folder)
        self.folder = folder
        self.cert, self.key = f'{folder}/ca.pem', f'{folder}/ca.key'
        with open(f'{folder}/config', 'w', encoding='ascii') as file:
            file.write(CONFIG.format(folder))
        with open(f'{folder}/index', 'w', encoding='ascii'):
            pass
        with open(f'{folder}/serial', 'w', encoding='ascii') as file:
            file.write(os.urandom(8).hex().upper() + '\n')
        self.made = 0
        if above is None:
            openssl('req', '-x509', '-config', f'{folder}/config', '-newkey', 'ec', '-pkeyopt',
                    'ec_paramgen_curve:P-256', '-nodes', '-days', '3650', '-subj', f'/CN=Test {os.path.basename(folder)}',
                    '-addext', 'basicConstraints=critical,CA:TRUE', '-keyout', self.key, '-out', self.cert)
        else:
            above.make(self.cert, self.key, name='CN=Test between',
                       extension='basicConstraints=critical,CA:TRUE')

    def make(self, cert, key, first=-1, last=90, name='CN=Test server',
             extension=f'subjectAltName={NAMES}', kind=('ec', '-pkeyopt', 'ec_paramgen_curve:P-256')):
        """A certificate valid from day first to day last, counted from now, and its key."""
        request = f'{self.folder}/{self.made}.csr'
        self.made += 1
        openssl('req', '-new', '-config', f'{self.folder}/config', '-newkey', *kind, '-nodes',
                '-subj', '/' + name, '-addext', extension, '-keyout', key, '-out', request)
        openssl('ca', '-config', f'{self.folder}/config', '-batch', '-notext', '-in', request, '-out',
                cert, '-cert', self.cert, '-keyfile', self.key, '-startdate', stamp(first),
                '-enddate', stamp(last))
        os.chmod(key, 0o600)

    def trust(self, **more):
        """An ssl.SSLContext of a client that trusts this authority only."""
        context = ssl.create_default_context(cafile=self.cert)
        for name, value in more.items():
            setattr(context, name, value)
        return context
