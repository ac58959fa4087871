import type { ModelEntry } from './modeltable.ts';
import { newerTokens, textTokens, tokensFor } from './tokens.ts';

/** The default text: sentences that could stand in any report, drawn by the caller's generator. */

const SENTENCES = [
  'The document describes a routine transaction between two parties.',
  'All figures agree with the totals given on the last page.',
  'Payment is due within thirty days of the date of issue.',
  'The author gives three reasons and supports each with an example.',
  'Two entries differ from the previous month and should be reviewed.',
  'The tone is neutral and the structure follows the usual order.',
  'No personal data beyond names and addresses is mentioned.',
  'The second section repeats the main point in other words.',
  'Delivery took place as agreed, without partial shipments.',
  'The customer asks for a correction of the billing address.',
  'A short summary would mention the date, the amount and the purpose.',
  'The argument is sound, although one source is missing.',
  'Overall the sentiment is positive with a few reservations.',
  'The request can be answered without further information.',
  'Terms and conditions are attached and were accepted in writing.',
  'The remaining balance is carried forward to the next period.',
  'Nothing in the text suggests that urgent action is needed.',
  'The table lists quantities, unit prices and applicable taxes.',
  'Several abbreviations are used and all of them are explained.',
  'The conclusion follows from the measurements in the appendix.',
  'Responsibility for the follow-up lies with the regional office.',
  'The contract may be ended by either side with one month of notice.',
  'The report covers the third quarter and compares it with the second.',
  'A reference number appears in the header and again in the footer.',
] as const;

/** Answers for very small budgets. */
const SHORT = ['Yes.', 'No.', 'Approved.', 'Positive.', 'Neutral.', 'Invoice.', 'Contract.', 'Not stated.', 'General inquiry.'] as const;

const SENTENCE_TOKENS: readonly number[] = SENTENCES.map(newerTokens);

/** A text and what it counts. Sentences end with a sign, behind which a space counts nothing, so their tokens can be added up. */
export interface WrittenText {
  readonly text: string;
  readonly tokens: number;
}

/** About `tokens` tokens of text that ends with a sentence, never more unless one sentence is. */
export function writeText(tokens: number, model: ModelEntry, next: () => number): WrittenText {
  const budget = model.tokenizer === 'newer' ? tokens : Math.floor(tokens * 1.3);
  if (budget < 12) {
    const text = SHORT[Math.floor(next() * SHORT.length)] ?? 'Yes.';
    return { text, tokens: textTokens(text, model, 'plausible') };
  }
  let index = Math.floor(next() * SENTENCES.length);
  let text = SENTENCES[index] ?? '';
  let used = SENTENCE_TOKENS[index] ?? 0;
  for (;;) {
    index = (index + 1 + Math.floor(next() * (SENTENCES.length - 1))) % SENTENCES.length;
    const more = SENTENCE_TOKENS[index] ?? 0;
    if (used + more > budget) {
      return { text, tokens: tokensFor(model, used) };
    }
    text += ` ${SENTENCES[index] ?? ''}`;
    used += more;
  }
}

/** The longest beginning of `text` that counts at most `tokens` tokens. */
export function cutText(text: string, tokens: number, model: ModelEntry): string {
  let fits = 0;
  let tooLong = text.length + 1;
  while (tooLong - fits > 1) {
    const middle = (fits + tooLong) >> 1;
    if (textTokens(text.slice(0, middle), model, 'plausible') <= tokens) {
      fits = middle;
    } else {
      tooLong = middle;
    }
  }
  const cut = text.slice(0, fits);
  return /[\ud800-\udbff]$/.test(cut) ? cut.slice(0, -1) : cut;
}
