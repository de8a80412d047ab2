#!/usr/bin/env python3
"""Makes a C source that holds files: embed.py OUT FILE...

Of web/docs.js it makes `const unsigned char web_docs_js[]` and `const size_t web_docs_js_size`;
a NUL that does not count follows the bytes.
"""
import os
import re
import sys


def main():
    out, *paths = sys.argv[1:]
    lines = ['#include <stddef.h>']
    for path in paths:
        folder, name = os.path.split(os.path.abspath(path))
        symbol = re.sub(r'\W', '_', f'{os.path.basename(folder)}_{name}')
        with open(path, 'rb') as file:
            data = file.read()
        lines.append(f'extern const unsigned char {symbol}[];')
        lines.append(f'extern const size_t {symbol}_size;')
        lines.append(f'const size_t {symbol}_size = {len(data)};')
        lines.append(f'const unsigned char {symbol}[] = {{')
        for at in range(0, len(data), 16):
            lines.append(' '.join(f'{byte},' for byte in data[at:at + 16]))
        lines.append('0};')
    with open(out, 'w', encoding='ascii') as file:
        file.write('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
