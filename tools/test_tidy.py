#!/usr/bin/env python3
"""Tests of tools/tidy.py: in a small tree that breaks no rule, each rule is broken once, and tidy.py
must find exactly that. Prints `LAYER tidy-self required= executed= failed=`."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tidy  # noqa: E402  (found by the line above)

LAYERS = '# comment\nbase openssl pthread\nformat pure\nplace pure no-malloc\nstore\n'
LIMITS = '''limit void-casts 1
limit nolint 1
allow heap src/base/mem.c calls the heap
'''
GOOD = {
    'tools/layers.txt': LAYERS,
    'tools/limits.txt': LIMITS,
    'src/base/meson.build': "src += files('mem.c')\n",
    'src/base/mem.h': '/* Memory. */\n#ifndef HOLDFAST_BASE_MEM_H\n#define HOLDFAST_BASE_MEM_H\n'
                      '\nvoid *mem_new(int size);\n\n#endif\n',
    'src/base/mem.c': '#include "base/mem.h"\n#include <stdlib.h>\n\nvoid *mem_new(int size)\n{\n'
                      '    return malloc((unsigned)size); /* sprintf(x) in a comment */\n}\n',
    'src/format/meson.build': "src += files('ids.c')\n",
    'src/format/ids.h': '#ifndef HOLDFAST_FORMAT_IDS_H\n#define HOLDFAST_FORMAT_IDS_H\n'
                        '#include "base/mem.h"\nint ids_one(int a);\n#endif\n',
    'src/format/ids.c': '#include "format/ids.h"\n#include <string.h>\n\nint ids_one(int a)\n{\n'
                        '    /* The result has no meaning. */\n    (void)memchr("sprintf(", a, 8);\n'
                        '    return a;\n}\n',
    'src/store/meson.build': "src += files('more.c')\n",
    'src/main.c': '#include "format/ids.h"\n\nint main(void)\n{\n    return ids_one(0);\n}\n',
    'test/unit/format/ids_test.c': 'int main(void)\n{\n    return 0;\n}\n',
    'test/sim/planted.txt': '# comment\n\nskip-sync  no file is synced\ncut-one  cut too early\n',
    'docs/testing.md': 'Syncs (skip-sync), cuts (cut-…).\n',
}
IDS_C = GOOD['src/format/ids.c']
IDS_H = GOOD['src/format/ids.h']
MEM_C = GOOD['src/base/mem.c']


def lines(count):
    return '    a_call();\n' * count


# What is broken: the rule that must say so, the file, and its text.
BROKEN = [
    ('layer', 'src/base/mem.c', MEM_C + '#include "format/ids.h"\n'),
    ('layer', 'src/base/mem.c', MEM_C + '#include "mem.h"\n'),
    ('layer', 'src/base/mem.c', MEM_C + '  #  include "nowhere/x.h"\n'),
    ('layer', 'src/format/ids.c', IDS_C + '#include "base/mem_priv.h"\n'),
    ('layer', 'src/other/x.h', '#ifndef HOLDFAST_OTHER_X_H\n#define HOLDFAST_OTHER_X_H\n#endif\n'),
    ('library', 'src/format/ids.c', IDS_C + '#include <openssl/evp.h>\n'),
    ('library', 'src/format/ids.c', IDS_C + '#include <pthread.h>\n'),
    ('own-header', 'src/format/ids.c', '#include <string.h>\n' + IDS_C),
    ('own-header', 'src/format/ids.c', '#include "base/mem.h"\n' + IDS_C),
    ('not-built', 'src/format/more.c', '#include "format/ids.h"\n'),
    ('own-header', 'src/store/more.c', '#include <string.h>\n#include "base/mem.h"\n'),
    ('banned', 'src/format/ids.c', IDS_C.replace('return a', 'sprintf(p, "x")')),
    ('banned', 'src/format/ids.c', IDS_C.replace('return a', 'return *(int *)malloc(4)')),
    ('banned', 'src/format/ids.c', IDS_C.replace('return a', 'return fsync(a)')),
    ('banned', 'src/format/ids.c', IDS_C.replace('return a', 'return !time (0)')),
    ('banned', 'src/format/ids.c', IDS_C.replace('return a', 'pthread_mutex_lock(&m)')),
    ('banned', 'src/format/ids.c', IDS_C.replace('return a', 'return socket(1, 2, 3)')),
    ('banned', 'src/format/ids.c', IDS_C.replace('return a', 'abort()')),
    ('banned', 'test/unit/format/ids_test.c', 'int main(void)\n{\n    strcpy(a, b);\n}\n'),
    ('function-length', 'src/format/ids.c', IDS_C.replace('    return a;\n', lines(66))),
    ('function-length', 'test/x.c', 'int main(int a,\n         int b)\n{\n' + lines(97) + '}\n'),
    ('file-length', 'src/format/ids.c', IDS_C + '\n' * 800),
    ('columns', 'src/format/ids.h', IDS_H + '/*' + 'x' * 97 + '*/\n'),
    ('tab', 'src/format/ids.c', IDS_C.replace('    return', '\treturn')),
    ('blanks', 'src/format/ids.c', IDS_C.replace('return a;', 'return a; ')),
    ('guard', 'src/format/ids.h', IDS_H.replace('FORMAT_IDS', 'IDS')),
    ('guard', 'src/format/ids.h', '#pragma once\nint ids_one(int a);\n'),
    ('guard', 'src/format/ids.h', IDS_H + 'int more(void);\n'),
    ('void-cast', 'src/format/ids.c', IDS_C.replace('    /* The result has no meaning. */\n', '')),
    ('void-cast', 'src/format/ids.c',
     IDS_C.replace('result has no meaning. */\n', 'result */\n' + lines(3))),
    ('void-casts', 'src/format/ids.c',
     IDS_C.replace('    return a', '    (void)a->b.c[a](1); /* no */\n    return a')),
    ('nolint', 'src/format/ids.c', IDS_C + '/* NOLINT */\n/* NOLINTNEXTLINE */\n'),
    ('unfinished', 'src/format/ids.c', IDS_C + '/* TO' 'DO more */\n'),
    ('unfinished', 'test/x.h', '/* FIX' 'ME */\n'),
    ('planted', 'docs/testing.md', 'Syncs (skip-sync-not), cuts (cut-…).\n'),
    ('planted', 'docs/testing.md', 'Syncs (skip-sync), cuts (recut-…).\n'),
    ('planted', 'test/sim/planted.txt', 'skip-syncs  no file is synced\n'),
    ('unfinished', 'src/base/err.def', '/* X' 'XX */\n'),
]

# The same for things that look like it and are not.
FINE = [
    ('src/format/ids.c', IDS_C.replace('return a', 'return ops->open(a) + ops.read(a)')),
    ('src/format/ids.c', IDS_C.replace('return a', "return my_open(a) + '\\'' + \"\\\"open(\"[0]")),
    ('src/format/ids.c', IDS_C.replace('    return a;\n', lines(65))),
    ('src/format/ids.c', IDS_C.replace('return a', '(void)a;\n    return sizeof "XXXXXX"')),
    ('src/format/ids.c', IDS_C.replace('    /* The result has no meaning. */\n', '')
     .replace('a, 8);', 'a,\n 8); /* no meaning */')),
    ('src/format/ids.c', IDS_C.replace('return a', '(void)err_set(e, X, "x");\n    return a')),
    ('src/base/err.def', '/* ' + 'x' * 120 + ' */\n'),
    ('src/store/more.c', '#include <string.h>\n\n#include "store/x_priv.h"\n'),
]

# Calls of objects: folder, C text, and what nm must find (None: nothing).
OBJECTS = [
    ('format', 'int other(int); int f(int a); int f(int a) { return other(a); }', 'calls other'),
    ('format', 'long time(long *); long f(void); long f(void) { return time(0); }', 'calls time'),
    ('format', 'void *mem_new(int); void *f(void); void *f(void) { return mem_new(1); }', None),
    ('place', 'void *mem_new(int); void *f(void); void *f(void) { return mem_new(1); }',
     'calls mem_new'),
    ('place', 'int rng_secret(void); int f(void); int f(void) { return rng_secret(); }',
     'calls rng_secret'),
    ('place', 'int rng_u64(void); int f(void); int f(void) { return rng_u64(); }', None),
    ('place', 'int ids_one(int); int f(void); int f(void) { return ids_one(1); }', None),
    ('store', 'long time(long *); long f(void); long f(void) { return time(0); }', None),
]


def write_tree(root, files):
    for path, text in files.items():
        file = os.path.join(root, path)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, 'w', encoding='utf-8') as out:
            out.write(text)


def found(changed):
    """The rules that tidy finds broken in the good tree with some files changed."""
    with tempfile.TemporaryDirectory(prefix='holdfast-tidy-') as root:
        write_tree(root, GOOD)
        write_tree(root, {path: text for _, path, text in changed})
        check = tidy.Tidy(root)
        check.run()
        return [problem.rule for problem in check.problems], check.warnings


def object_problems(folder, text):
    """What tidy says of an object made of text in a folder, beside one that defines ids_one()."""
    with tempfile.TemporaryDirectory(prefix='holdfast-tidy-') as root:
        write_tree(root, GOOD)
        objects = os.path.join(root, 'build/src/libholdfast_core.a.p')
        os.makedirs(objects)
        for name, source in (('format_ids.c.o', 'int ids_one(int a) { return a; }'),
                             (f'{folder}_x.c.o', text)):
            subprocess.run(['gcc', '-w', '-O1', '-c', '-x', 'c', '-', '-o',
                            os.path.join(objects, name)], input=source, text=True, check=True)
        check = tidy.Tidy(root)
        check.check_objects(os.path.join(root, 'build'))
        return [problem.text for problem in check.problems]


def main():
    executed = failed = 0

    def expect(what, got, wanted):
        nonlocal executed, failed
        executed += 1
        if got != wanted:
            failed += 1
            print(f'FAILED: {what}: found {got}, wanted {wanted}')

    rules, warnings = found([])
    expect('the good tree', rules, [])
    expect('its warnings', warnings, ['src/base/mem.c: no test/unit/base/mem_test.c'])
    for rule, path, text in BROKEN:
        expect(f'{rule} in {path}', sorted(set(found([(rule, path, text)])[0])), [rule])
    for path, text in FINE:
        expect(f'fine: {path}', found([('', path, text)])[0], [])
    for folder, text, problem in OBJECTS:
        expect(f'object of {folder}: {text}', object_problems(folder, text),
               [problem] if problem else [])
    required = 2 + len(BROKEN) + len(FINE) + len(OBJECTS)
    print(f'LAYER tidy-self required={required} executed={executed} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
