/** What each client would hand in with a source, and from where on it would be over the rates of its tier. */
import { countsTokens, quotaRates, tierOf, type QuotaRate, type Terms, type Tier } from '../segments/quota.ts';

/** What one prompt adds up to; tokens, micro-USD and pico-USD. */
export interface SurveyedPrompt {
  readonly tokensExpected: number;
  readonly tokensMax: number;
  readonly picoExpected: bigint;
  readonly microUsdMax: number;
}

/** What one client would hand in. Tokens and micro-USD are integers. */
export interface ClientSurvey {
  readonly client: string;
  /** Its tier; undefined: none, and no limits. */
  readonly tier: string | undefined;
  readonly rows: number;
  readonly tokensExpected: number;
  readonly tokensMax: number;
  readonly microUsdExpected: number;
  readonly microUsdMax: number;
  /** The first rate that it would be over, if all of the source is read within one minute in which it hands in nothing else,
   *  and how many of its rows come from there on. undefined: it is over none. */
  readonly over: { readonly limit: QuotaRate; readonly allowed: number; readonly rows: number; readonly kind: Tier['over'] } | undefined;
}

interface Tally {
  readonly found: ReturnType<typeof tierOf>;
  rows: number;
  tokensExpected: number;
  tokensMax: number;
  picoExpected: bigint;
  microUsdMax: number;
  over: { readonly limit: QuotaRate; readonly allowed: number; readonly fromRow: number } | undefined;
}

/** Adds up clients while a source is read. A rate is judged as an ingest does it: the row that is too much is the first over it. */
export class ClientTallies {
  readonly #terms: Terms | undefined;
  readonly #tallies = new Map<string, Tally>();

  /** @param terms undefined: nobody has limits */
  constructor(terms: Terms | undefined) {
    this.#terms = terms;
  }

  add(client: string, prompt: SurveyedPrompt): void {
    let tally = this.#tallies.get(client);
    if (!tally) {
      tally = { found: tierOf(this.#terms, client), rows: 0, tokensExpected: 0, tokensMax: 0, picoExpected: 0n, microUsdMax: 0, over: undefined };
      this.#tallies.set(client, tally);
    }
    tally.rows += 1;
    tally.tokensExpected += prompt.tokensExpected;
    tally.tokensMax += prompt.tokensMax;
    tally.picoExpected += prompt.picoExpected;
    tally.microUsdMax += prompt.microUsdMax;
    if (tally.found && !tally.over) tally.over = brokenBy(tally, tally.found.tier);
  }

  /** Sorted by name. */
  finish(): readonly ClientSurvey[] {
    return [...this.#tallies].sort(([a], [b]) => (a < b ? -1 : 1)).map(([client, { found, over, picoExpected, ...sums }]) => ({
      client,
      tier: found?.name,
      rows: sums.rows,
      tokensExpected: sums.tokensExpected,
      tokensMax: sums.tokensMax,
      microUsdExpected: Number((picoExpected + 999_999n) / 1_000_000n),
      microUsdMax: sums.microUsdMax,
      over: over && found ? { limit: over.limit, allowed: over.allowed, rows: sums.rows - over.fromRow + 1, kind: found.tier.over } : undefined,
    }));
  }
}

function brokenBy({ rows, tokensExpected }: Tally, tier: Tier): Tally['over'] {
  for (const limit of quotaRates) {
    const allowed = tier[limit];
    if (allowed !== undefined && (countsTokens(limit) ? tokensExpected : rows) > allowed) return { limit, allowed, fromRow: rows };
  }
  return undefined;
}
