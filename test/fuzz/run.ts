/** Feeds mutated samples to parsers and notes what each made of them. */
import { InvariantBroken, PlimsollError } from '../../segments/errors.ts';
import { seeded } from '../chaos/box/random.ts';
import { mutate } from './mutate.ts';

/** A boundary of the product: bytes from somewhere else go in, a word for what became of them comes out. */
export interface Parser {
  readonly name: string;
  readonly samples: readonly Buffer[];
  /** Share of all inputs; 1 is usual, less where an input costs more. */
  readonly share: number;
  /** What became of the input: `taken`, or the code of its refusal. Errors of the product's own kinds may be thrown. */
  readonly feed: (bytes: Buffer) => string | Promise<string>;
}

export interface Tally {
  readonly parser: string;
  readonly inputs: number;
  readonly outcomes: ReadonlyMap<string, number>;
  /** What must not be: a crash, a hang, a reason that says nothing. With the input, as base64. */
  readonly failures: readonly string[];
  readonly slowestMs: number;
}

const hangMs = 1_000;
const failuresMax = 20;

/** Feeds one parser. A seed and a parser name give the same inputs. */
export async function fuzz(parser: Parser, inputs: number, seed: number): Promise<Tally> {
  const random = seeded(seed * 1_000_003 + [...parser.name].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7));
  const outcomes = new Map<string, number>();
  const failures: string[] = [];
  let slowestMs = 0;
  for (let ordinal = 0; ordinal < inputs && failures.length < failuresMax; ordinal += 1) {
    // The samples themselves come first: they have to be taken.
    const sample = parser.samples[ordinal];
    const bytes = sample ?? mutate(parser.samples, random);
    const startedAt = performance.now();
    let outcome: string;
    try {
      outcome = await parser.feed(bytes);
    } catch (error) {
      if (error instanceof PlimsollError) outcome = error.code;
      else {
        outcome = 'crashed';
        failures.push(`${parser.name} crashed: ${describe(error)}: ${shown(bytes)}`);
      }
    }
    const tookMs = performance.now() - startedAt;
    slowestMs = Math.max(slowestMs, tookMs);
    if (tookMs > hangMs) failures.push(`${parser.name} took ${tookMs.toFixed(0)} ms: ${shown(bytes)}`);
    if (outcome === '' || outcome.includes('unknown_') || outcome === 'unknown') failures.push(`${parser.name} gives no reason (${outcome}): ${shown(bytes)}`);
    if (sample !== undefined && outcome !== 'taken') failures.push(`${parser.name} refuses a valid sample: ${outcome}: ${shown(bytes)}`);
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  return { parser: parser.name, inputs, outcomes, failures, slowestMs };
}

function describe(error: unknown): string {
  if (error instanceof InvariantBroken) return `InvariantBroken ${error.message}`;
  return error instanceof Error ? `${error.name} ${error.message.slice(0, 120)} ${error.stack?.split('\n')[1]?.trim() ?? ''}` : String(error);
}

function shown(bytes: Buffer): string {
  return bytes.length > 600 ? `${bytes.subarray(0, 600).toString('base64')}… (${bytes.length} bytes)` : bytes.toString('base64');
}
