#!/usr/bin/env python3
"""Checks the rules of the tree that a script can check.

    tidy.py [--root DIR] [--objects BUILD_DIR]

Over src/ and test/: which folder includes which (tools/layers.txt), own header first, banned
calls, lengths of functions, files and lines, include guards, results cast to void, counts that may
not grow (tools/limits.txt), words that stand for unfinished work, sources that no build file
names; and planted bugs that docs/testing.md lacks. With --objects also, by nm, that the pure
folders' objects call nothing that depends on clock, chance, threads, files or sockets. Prints
warnings, `path:line: rule: what`, then `LAYER tidy required= executed= failed=`, where one test is
one file; exits 1 if a rule is broken.
"""
import argparse
import os
import re
import subprocess
import sys
from collections import namedtuple

FUNCTION_LINES_MAX = 70
TEST_FUNCTION_LINES_MAX = 100
FILE_LINES_MAX = 800
COLUMNS_MAX = 100
PLANTED = 'test/sim/planted.txt'
VOID_REASON_LINES = 3  # a comment above a helper of one line counts

# Headers of libraries, as prefixes, and the name that tools/layers.txt gives the library.
LIBRARIES = {
    'openssl/': 'openssl', 'isa-l': 'isal', 'jansson.h': 'jansson', 'expat.h': 'expat',
    'yaml.h': 'yaml', 'zstd': 'zstd', 'sqlite3.h': 'sqlite', 'libpq-fe.h': 'pq', 'uv.h': 'uv',
    'curl/': 'curl', 'hiredis/': 'hiredis', 'pthread.h': 'pthread',
}

# Groups of calls that only the places named in tools/limits.txt may use.
BANNED = {
    'strings': 'sprintf vsprintf strcpy strcat strncpy strncat stpcpy strtok gets atoi atol atoll '
               'atof alloca rand srand random srandom scanf sscanf fscanf setjmp longjmp assert '
               'localtime gmtime ctime asctime strerror mktemp tmpnam',
    'heap': 'malloc calloc realloc reallocarray free strdup strndup asprintf vasprintf '
            'posix_memalign aligned_alloc memalign valloc',
    'locks': 'pthread_create pthread_mutex_init pthread_mutex_lock pthread_mutex_trylock '
             'pthread_mutex_unlock pthread_rwlock_init pthread_rwlock_rdlock '
             'pthread_rwlock_wrlock pthread_cond_init pthread_cond_wait pthread_cond_timedwait '
             'sem_init sem_wait mtx_lock uv_mutex_lock uv_rwlock_rdlock',
    'files': 'open openat creat read write pread pwrite readv writev preadv pwritev fsync '
             'fdatasync sync_file_range ftruncate truncate fallocate posix_fallocate rename '
             'renameat renameat2 unlink unlinkat mkdir mkdirat rmdir opendir fdopendir fopen '
             'fdopen freopen tmpfile flock lockf mmap msync',
    'sockets': 'socket bind listen accept accept4 connect send recv sendto recvfrom sendmsg '
               'recvmsg sendfile epoll_create1 epoll_ctl epoll_wait poll select',
    'clock': 'time gettimeofday clock_gettime times clock',
    'process': 'abort system popen fork vfork',
    'jumps': 'sigsetjmp siglongjmp _setjmp _longjmp',
}
TEST_BANNED = ('strings',)

# What the objects of a pure folder may call outside the pure folders. Exact names of libc:
PURE_LIBC = set(
    'memcpy memmove memset memcmp memchr memrchr memmem strlen strnlen strcmp strncmp strchr '
    'strrchr strspn strcspn strcasecmp strncasecmp snprintf vsnprintf strtol strtoll strtoul '
    'strtoull strtod bsearch toupper tolower explicit_bzero timegm gmtime_r isnan '
    '__ctype_b_loc __ctype_tolower_loc __ctype_toupper_loc __errno_location __stack_chk_fail '
    '_GLOBAL_OFFSET_TABLE_ __isoc99_strtol __isoc99_strtoull '
    'bcmp memccpy rawmemchr stpncpy floor ceil log2 pow __popcountdi2'.split())
# ... and functions of base. They compute, and get time, chance and memory from their caller.
PURE_BASE = re.compile(
    r'^(check_failed|err_\w+|str_\w+|enc_\w+|dec_\w+|get_u\d+\w*|put_u\d+\w*|crc32c\w*|sha256_\w+|'
    r'hmac_\w+|hex_\w+|rng_(u64|below|bytes|chance|init))$')
