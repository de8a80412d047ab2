// One upload by tus-js-client, as tus.py asks for it:
//   tus.js URL KEY FILE URLS [name=value…]    URLS: where addresses of uploads are kept
// key=KEY is the file's; abortAfter=N ends the upload after N pieces; all else goes to the client.
// Prints {"path", "resumed_at"} as its last line: the first offset that it asked for, or null.
const fs = require('fs');
const stream = require('stream');
const tus = require('tus-js-client');

const [endpoint, key, path, urls, ...words] = process.argv.slice(2);
const given = Object.fromEntries(words.map((word) => word.split('=')));
const options = {
  endpoint,
  headers: { Authorization: `Bearer ${key}` },
  retryDelays: [100, 200, 400, 800, 1600, 3200, 3200, 3200],
  metadata: { bucket: 'files', key: given.key, filename: 'file.txt', filetype: 'text/plain' },
  urlStorage: new tus.FileUrlStorage(urls),
  storeFingerprintForResuming: true,
  removeFingerprintOnSuccess: true,
  fingerprint: async () => `tus-${given.key}`,
};
if ('chunkSize' in given) options.chunkSize = Number(given.chunkSize);
if ('uploadDataDuringCreation' in given) options.uploadDataDuringCreation = true;
if ('uploadLengthDeferred' in given) options.uploadLengthDeferred = true;
if (!('uploadLengthDeferred' in given)) options.uploadSize = fs.statSync(path).size;

let resumedAt = null;
let pieces = 0;
let upload = null;

function tell() {
  console.log(JSON.stringify({ path: new URL(upload.url).pathname, resumed_at: resumedAt }));
}

options.onAfterResponse = (request, response) => {
  if (request.getMethod() !== 'HEAD' || resumedAt !== null) return;
  resumedAt = Number(response.getHeader('Upload-Offset'));
};
options.onChunkComplete = async () => {
  pieces += 1;
  if (String(pieces) !== given.abortAfter) return;
  await upload.abort(true);
  tell();
};
options.onSuccess = tell;
options.onError = (error) => {
  console.error(String(error));
  process.exitCode = 1;
};

// A file is read anew where it is needed; a length that is not known goes with a stream only.
const file = fs.createReadStream(path);
const late = 'uploadLengthDeferred' in given;
upload = new tus.Upload(late ? file.pipe(new stream.PassThrough()) : file, options);
upload.findPreviousUploads().then((previous) => {
  if (previous.length > 0) upload.resumeFromPreviousUpload(previous[0]);
  upload.start();
});
