/** The thread that judges lines for `judging.ts`: it is told the rules once, and then gets one batch of lines after the other. */
import { tableOf } from '../config/price-table.ts';
import { invariant } from '../segments/errors.ts';
import { answerQuestions, bufferOf } from '../segments/thread.ts';
import { Judge } from './judge.ts';
import type { Judgement, IntakeRules } from './judge.ts';
import { pack } from './judgements.ts';
import type { JudgementColumns } from './judgements.ts';
import type { ModelEntry } from '../config/models.ts';

/** The rules in a form that can be copied: of the price table only its rows, from which it is made anew. */
export interface CopiedRules extends Omit<IntakeRules, 'price'> {
  readonly price: { readonly version: string; readonly models: readonly ModelEntry[] };
}

export type JudgeQuestion =
  | { readonly kind: 'begin'; readonly rules: CopiedRules }
  /** Line `n` stands in `bytes` from `ends[n - 1]`, or the beginning, to `ends[n]`, and has `sizes[n]` bytes in its source.
   *  `isDigested`: params are to come back with their sha256. */
  | { readonly kind: 'lines'; readonly bytes: Uint8Array<ArrayBuffer>; readonly ends: readonly number[]; readonly sizes: readonly number[]; readonly isDigested: boolean };

export type JudgeAnswer =
  | { readonly kind: 'ready' }
  /** `bytes` come back: the params are slices of them. */
  | { readonly kind: 'judged'; readonly bytes: Uint8Array<ArrayBuffer>; readonly columns: JudgementColumns };

let judge: Judge | undefined;

answerQuestions<JudgeQuestion, JudgeAnswer>(
  (question) => {
    if (question.kind === 'begin') {
      const { price, ...rules } = question.rules;
      judge = new Judge({ ...rules, price: tableOf(price.version, price.models) });
      return { kind: 'ready' };
    }
    invariant(judge !== undefined, 'the rules come before the first line');
    const { ends, sizes, isDigested } = question;
    const bytes = bufferOf(question.bytes);
    const judgements: Judgement[] = [];
    let from = 0;
    for (const [line, end] of ends.entries()) {
      judgements.push(judge.judge({ bytes: bytes.subarray(from, end), sizeBytes: sizes[line] ?? 0 }));
      from = end;
    }
    return { kind: 'judged', bytes: question.bytes, columns: pack(judgements, bytes, isDigested) };
  },
  (answer) => (answer.kind === 'judged' ? [answer.bytes.buffer, answer.columns.numbers.buffer, answer.columns.idDigests.buffer, answer.columns.made.buffer] : []),
);