PURE_BASE_HEAP = re.compile(r'^(mem_\w+|buf_\w+|arena_\w+|hash_\w+)$')
PURE_LIBC_HEAP = {'qsort', 'qsort_r'}
PURE_LIBRARY = {
    'jansson': re.compile(r'^json_\w+$'), 'expat': re.compile(r'^XML_\w+$'),
    'openssl': re.compile(r'^(EVP|HMAC|CRYPTO|OSSL)_\w+$'),
}

UNFINISHED_RE = re.compile(r'\b(TO' r'DO|FIX' r'ME|X' r'XX)\b')
INCLUDE_RE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
# err_set() and its like are macros that are their code; only to fill an Err is no dropped result.
VOID_CALL_RE = re.compile(r'\(void\)\s*(?!err_(?:set|set_errno|wrap)\b)[A-Za-z_]\w*(?:(?:->|\.)\w+|\[\w+\])*\s*\(')
CALL_RE = re.compile(r'(?<![\w.>])([a-z_]\w*)\s*\(')

Layer = namedtuple('Layer', 'index pure no_malloc libraries')
Problem = namedtuple('Problem', 'path line rule text')


def strip_code(text):
    """The text with comments and the insides of literals blanked; lines and columns stay."""
    def blank(match):
        found = match.group(0)
        if found[0] in '"\'':
            return found[0] + ' ' * (len(found) - 2) + found[-1]
        return re.sub(r'[^\n]', ' ', found)
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text,
                  flags=re.S)


def load_layers(root):
    """The folders of src/ in their order, by name."""
    layers = {}
    with open(os.path.join(root, 'tools/layers.txt'), encoding='utf-8') as lines:
        for line in lines:
            words = line.split('#')[0].split()
            if words:
                rest = set(words[1:])
                layers[words[0]] = Layer(len(layers), 'pure' in rest, 'no-malloc' in rest,
                                         rest - {'pure', 'no-malloc'})
    return layers


def load_limits(root):
    """Counts that may not grow, and the places each group of banned calls is allowed in."""
    limits, allowed = {}, {rule: [] for rule in BANNED}
    with open(os.path.join(root, 'tools/limits.txt'), encoding='utf-8') as lines:
        for line in lines:
            words = line.split('#')[0].split()
            if not words:
                continue
            if words[0] == 'limit' and len(words) == 3:
                limits[words[1]] = int(words[2])
            elif words[0] == 'allow' and len(words) > 3 and words[1] in allowed:
                allowed[words[1]].append(words[2])
            else:
                raise SystemExit(f'tools/limits.txt: not understood: {line.strip()}')
    return limits, allowed


def find_sources(root):
    """Paths of the C files under src/ and test/, relative to root."""
    found = []
    for top in ('src', 'test'):
        for folder, _, names in os.walk(os.path.join(root, top)):
            found += [os.path.relpath(os.path.join(folder, name), root)
                      for name in names if name.endswith(('.c', '.h', '.def'))]
    return sorted(found)


