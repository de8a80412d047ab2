// What Node's llhttp reads: as http_ours.c, see view.h. No flag of leniency is set.
'use strict';
process.removeAllListeners('warning'); // that the parser is reached in an old way
const {HTTPParser, methods} = process.binding('http_parser');

const hex = (text) => Buffer.from(text, 'latin1').toString('hex');

function readAll(data) {
  const messages = [];
  let now = null;
  let closed = false;
  const parser = new HTTPParser();
  parser.initialize(HTTPParser.REQUEST, {});
  let early = [];
  let target = '';
  parser[HTTPParser.kOnHeaders] = (headers, url) => { // a head of many headers comes in pieces
    if (now !== null) return; // trailers: ours drops them, too
    early = early.concat(headers);
    target += url;
  };
  parser[HTTPParser.kOnHeadersComplete] = (major, minor, headers, method, url, status, text, upgrade, keep) => {
    const all = early.concat(headers || []);
    const pairs = [];
    for (let i = 0; i < all.length; i += 2) pairs.push([hex(all[i]), hex(all[i + 1])]);
    now = {method: hex(methods[method]), target: hex(target + (url || '')), headers: pairs, body: '', minor, keep};
    early = [];
    target = '';
    return 0;
  };
  parser[HTTPParser.kOnBody] = (buffer, offset, length) => {
    const piece = offset === undefined ? buffer : buffer.subarray(offset, offset + length);
    now.body += piece.toString('hex');
  };
  parser[HTTPParser.kOnMessageComplete] = () => {
    if (!closed) messages.push(now);
    closed = closed || !now.keep;
    now = null;
  };
  const used = parser.execute(data);
  const failed = used instanceof Error || used < data.length;
  return {messages, end: closed ? 'closed' : failed ? 'error' : 'more'};
}

const input = require('fs').readFileSync(0);
const lines = [];
for (let at = 0; at < input.length;) {
  const length = input.readUInt32LE(at);
  lines.push(JSON.stringify(readAll(Buffer.from(input.subarray(at + 4, at + 4 + length)))));
  at += 4 + length;
}
process.stdout.write(lines.join('\n') + '\n');
