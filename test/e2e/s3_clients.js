// A day of the AWS SDK for JavaScript 3 at an S3 door, as s3_clients.py asks for it:
//   s3_clients.js URL KEY_ID SECRET FOLDER
// Streams of known and of unknown length, many files, odd names, ranges, lists, copies, versions.
// Any difference is an error, and the status 1.
const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');
const { Readable } = require('stream');
const { pipeline } = require('stream/promises');
const s3 = require('@aws-sdk/client-s3');
const { Upload } = require('@aws-sdk/lib-storage');
const { getSignedUrl } = require('@aws-sdk/s3-request-presigner');

const [endpoint, accessKeyId, secretAccessKey, folder] = process.argv.slice(2);
const client = new s3.S3Client({
  endpoint,
  region: 'us-east-1',
  forcePathStyle: true,
  maxAttempts: 1,
  credentials: { accessKeyId, secretAccessKey },
});
const Bucket = 'by-js';
const MIB = 1 << 20;
const odd = ['a b', 'a+b', 'a%20b', 'ü/ß/漢字/🎈', 'a//b', 'a?b#c', '&<>"\'', "!*'();:@=,$[]", 'x'.repeat(1024)];
const send = (command) => client.send(command);

// Bytes that differ from seed to seed, and from place to place.
function content(size, seed) {
  return crypto.createHash('shake256', { outputLength: size }).update(seed).digest();
}

async function read(more) {
  const got = await send(new s3.GetObjectCommand({ Bucket, ...more }));
  return Buffer.from(await got.Body.transformToByteArray());
}

async function refused(command, name) {
  await assert.rejects(send(command), (error) => {
    assert.strictEqual(error.name, name);
    return true;
  });
}

async function streams() {
  const body = content(20 * MIB + 17, 'big');
  const path = `${folder}/big`;
  fs.writeFileSync(path, body);
  await send(new s3.PutObjectCommand({
    Bucket, Key: 'stream', Body: fs.createReadStream(path), ContentLength: body.length, Metadata: { a: 'b' },
  }));
  const got = await send(new s3.GetObjectCommand({ Bucket, Key: 'stream' }));
  assert.deepStrictEqual(got.Metadata, { a: 'b' });
  await pipeline(got.Body, fs.createWriteStream(`${path}.back`));
  assert(fs.readFileSync(`${path}.back`).equals(body));
  // Of unknown length: a generator, in parts of 5 MiB, three at a time.
  async function* pieces() {
    for (let at = 0; at < body.length; at += 300000) yield body.subarray(at, at + 300000);
  }
  const upload = new Upload({
    client,
    params: { Bucket, Key: 'parts', Body: Readable.from(pieces()), ContentType: 'text/plain' },
    partSize: 5 * MIB,
    queueSize: 3,
  });
  const done = await upload.done();
  assert(done.ETag.endsWith('-5"'), done.ETag);
  assert((await read({ Key: 'parts' })).equals(body));
  const range = await read({ Key: 'parts', Range: `bytes=${5 * MIB - 10}-${5 * MIB + 9}` });
  assert(range.equals(body.subarray(5 * MIB - 10, 5 * MIB + 10)));
  const second = await read({ Key: 'parts', PartNumber: 2 });
  assert(second.equals(body.subarray(5 * MIB, 10 * MIB)));
}

async function files() {
  const keys = [...Array(60).keys()].map((i) => `many/${i % 3}/${i}`).concat(odd);
  await Promise.all(keys.map((Key) => send(new s3.PutObjectCommand({ Bucket, Key, Body: Key }))));
  for (const Key of odd) assert.strictEqual((await read({ Key })).toString(), Key);
  const found = [];
  for await (const page of s3.paginateListObjectsV2({ client, pageSize: 7 }, { Bucket })) {
    found.push(...page.Contents.map((c) => c.Key));
  }
  assert.deepStrictEqual(found.sort(), keys.concat(['stream', 'parts']).sort());
  const folders = await send(new s3.ListObjectsV2Command({ Bucket, Prefix: 'many/', Delimiter: '/' }));
  assert.deepStrictEqual(folders.CommonPrefixes.map((p) => p.Prefix), ['many/0/', 'many/1/', 'many/2/']);
  const old = await send(new s3.ListObjectsCommand({ Bucket, MaxKeys: 2 }));
  assert.strictEqual(old.IsTruncated, true);
  await send(new s3.CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/many/0/0` }));
  assert.strictEqual((await read({ Key: 'copy' })).toString(), 'many/0/0');
  const gone = await send(new s3.DeleteObjectsCommand({
    Bucket, Delete: { Objects: keys.concat(['stream', 'parts', 'copy']).map((Key) => ({ Key })) },
  }));
  assert.strictEqual(gone.Deleted.length, keys.length + 3);
}

async function conditions() {
  await send(new s3.PutObjectCommand({ Bucket, Key: 'once', Body: '1', IfNoneMatch: '*' }));
  await refused(new s3.PutObjectCommand({ Bucket, Key: 'once', Body: '2', IfNoneMatch: '*' }), 'PreconditionFailed');
  await refused(new s3.GetObjectCommand({ Bucket, Key: 'absent' }), 'NoSuchKey');
  await refused(new s3.HeadObjectCommand({ Bucket, Key: 'absent' }), 'NotFound');
  for (const ChecksumAlgorithm of ['CRC32', 'CRC32C', 'SHA1', 'SHA256', 'CRC64NVME']) {
    await send(new s3.PutObjectCommand({ Bucket, Key: 'once', Body: ChecksumAlgorithm, ChecksumAlgorithm }));
    const got = await send(new s3.GetObjectCommand({ Bucket, Key: 'once', ChecksumMode: 'ENABLED' }));
    assert.strictEqual(await got.Body.transformToString(), ChecksumAlgorithm);
    assert(got[`Checksum${ChecksumAlgorithm}`]);
  }
  const put = await getSignedUrl(client, new s3.PutObjectCommand({ Bucket, Key: 'signed' }));
  assert.strictEqual((await fetch(put, { method: 'PUT', body: 'presigned' })).status, 200);
  const get = await getSignedUrl(client, new s3.GetObjectCommand({ Bucket, Key: 'signed' }));
  assert.strictEqual(await (await fetch(get)).text(), 'presigned');
}

async function versions() {
  await send(new s3.PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }));
  const first = await send(new s3.PutObjectCommand({ Bucket, Key: 'v', Body: '1' }));
  await send(new s3.PutObjectCommand({ Bucket, Key: 'v', Body: '2' }));
  await send(new s3.DeleteObjectCommand({ Bucket, Key: 'v' }));
  await refused(new s3.GetObjectCommand({ Bucket, Key: 'v' }), 'NoSuchKey');
  assert.strictEqual((await read({ Key: 'v', VersionId: first.VersionId })).toString(), '1');
  const all = await send(new s3.ListObjectVersionsCommand({ Bucket }));
  assert.strictEqual(all.DeleteMarkers.length, 1);
  for (const one of all.Versions.concat(all.DeleteMarkers)) {
    await send(new s3.DeleteObjectCommand({ Bucket, Key: one.Key, VersionId: one.VersionId }));
  }
}

async function main() {
  await send(new s3.CreateBucketCommand({ Bucket }));
  await send(new s3.HeadBucketCommand({ Bucket }));
  const buckets = await send(new s3.ListBucketsCommand({}));
  assert(buckets.Buckets.some((b) => b.Name === Bucket));
  await streams();
  await files();
  await conditions();
  await versions();
  await send(new s3.DeleteBucketCommand({ Bucket }));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
