#!/usr/bin/env python3
"""What comes from the table of commands: help, the manual page (read by mandoc and man), and what
bash, zsh and fish complete, each asked itself.

    shells.py BINARY [TEST...]
"""
import os
import pty
import re
import select
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cli_kit import bare, expect, holds, main  # noqa: E402

COMMANDS = ['serve', 'put', 'get', 'sync', 'cat', 'ls', 'stat', 'rm', 'bucket', 'class', 'key', 'admin', 'bench', 'fsck',
            'recover', 'doctor', 'config', 'help', 'man', 'completion', 'openapi', 'version']
# What is typed, and the words that a Tab makes of it.
TABS = (('holdfast buc', 'bucket'), ('holdfast bucket cr', 'bucket create'),
        ('holdfast bucket set --quota-b', 'bucket set --quota-bytes'), ('holdfast he', 'help'), ('holdfast key rev', 'key revoke'),
        ('holdfast help sy', 'help sync'), ('holdfast sync --dry', 'sync --dry-run'),
        ('holdfast put --conn', 'put --connections'), ('holdfast put onlyf', 'put onlyfile'),
        ('holdfast put --key-file onlyf', 'put --key-file onlyfile'),
        ('holdfast put --connections 3 -r onlyf', 'put --connections 3 -r onlyfile'),
        ('holdfast get files/x onlyf', 'get files/x onlyfile'),
        ('holdfast completion z', 'completion zsh'), ('holdfast serve --segm', 'serve --segment-size'),
        ('holdfast fsck --rep', 'fsck --repair'), ('holdfast ls --ur', 'ls --url'),
        ('holdfast stat --js', 'stat --json'), ('holdfast stat onlyf', 'stat onlyf'))


def first_words(text):
    return [line.split()[0] for line in text.splitlines() if line.startswith('  ')]


@bare
def help_tells_of_all(cli):
    whole = cli.run('help').out
    expect(first_words(whole), COMMANDS, 'commands')
    expect(cli.run('--help').out, whole, '--help')
    expect(cli.run(status=2).err, whole, 'nothing')
    for name in COMMANDS:
        text = cli.run('help', name).out
        expect(cli.run(name, '--help').out, text, name)
        holds(text, f'usage: holdfast {name}')
        if max(len(line) for line in text.splitlines()) > 100 and name != 'serve':
            raise AssertionError(f'{name}: a line is too long')
    for typed, meant in (('pt', 'put'), ('buckets', 'bucket'), ('synch', 'sync'), ('vresion', 'version')):
        holds(cli.run(typed, status=2).err, f'do you mean {meant}?')
        holds(cli.run('help', typed, status=2).err, f'do you mean {meant}?')
    holds(cli.run('put', '--recursiv', 'x', 'y', status=2).err, 'do you mean --recursive?')
    holds(cli.run('put', status=2).err, '2 arguments are missing; usage: holdfast put PATH BUCKET/KEY')
    holds(cli.run('put', 'x', status=2).err, '1 argument is missing; usage')
    holds(cli.run('-v', status=2).err, 'a command comes first, and -v is none')
    expect(cli.run('-V').out, cli.run('version').out, '-V')
    columns = {len(x) - len(x[2:].split('  ')[-1].lstrip()) for x in whole.splitlines()
               if x.startswith('  ')}
    expect(len(columns), 1, 'columns of help')
    done = cli.run('paint', status=2)
    expect(done.err.splitlines()[0], 'holdfast: there is no command paint', 'no guess')
    expect(cli.run('--version').out, cli.run('version').out, 'version')
    expect(sorted(cli.run('version', '--json').objects()[0]), ['feature_level', 'version'], 'json')


