/** The thread that digests a body for `digest.ts`: one body, then it is ended. */
import { createHash } from 'node:crypto';
import { answerQuestions } from '../segments/thread.ts';

export type DigestQuestion = { readonly kind: 'block'; readonly block: Uint8Array } | { readonly kind: 'end' };
export type DigestAnswer = { readonly kind: 'read' } | { readonly kind: 'digested'; readonly sha256: string };

const hash = createHash('sha256');

answerQuestions<DigestQuestion, DigestAnswer>((question) => {
  if (question.kind === 'end') return { kind: 'digested', sha256: hash.digest('hex') };
  hash.update(question.block);
  return { kind: 'read' };
});
