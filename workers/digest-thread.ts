/** The thread that digests bodies for `digest.ts`: several at once, each by its number. */
import { createHash, type Hash } from 'node:crypto';
import { answerQuestions } from '../segments/thread.ts';

export type DigestQuestion =
  /** The next bytes of a body; its first ones begin it. The memory is shared, and may be changed after the answer. */
  | { readonly kind: 'block'; readonly body: number; readonly block: Uint8Array }
  /** Its end, or that nobody needs its digest any more. */
  | { readonly kind: 'end'; readonly body: number };

/** The answer to a block is empty; to an end it is the sha256 of the body, hex. */
export type DigestAnswer = string;

const hashes = new Map<number, Hash>();

answerQuestions<DigestQuestion, DigestAnswer>((question) => {
  const hash = hashes.get(question.body) ?? createHash('sha256');
  if (question.kind === 'block') {
    hashes.set(question.body, hash.update(question.block));
    return '';
  }
  hashes.delete(question.body);
  return hash.digest('hex');
});