class Tidy:
    """One run over one tree: rules are methods, what they find goes to self.problems."""

    def __init__(self, root):
        self.root = root
        self.layers = load_layers(root)
        self.limits, self.allowed = load_limits(root)
        self.counts = dict.fromkeys(self.limits, 0)
        self.problems = []
        self.warnings = []
        self.files = find_sources(root)

    def problem(self, path, line, rule, text):
        self.problems.append(Problem(path, line, rule, text))

    def run(self):
        """Checks every file, then what concerns several."""
        for path in self.files:
            with open(os.path.join(self.root, path), encoding='utf-8') as file:
                text = file.read()
            self.check_file(path, text)
        for name, count in self.counts.items():
            if count > self.limits[name]:
                self.problem('tools/limits.txt', 1, name,
                             f'{count} in the tree, at most {self.limits[name]} allowed')
        self.check_built()
        self.check_tested()
        self.check_planted()

    def check_file(self, path, text):
        lines = text.split('\n')
        code = strip_code(text)
        code_lines = code.split('\n')
        self.check_text(path, lines)
        if path.endswith('.def'):
            return
        self.check_functions(path, code_lines)
        self.check_void(path, lines, code_lines)
        self.check_banned(path, code_lines)
        self.count('nolint', sum(line.count('NOLINT') for line in lines))
        if path.startswith('src/'):
            self.check_includes(path, lines)
            if path.endswith('.h'):
                self.check_guard(path, code)

    def count(self, name, number):
        self.counts[name] = self.counts.get(name, 0) + number
        self.limits.setdefault(name, 0)

    def check_text(self, path, lines):
        """Lengths of the file and its lines, tabs, blanks at the end, unfinished work."""
        table = path.endswith('.def')
        if len(lines) - 1 > FILE_LINES_MAX:
            self.problem(path, FILE_LINES_MAX + 1, 'file-length',
                         f'{len(lines) - 1} lines, at most {FILE_LINES_MAX}')
        for number, line in enumerate(lines, 1):
            if len(line) > COLUMNS_MAX and not table:
                self.problem(path, number, 'columns', f'{len(line)}, at most {COLUMNS_MAX}')
            if '\t' in line:
                self.problem(path, number, 'tab', 'a tab')
            if line != line.rstrip():
                self.problem(path, number, 'blanks', 'blanks at the end of the line')
            if UNFINISHED_RE.search(line):
                self.problem(path, number, 'unfinished', 'finish it, or write an issue')

    def check_functions(self, path, code_lines):
        """Lengths of functions: a brace alone in column 0 opens one, by our format."""
        limit = FUNCTION_LINES_MAX if path.startswith('src/') else TEST_FUNCTION_LINES_MAX
        for number, line in enumerate(code_lines):
            if line.rstrip() != '{':
                continue
            start = number
            while start > 0 and re.search(r'[\w)*,(]\s*$', code_lines[start - 1]) and \
                    not code_lines[start - 1].startswith('#'):
                start -= 1
            end = number
            while end < len(code_lines) - 1 and not code_lines[end].startswith('}'):
                end += 1
            if end - start + 1 > limit:
                self.problem(path, start + 1, 'function-length',
                             f'{end - start + 1} lines, at most {limit}')

    def check_void(self, path, lines, code_lines):
        """A result cast to void has its reason in the statement or at most VOID_REASON_LINES above."""
        for number, line in enumerate(code_lines):
            found = len(VOID_CALL_RE.findall(line))
            if found == 0:
                continue
            if path.startswith('src/'):
                self.count('void-casts', found)
            end = number
            while end < len(lines) - 1 and ';' not in code_lines[end]:
                end += 1
            above = lines[max(0, number - VOID_REASON_LINES):number]
            if not any('/*' in line for line in lines[number:end + 1]) and \
                    not any('*/' in line for line in above):
                self.problem(path, number + 1, 'void-cast',
                             'a dropped result needs a comment that says why')

    def check_banned(self, path, code_lines):
        groups = BANNED if path.startswith('src/') else TEST_BANNED
        rules = {}
        for group in groups:
            if not any(path == place or path.startswith(place + '/')
                       for place in self.allowed[group]):
                rules.update(dict.fromkeys(BANNED[group].split(), group))
        for number, line in enumerate(code_lines, 1):
            if line.lstrip().startswith('#include'):
                continue
            for name in CALL_RE.findall(line):
                if name in rules:
                    self.problem(path, number, 'banned', f'{name}() ({rules[name]})')

    def check_includes(self, path, lines):
        """Own header first; only folders above one's own, only the libraries of one's folder."""
        parts = path.split('/')
        includes = []
        for number, line in enumerate(lines, 1):
            match = INCLUDE_RE.match(line)
            if match:
                includes.append((number, match.group(1), match.group(2)))
        if len(parts) < 3:
            return
        layer = self.layers.get(parts[1])
        if layer is None:
            self.problem(path, 1, 'layer', f'src/{parts[1]} is not in tools/layers.txt')
            return
        if path.endswith('.c') and includes:
            self.check_own_header(path, includes)
        for number, kind, name in includes:
            if kind == '<':
                self.check_library(path, number, name, layer)
                continue
            target = self.layers.get(name.split('/')[0])
            if '/' not in name or target is None:
                self.problem(path, number, 'layer', f'"{name}": write "folder/file.h"')
            elif target.index > layer.index:
                self.problem(path, number, 'layer', f'{parts[1]} may not include {name}')
            elif name.endswith('_priv.h') and target.index != layer.index:
                self.problem(path, number, 'layer', f'{name} is private to its folder')

    def check_own_header(self, path, includes):
        """x.c starts with x.h, which so proves to need nothing before it. A source without a header
        of its name takes one of its folder before those of others."""
        own = path[len('src/'):-1] + 'h'
        if os.path.exists(os.path.join(self.root, 'src', own)):
            if includes[0][2] != own:
                self.problem(path, includes[0][0], 'own-header', f'{own} comes first')
            return
        for number, kind, name in includes:
            if kind == '"':
                if name.split('/')[0] != own.split('/')[0]:
                    self.problem(path, number, 'own-header',
                                 'a header of the own folder comes first')
                return

    def check_library(self, path, number, name, layer):
        for prefix, library in LIBRARIES.items():
            if name.startswith(prefix) and library not in layer.libraries:
                self.problem(path, number, 'library',
                             f'<{name}>: tools/layers.txt does not give {library} to this folder')

    def check_guard(self, path, code):
        guard = 'HOLDFAST_' + re.sub(r'\W', '_', path[len('src/'):]).upper()
        if not re.match(rf'\s*#ifndef {guard}\s*\n\s*#define {guard}\s*\n', code) or \
                not code.rstrip().endswith('#endif'):
            self.problem(path, 1, 'guard', f'the include guard is {guard}')

    def check_built(self):
        """Every source of src/ is named by the meson.build of its folder."""
        for path in self.files:
            folder, name = os.path.split(path)
            if not path.startswith('src/') or not name.endswith('.c') or folder == 'src':
                continue
            layer_folder = '/'.join(path.split('/')[:2])
            build = ''
            for place in {folder, layer_folder}:
                file = os.path.join(self.root, place, 'meson.build')
                if os.path.exists(file):
                    with open(file, encoding='utf-8') as text:
                        build += text.read()
            if f"{name}'" not in build:
                self.problem(path, 1, 'not-built', f'{layer_folder}/meson.build does not name it')

    def check_tested(self):
        """Warns of sources without a test program of their name."""
        for path in self.files:
            if path.startswith('src/') and path.endswith('.c') and path.count('/') > 1:
                folder, name = os.path.split(path[len('src/'):])
                test = os.path.join(self.root, 'test/unit', folder, name[:-2] + '_test.c')
                if not os.path.exists(test):
                    self.warnings.append(f'{path}: no test/unit/{folder}/{name[:-2]}_test.c')

    def check_planted(self):
        """Each planted bug stands in docs/testing.md, by its name or as one of a group `prefix-…`."""
        with open(os.path.join(self.root, 'docs/testing.md'), encoding='utf-8') as file:
            told = set(re.findall(r'[a-z]+(?:-[a-z]+)*(?:-…)?', file.read()))
        groups = tuple(word[:-1] for word in told if word.endswith('…'))
        with open(os.path.join(self.root, PLANTED), encoding='utf-8') as lines:
            for number, line in enumerate(lines, 1):
                name = line.split()[0] if line.strip() and line[0] != '#' else None
                if name and name not in told and not (groups and name.startswith(groups)):
                    self.problem(PLANTED, number, 'planted', f'docs/testing.md lacks {name}')

    def check_objects(self, build):
        """What the objects of pure folders call, by nm; how many objects were looked at."""
        folder = os.path.join(build, 'src/libholdfast_core.a.p')
        objects = {}
        for name in sorted(os.listdir(folder)):
            layer = name.split('_')[0]
            if name.endswith('.o') and layer in self.layers and self.layers[layer].pure:
                objects[name] = layer
        own = set()
        for name in objects:
            own |= set(nm(os.path.join(folder, name), '--defined-only'))
        for name, layer in objects.items():
            for symbol in nm(os.path.join(folder, name), '--undefined-only'):
                if symbol not in own and not self.pure_symbol(symbol, self.layers[layer]):
                    self.problem(f'src/{name[:-2].replace("_", "/", 1)}', 1, 'pure',
                                 f'calls {symbol}')
        return len(objects)

    @staticmethod
    def pure_symbol(symbol, layer):
        """May an object of this layer call symbol?"""
        checked = re.match(r'^__(\w+)_chk$', symbol)
        name = checked.group(1) if checked else symbol
        if name in PURE_LIBC or PURE_BASE.match(name):
            return True
        if not layer.no_malloc and (PURE_BASE_HEAP.match(name) or name in PURE_LIBC_HEAP):
            return True
        return any(library in PURE_LIBRARY and PURE_LIBRARY[library].match(name)
                   for library in layer.libraries)


def nm(path, option):
    """Names that an object defines or needs."""
    out = subprocess.run(['nm', '--format=posix', option, path], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    return [line.split()[0] for line in out.splitlines() if line.strip()]


def main(argv):
    parser = argparse.ArgumentParser(description='Checks the rules of the tree.')
    parser.add_argument('--root', default=os.path.dirname(os.path.dirname(
        os.path.abspath(__file__))))
    parser.add_argument('--objects', metavar='BUILD_DIR')
    args = parser.parse_args(argv)

    tidy = Tidy(args.root)
    tidy.run()
    objects = tidy.check_objects(args.objects) if args.objects else 0
    for warning in tidy.warnings:
        print(f'warning: {warning}')
    for problem in tidy.problems:
        print(f'{problem.path}:{problem.line}: {problem.rule}: {problem.text}')
    for name in sorted(tidy.counts):
        print(f'{name}: {tidy.counts[name]} of at most {tidy.limits[name]}')
    total = len(tidy.files) + objects
    failed = min(total, len({problem.path for problem in tidy.problems}))
    print(f'LAYER tidy required={total} executed={total} failed={failed}')
    return 1 if tidy.problems else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
