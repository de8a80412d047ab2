#!/usr/bin/env python3
"""Our HTTP/1.1 parser beside http_parser and Node's llhttp: whatever ours accepts both others accept
with the same meaning (method, target, headers, body, and where the message ends), or the difference is
one of DIFFERENCES. Ours may refuse more. Else a proxy and this server could see different requests in the
same bytes.

    parsers.py FOLDER        that has http_ours and http_theirs (build-test/test)

The cases: the fuzz corpus of head and chunks, the hostile cases, and both mutated. Prints
`LAYER parsers required= executed= failed=`.
"""
import glob
import json
import os
import random
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import hostile  # noqa: E402

SEED, MUTATED, REQUIRED = 20261128, 20000, 20000
CHUNKED = b'POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
PLAIN = [
    b'GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\nGET /d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    b'PUT /a HTTP/1.1\r\nHost: a:1\r\nContent-Length: 5\r\n\r\nhelloDELETE /a HTTP/1.1\r\nHost: a\r\n\r\n',
    b'DELETE /a HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.0\r\n\r\n',
    b'GET http://a/b HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x\r\nX-A: 1\t2 \r\n\r\n',
    b'PATCH /t HTTP/1.1\r\nHost: a\r\nUpload-Offset: 0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc',
    b'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n',
    CHUNKED + b'5\r\nhello\r\n3;a="b"\r\nabc\r\n0\r\nX-T: 1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n',
]
# What parsers have been fooled with.
BITS = [b'\r', b'\n', b'\r\n', b'\t', b' ', b':', b',', b';', b'\v', b'\f', b'\0', b'0', b'+', b'-', b'/', b'?',
        b'#', b'%', b'\\', b'\x7f', b'\xff', b'\xa0', b'"', b'chunked', b'Content-Length: 6\r\n', b'\r\n ',
        b'identity', b'Transfer-Encoding:', b'Connection: close\r\n', b'HTTP/1.1', b'HTTP/1.0', b'*', b'@', b'[',
        b']', b'1', b'0x', b'a=', b'Transfer-Encoding: chunked\r\n', b'Content-Length: 3\r\n', b'Upgrade: x\r\n']
KNOWN_METHODS = {b'GET', b'HEAD', b'PUT', b'POST', b'DELETE', b'OPTIONS', b'PATCH'}


# (what is different and why that is harmless, does it explain this message of ours). Each is tried only
# where the others refuse the bytes, or see no further message, never where they read another one.
DIFFERENCES = [
    ('a method that they do not know: ours answers 405',
     lambda m: bytes.fromhex(m['method']) not in KNOWN_METHODS),
    ('a header whose name only begins with Transfer-Encoding: http_parser refuses it by a slip of its own',
     lambda m: any(bytes.fromhex(n).lower().startswith(b'transfer-encoding') and len(n) > 34
                   for n, _ in m['headers'])),
]


def cases():
    """(name, bytes): whole connections."""
    found = [(f'plain {i}', data) for i, data in enumerate(PLAIN)]
    corpus = os.path.join(HERE, '..', 'fuzz', 'corpus')
    for path in sorted(glob.glob(f'{corpus}/http_head/*')):
        with open(path, 'rb') as file:
            found.append((path, file.read()))
    for path in sorted(glob.glob(f'{corpus}/http_chunked/*')):
        with open(path, 'rb') as file:
            found.append((path, CHUNKED + file.read()))
    behind = b'GET /behind HTTP/1.1\r\nHost: x\r\n\r\n'
    put = b'PUT /f HTTP/1.1\r\nHost: x\r\n'
    for headers, body, _ in hostile.FRAMINGS:
        found.append((f'framing {headers[:40]!r}', put + headers.encode('latin-1') + b'\r\n' + body + behind))
    for body, _, _ in hostile.CHUNKS:
        found.append((f'chunks {body[:40]!r}', put + b'Transfer-Encoding: chunked\r\n\r\n' + body + behind))
    for line, _ in hostile.LINES:
        found.append((f'line {line[:40]!r}', line + b'\r\nHost: x\r\n\r\n' + behind))
    return found


def mutated(seeds):
    chance = random.Random(SEED)
    short = [data for _, data in seeds if len(data) < 1000]
    for i in range(MUTATED):
        data = chance.choice(short)
        for _ in range(chance.randint(1, 2)):
            bit, at = chance.choice(BITS), chance.randrange(len(data) + 1)
            over = chance.choice((0, len(bit), chance.randrange(20)))
            data = data[:at] + bit + data[at + over:]
        yield f'mutated {i}', data


def views(command, inputs):
    packed = b''.join(struct.pack('<I', len(data)) + data for data in inputs)
    done = subprocess.run(command, input=packed, capture_output=True, check=False, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f'{command}: {done.returncode}: {done.stderr[-500:]}')
    found = [json.loads(line) for line in done.stdout.splitlines()]
    if len(found) != len(inputs):
        raise RuntimeError(f'{command}: {len(found)} of {len(inputs)} cases')
    return found


def plain(message):
    """Without white space around values, which is no part of them."""
    headers = [(bytes.fromhex(n).lower(), bytes.fromhex(v).strip(b' \t')) for n, v in message['headers']]
    return {**message, 'headers': headers}


def difference(ours, theirs):
    """What is read differently, or None. Second: the list of DIFFERENCES may explain it."""
    for i, message in enumerate(ours['messages']):
        if i == len(theirs['messages']):
            return f'message {i} is not read by them ({theirs["end"]}): {plain(message)}', message
        if plain(message) != plain(theirs['messages'][i]):
            return f'message {i}: {plain(message)}, by them {plain(theirs["messages"][i])}', None
    if ours['end'] == 'body' and len(theirs['messages']) > len(ours['messages']):
        return 'they see a message more where ours waits for bytes of a body', None
    return None, None


def main(argv):
    if len(argv) != 2:
        sys.exit(__doc__)
    seeds = cases()
    every = seeds + list(mutated(seeds))
    inputs = [data for _, data in every]
    ours = views([f'{argv[1]}/http_ours'], inputs)
    others = {'http_parser': views([f'{argv[1]}/http_theirs'], inputs),
              'llhttp': views(['node', '--no-deprecation', os.path.join(HERE, '..', 'parsers', 'http_node.js')], inputs)}
    failed, explained = 0, [0] * len(DIFFERENCES)
    for i, (name, data) in enumerate(every):
        for other, seen in others.items():
            wrong, message = difference(ours[i], seen[i])
            if wrong is None:
                continue
            reasons = [n for n, (_, fits) in enumerate(DIFFERENCES) if message is not None and fits(message)]
            if reasons:
                explained[reasons[0]] += 1
                continue
            failed += 1
            if failed <= 20:
                print(f'FAILED {name}, {other}: {wrong}\n       {data[:300]!r}', flush=True)
    accepted = sum(bool(view['messages']) for view in ours)
    stricter = sum(len(seen[i]['messages']) > len(ours[i]['messages'])
                   for seen in others.values() for i in range(len(every)))
    print(f'       {len(seeds)} cases and {MUTATED} mutated ones; ours accepts a message in {accepted}; '
          f'{stricter} times another one reads more')
    for (text, _), count in zip(DIFFERENCES, explained):
        print(f'       {count} times: {text}')
        if count == 0:
            failed += 1
            print('FAILED there is no such difference: take it off the list')
    if accepted < MUTATED / 10:
        failed += 1
        print('FAILED too few cases are accepted for this to say anything')
    print(f'LAYER parsers required={REQUIRED} executed={len(every)} failed={failed}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
