import { closeSync, openSync, readSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { BodyJudge } from './bodyjudge.ts';
import type { JudgeOrder, JudgeReply } from './judgedesk.ts';
import { SCAN_SPACE } from './scanner.ts';

/**
 * The thread that judges large bodies. It reads behind the thread that receives them, from the file they are written to, which the operating
 * system still has in memory; so nothing is handed over but numbers, and a body that arrives faster than it is judged waits on disk.
 *
 * It owns one open file and one judge per upload under way.
 */

interface Upload {
  readonly judge: BodyJudge;
  readonly file: number;
  read: number;
}

const uploads = new Map<number, Upload>();

parentPort?.on('message', (order: JudgeOrder) => {
  const reply = obey(order);
  if (reply !== undefined) {
    parentPort?.postMessage(reply);
  }
});

function obey(order: JudgeOrder): JudgeReply | undefined {
  if (order.kind === 'open') {
    uploads.set(order.upload, { judge: new BodyJudge(), file: openSync(order.path, 'r'), read: 0 });
    return undefined;
  }
  const upload = uploads.get(order.upload);
  if (upload === undefined) {
    return undefined;
  }
  if (order.kind === 'drop') {
    forget(order.upload, upload);
    return undefined;
  }
  readUpTo(upload, order.written);
  if (order.kind === 'read') {
    return undefined;
  }
  const verdict = upload.judge.end();
  forget(order.upload, upload);
  return { upload: order.upload, verdict };
}

function readUpTo(upload: Upload, written: number): void {
  while (upload.read < written) {
    const length = readSync(upload.file, SCAN_SPACE, 0, Math.min(SCAN_SPACE.length, written - upload.read), upload.read);
    upload.judge.write(SCAN_SPACE.subarray(0, length));
    upload.read += length;
  }
}

function forget(id: number, upload: Upload): void {
  closeSync(upload.file);
  uploads.delete(id);
}
