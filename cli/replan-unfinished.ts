/**
 * Whether a replan that was decided and not carried out is the one that is asked for. A decision is in the journal before
 * anything of it is done, so whoever comes next finds it: the same command goes on with it, another one must not. It would
 * carry out what somebody else has decided, for good, and drop what it was told to do.
 */
import { isDeepStrictEqual } from 'node:util';
import { PlimsollError } from '../segments/errors.ts';
import { rowsOf, type ReplanDocument, type ReplanOption } from '../segments/replan-document.ts';
import type { ReplanRequest } from './replanning.ts';
import { countText } from './terminal.ts';

/**
 * The unfinished replans that a request goes on with: those of its option and its runs. Two commands at the same moment can
 * leave two that differ; each is gone on with by its own command, and the ledger gives every chunk to one of them.
 * @throws PlimsollError `replan_unfinished` when there are some and none is what is asked for
 */
export function resumedBy(request: Pick<ReplanRequest, 'segment' | 'run' | 'option'>, unfinished: readonly ReplanDocument[]): readonly ReplanDocument[] {
  const own = unfinished.filter((document) => isSameOption(document.option, request.option) && isSameRuns(document, request.run));
  if (own.length > 0 || unfinished.length === 0) return own;
  const commands = unfinished.map((document) => ['plimsoll replan', document.segment, ...(document.run === undefined ? [] : [`--run ${document.run}`]), ...flagsOf(document.option), '--apply --by WHO --reason TEXT'].join(' '));
  throw new PlimsollError('replan_unfinished', {
    message: `${request.segment} has ${unfinished.length === 1 ? 'a replan that was' : `${unfinished.length} replans that were`} decided and not carried out, and it is not what is asked for: ${unfinished.map(wordsOf).join('; ')}`,
    where: unfinished.map(({ replan }) => `journal/replans/${replan}.json`).join(', '),
    hint: `Nothing was changed. Go on with it: ${[...new Set(commands)].join(', or ')}`,
  });
}

/** The flags that say an option on the command line. */
export function flagsOf({ model, maxTokens, sample }: ReplanOption): readonly string[] {
  return [
    ...(model === undefined ? [] : [`--model ${model}`]),
    ...(maxTokens === undefined ? [] : [`--max-tokens ${maxTokens}`]),
    ...(sample === undefined ? [] : [`--sample ${'rows' in sample ? sample.rows : `${sample.percent}%`}`]),
  ];
}

function isSameOption(a: ReplanOption, b: ReplanOption): boolean {
  return isDeepStrictEqual([a.model, a.maxTokens, a.sample], [b.model, b.maxTokens, b.sample]);
}

/** A document of the whole segment that happens to hold chunks of one run only does what a request for that run asks for. */
function isSameRuns(document: ReplanDocument, run: ReplanRequest['run']): boolean {
  return document.run === run || (run !== undefined && document.chunks.every((chunk) => chunk.run === run));
}

function wordsOf(document: ReplanDocument): string {
  const { kept, notSampled } = rowsOf(document);
  return `${document.by} decided ${flagsOf(document.option).join(' ')}${document.run === undefined ? '' : ` of the run ${document.run}`} (${countText(kept)} rows go on, ${countText(notSampled)} are left out), because ${JSON.stringify(document.reason)}`;
}