@bare
def manual(cli):
    """mandoc and man have nothing to say about the page, and show what help has."""
    page = cli.write('holdfast.1', cli.run('man').raw)
    lint = subprocess.run(['mandoc', '-Tlint', '-Wwarning', page], capture_output=True, text=True,
                          check=False)
    expect((lint.returncode, lint.stdout), (0, ''), 'mandoc')
    env = {**cli.env, 'MANWIDTH': '100', 'LC_ALL': 'C.UTF-8'}
    shown = subprocess.run(['man', '--warnings', '-E', 'UTF-8', '-l', page], capture_output=True,
                           text=True, env=env, check=False)
    expect((shown.returncode, shown.stderr), (0, ''), 'man')
    for name in COMMANDS:
        holds(shown.stdout, f'\n   {name}\n')
    for part in ('--dry-run', '--segment-size SIZE', 'HOLDFAST_KEY_FILE', '~/.config/holdfast/config.yaml',
                 'EXIT STATUS', '--salvage OUT', 'holdfast sync --delete photos files/photos'):
        holds(shown.stdout, part)
    # Each option of each command's help stands in the page.
    for name in COMMANDS:
        for option in re.findall(r'^ +(?:-.,)? *(--[a-z-]+)', cli.run('help', name).out, re.M):
            holds(shown.stdout, option)


def read_until(master, text, seen, seconds=60):
    """Reads the terminal until text is there; all that was seen since."""
    end = time.monotonic() + seconds
    while text not in seen:
        if time.monotonic() > end:
            raise AssertionError(f'{text!r} does not come: {seen[-2000:]!r}')
        if select.select([master], [], [], 0.2)[0]:
            seen += os.read(master, 65536)
    return seen


def tabs_in(cli, shell, setup):
    """Types each row of TABS with a Tab and Return, where holdfast is a function that tells its words."""
    cli.write('onlyfile', b'x')
    env = {**cli.env, 'TERM': 'dumb', 'PS1': '> ', 'HISTFILE': '/dev/null'}
    master, slave = pty.openpty()
    process = subprocess.Popen(shell, stdin=slave, stdout=slave, stderr=slave, cwd=cli.folder, env=env,
                               start_new_session=True)
    os.close(slave)
    try:
        os.write(master, setup.encode() + b'\n')
        os.write(master, b'holdfast() { echo "GOT:$*:END"; }; echo "RE""ADY"\n')
        read_until(master, b'READY', b'')
        for typed, words in TABS:
            os.write(master, typed.encode() + b'\t')
            # The line is run when the shell has seen the Tab: it echoes what it makes of it.
            os.write(master, b'\n')
            seen = read_until(master, b':END', b'')
            found = re.findall(rb'GOT:(.*?) *:END', seen)
            expect(found, [words.encode()], typed)
    finally:
        process.kill()
        process.wait()
        os.close(master)


@bare
def bash_completes(cli):
    script = cli.write('holdfast.bash', cli.run('completion', 'bash').raw)
    subprocess.run(['bash', '-n', script], check=True)
    tabs_in(cli, ['bash', '--norc', '--noprofile', '-i'], f'set +o history; source {script}')


@bare
def zsh_completes(cli):
    """Sourced, and from a folder of functions as packages have it."""
    script = cli.write('functions/_holdfast', cli.run('completion', 'zsh').raw)
    subprocess.run(['zsh', '-n', script], check=True)
    quiet = 'unsetopt zle_bracketed_paste beep prompt_cr prompt_sp; '
    tabs_in(cli, ['zsh', '-f', '-i'], f'{quiet} autoload -Uz compinit; compinit -u -D; source {script}')
    tabs_in(cli, ['zsh', '-f', '-i'], f'{quiet} fpath=({cli.path("functions")} $fpath); '
                                      'autoload -Uz compinit; compinit -u -D')


@bare
def fish_completes(cli):
    script = cli.write('holdfast.fish', cli.run('completion', 'fish').raw)
    cli.write('onlyfile', b'x')
    for typed, words in TABS:
        line = typed.split(' ', 1)[1]
        done = subprocess.run(['fish', '--no-config', '-c', f'source {script}; complete -C "{typed}"'],
                              capture_output=True, text=True, cwd=cli.folder, env=cli.env, check=True)
        found = [x.split('\t')[0] for x in done.stdout.splitlines()]
        last = words.split()[-1]
        wanted = [] if line == words else [last]
        expect((found, done.stderr), (wanted, ''), typed)


@bare
def no_other_shell(cli):
    holds(cli.run('completion', 'csh', status=2).err, 'bash, zsh or fish')
    cli.run('completion', status=2)
    cli.run('man', 'put', status=2)


if __name__ == '__main__':
    sys.exit(main('shells', sys.argv[1:]))
