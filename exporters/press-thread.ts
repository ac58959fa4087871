/** The thread that compresses blocks and digests files for `press.ts`. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { assertNever } from '../segments/segment.ts';
import { answerQuestions } from '../segments/thread.ts';
import { deflatedBlock } from './deflate.ts';

export type PressQuestion =
  | { readonly kind: 'deflate'; readonly block: Uint8Array; readonly level: number }
  | { readonly kind: 'digest'; readonly path: string };

export type PressAnswer =
  /** `block` comes back to be filled again. */
  | { readonly kind: 'deflated'; readonly bytes: Uint8Array<ArrayBuffer>; readonly block: Uint8Array }
  | { readonly kind: 'digested'; readonly sizeBytes: number; readonly sha256: string };

const stepBytes = 1024 * 1024;

answerQuestions<PressQuestion, PressAnswer>(
  (question) => {
    switch (question.kind) {
      case 'deflate':
        return { kind: 'deflated', bytes: deflatedBlock(question.block, question.level), block: question.block };
      case 'digest':
        return digested(question.path);
      default:
        return assertNever(question, 'question');
    }
  },
  (answer) => (answer.kind === 'deflated' ? [answer.bytes.buffer, answer.block.buffer as ArrayBuffer] : []),
);

function digested(path: string): PressAnswer {
  const hash = createHash('sha256');
  const step = Buffer.allocUnsafeSlow(stepBytes);
  const file = openSync(path, 'r');
  let sizeBytes = 0;
  try {
    for (let count = readSync(file, step); count > 0; count = readSync(file, step)) {
      hash.update(step.subarray(0, count));
      sizeBytes += count;
    }
  } finally {
    closeSync(file);
  }
  return { kind: 'digested', sizeBytes, sha256: hash.digest('hex') };
}
