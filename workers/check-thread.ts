/** The thread that checks results for `check.ts`: one stream at a time, a new one with every `begin`. */
import { invariant } from '../segments/errors.ts';
import type { ResultCounts, ResultIndexParts } from '../segments/result-index.ts';
import { ResultsChecker, type ResultsCheck } from '../segments/results.ts';
import { shaReader } from '../segments/row-mark.ts';
import type { ArchiveId } from '../segments/segment.ts';
import { answerQuestions, bufferOf } from '../segments/thread.ts';

export type CheckQuestion =
  /** `shas`: the digests of all rows one after the other, in hex. */
  | { readonly kind: 'begin'; readonly archive: ArchiveId; readonly rows: number; readonly shas: Uint8Array }
  | { readonly kind: 'block'; readonly block: Uint8Array }
  | { readonly kind: 'end'; readonly counts: ResultCounts | undefined };

export type CheckAnswer =
  | { readonly kind: 'taken' }
  | { readonly kind: 'checked'; readonly check: Omit<ResultsCheck, 'index' | 'sha256'>; readonly index: ResultIndexParts };

let checker: ResultsChecker | undefined;

answerQuestions<CheckQuestion, CheckAnswer>((question) => {
  if (question.kind === 'begin') {
    const { archive, rows } = question;
    checker = new ResultsChecker({ archive, rows, shaOf: shaReader(bufferOf(question.shas)) });
    return { kind: 'taken' };
  }
  invariant(checker !== undefined, 'a check begins before its first block');
  if (question.kind === 'block') {
    checker.add(bufferOf(question.block));
    return { kind: 'taken' };
  }
  const { index, ...check } = checker.end(question.counts);
  return { kind: 'checked', check, index: index.parts() };
});
