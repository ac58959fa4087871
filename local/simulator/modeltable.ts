/**
 * The models the simulated account can use: prices, limits and rules per model, copied from the reference of 2026-11-21
 * (claude-batches.md 3, 4.5, 5). Prices are USD per million tokens in the order input, output, cache write 5 minutes, cache write 1 hour,
 * cache read; a batch costs half of each. Dates the sources do not give are null.
 */

export type ModelLine = 'haiku' | 'sonnet' | 'opus' | 'fable' | 'mythos';

/** Input, output, cache write 5 m, cache write 1 h, cache read; USD per million tokens. */
export type Prices = readonly [input: number, output: number, write5m: number, write1h: number, read: number];

export interface ModelEntry {
  readonly id: string;
  /** Other names that resolve to `id`. */
  readonly aliases: readonly string[];
  readonly name: string;
  readonly line: ModelLine;
  /** Major times ten plus minor: Opus 4.7 is 47. Model rules are stated by generation. */
  readonly generation: number;
  readonly status: 'active' | 'deprecated' | 'retired';
  /** Context window, tokens. */
  readonly context: number;
  /** Largest `max_tokens`. */
  readonly output: number;
  /** The same with the beta `output-300k-2026-03-24`, batches only; null where the beta does not apply. */
  readonly outputBeta: number | null;
  readonly prices: Prices;
  /** Prices of the whole request once its prompt is longer than `above` tokens. */
  readonly longPrices?: { readonly above: number; readonly prices: Prices };
  /** Shortest cacheable prefix, tokens. */
  readonly cacheable: number;
  readonly tokenizer: 'newer' | 'previous';
  /** Tokens of the hidden tool prompt: with tool_choice auto or none, with any or tool. */
  readonly toolPrompt: readonly [auto: number, forced: number];
  /** True where `inference_geo: "us"` costs 1.1 times. */
  readonly geo: boolean;
  readonly released: string | null;
  /** The day the model stops answering. */
  readonly retires: string | null;
}

export const MODELS: readonly ModelEntry[] = [
  {
    id: 'claude-fable-5-2', aliases: [], name: 'Claude Fable 5.2', line: 'fable', generation: 52, status: 'active',
    context: 1_000_000, output: 128_000, outputBeta: null, prices: [8, 40, 10, 16, 0.2], cacheable: 512, tokenizer: 'newer',
    toolPrompt: [354, 474], geo: true, released: '2026-11-09', retires: null,
  },
  {
    id: 'claude-mythos-5-2', aliases: [], name: 'Claude Mythos 5.2', line: 'mythos', generation: 52, status: 'active',
    context: 1_000_000, output: 128_000, outputBeta: null, prices: [8, 40, 10, 16, 0.2], cacheable: 512, tokenizer: 'newer',
    toolPrompt: [354, 474], geo: true, released: '2026-11-09', retires: null,
  },
  {
    id: 'claude-fable-5-1', aliases: [], name: 'Claude Fable 5.1', line: 'fable', generation: 51, status: 'active',
    context: 1_000_000, output: 128_000, outputBeta: null, prices: [10, 50, 12.5, 20, 0.25], cacheable: 512, tokenizer: 'newer',
    toolPrompt: [354, 474], geo: true, released: '2026-09-01', retires: null,
  },
  {
    id: 'claude-mythos-5-1', aliases: [], name: 'Claude Mythos 5.1', line: 'mythos', generation: 51, status: 'active',
    context: 1_000_000, output: 128_000, outputBeta: null, prices: [10, 50, 12.5, 20, 0.25], cacheable: 512, tokenizer: 'newer',
    toolPrompt: [354, 474], geo: true, released: '2026-09-01', retires: null,
  },
  {
    id: 'claude-fable-5', aliases: [], name: 'Claude Fable 5', line: 'fable', generation: 50, status: 'active', context: 1_000_000,
    output: 128_000, outputBeta: null, prices: [10, 50, 12.5, 20, 1], cacheable: 512, tokenizer: 'newer', toolPrompt: [354, 474],
    geo: true, released: '2026-06-09', retires: null,
  },
  {
    id: 'claude-mythos-5', aliases: [], name: 'Claude Mythos 5', line: 'mythos', generation: 50, status: 'active',
    context: 1_000_000, output: 128_000, outputBeta: null, prices: [10, 50, 12.5, 20, 1], cacheable: 512, tokenizer: 'newer',
    toolPrompt: [354, 474], geo: true, released: '2026-06-09', retires: null,
  },
  {
    id: 'claude-opus-5-5', aliases: [], name: 'Claude Opus 5.5', line: 'opus', generation: 55, status: 'active', context: 1_000_000,
    output: 128_000, outputBeta: 300_000, prices: [4, 20, 5, 8, 0.2], cacheable: 512, tokenizer: 'newer', toolPrompt: [354, 474],
    geo: true, released: '2026-09-22', retires: null,
  },
  {
    id: 'claude-opus-5', aliases: [], name: 'Claude Opus 5', line: 'opus', generation: 50, status: 'active', context: 1_000_000,
    output: 128_000, outputBeta: 300_000, prices: [5, 25, 6.25, 10, 0.5], cacheable: 512, tokenizer: 'newer', toolPrompt: [286, 406],
    geo: true, released: '2026-07-24', retires: null,
  },
  {
    id: 'claude-opus-4-8', aliases: [], name: 'Claude Opus 4.8', line: 'opus', generation: 48, status: 'active', context: 1_000_000,
    output: 128_000, outputBeta: 300_000, prices: [5, 25, 6.25, 10, 0.5], cacheable: 1024, tokenizer: 'newer',
    toolPrompt: [290, 410], geo: true, released: null, retires: null,
  },
  {
    id: 'claude-opus-4-7', aliases: [], name: 'Claude Opus 4.7', line: 'opus', generation: 47, status: 'active', context: 1_000_000,
    output: 128_000, outputBeta: 300_000, prices: [5, 25, 6.25, 10, 0.5], cacheable: 2048, tokenizer: 'newer',
    toolPrompt: [675, 804], geo: true, released: null, retires: null,
  },
  {
    id: 'claude-opus-4-6', aliases: [], name: 'Claude Opus 4.6', line: 'opus', generation: 46, status: 'active', context: 1_000_000,
    output: 128_000, outputBeta: 300_000, prices: [5, 25, 6.25, 10, 0.5], cacheable: 4096, tokenizer: 'previous',
    toolPrompt: [497, 589], geo: true, released: null, retires: null,
  },
  {
    id: 'claude-opus-4-5-20251101', aliases: ['claude-opus-4-5'], name: 'Claude Opus 4.5', line: 'opus', generation: 45,
    status: 'active', context: 200_000, output: 64_000, outputBeta: null, prices: [5, 25, 6.25, 10, 0.5], cacheable: 4096,
    tokenizer: 'previous', toolPrompt: [496, 588], geo: false, released: null, retires: null,
  },
  {
    id: 'claude-sonnet-5-5', aliases: [], name: 'Claude Sonnet 5.5', line: 'sonnet', generation: 55, status: 'active',
    context: 1_000_000, output: 128_000, outputBeta: null, prices: [2, 10, 2.5, 4, 0.1], cacheable: 512, tokenizer: 'newer',
    toolPrompt: [354, 474], geo: true, released: '2026-09-28', retires: null,
  },
  {
    id: 'claude-sonnet-5', aliases: [], name: 'Claude Sonnet 5', line: 'sonnet', generation: 50, status: 'active',
    context: 1_000_000, output: 128_000, outputBeta: 300_000, prices: [2, 10, 2.5, 4, 0.2], cacheable: 1024, tokenizer: 'newer',
    toolPrompt: [354, 474], geo: true, released: null, retires: null,
  },
  {
    id: 'claude-sonnet-4-6', aliases: [], name: 'Claude Sonnet 4.6', line: 'sonnet', generation: 46, status: 'active',
    context: 1_000_000, output: 128_000, outputBeta: 300_000, prices: [3, 15, 3.75, 6, 0.3], cacheable: 1024, tokenizer: 'previous',
    toolPrompt: [497, 589], geo: true, released: null, retires: null,
  },
  {
    id: 'claude-sonnet-4-5-20250929', aliases: ['claude-sonnet-4-5'], name: 'Claude Sonnet 4.5', line: 'sonnet', generation: 45,
    status: 'deprecated', context: 200_000, output: 64_000, outputBeta: null, prices: [3, 15, 3.75, 6, 0.3], cacheable: 1024,
    tokenizer: 'previous', toolPrompt: [496, 588], geo: false, released: null, retires: '2026-11-30',
  },
  {
    id: 'claude-haiku-5-5', aliases: [], name: 'Claude Haiku 5.5', line: 'haiku', generation: 55, status: 'active',
    context: 1_000_000, output: 128_000, outputBeta: 300_000, prices: [0.1, 0.5, 0.125, 0.2, 0.01],
    longPrices: { above: 100_000, prices: [0.5, 2.5, 0.625, 1, 0.05] }, cacheable: 512, tokenizer: 'newer', toolPrompt: [286, 406],
    geo: true, released: '2026-10-07', retires: null,
  },
  {
    id: 'claude-haiku-4-5-20251001', aliases: ['claude-haiku-4-5'], name: 'Claude Haiku 4.5', line: 'haiku', generation: 45,
    status: 'active', context: 200_000, output: 64_000, outputBeta: null, prices: [1, 5, 1.25, 2, 0.1], cacheable: 4096,
    tokenizer: 'previous', toolPrompt: [496, 588], geo: false, released: null, retires: null,
  },
  {
    id: 'claude-opus-4-1-20250805', aliases: ['claude-opus-4-1'], name: 'Claude Opus 4.1', line: 'opus', generation: 41,
    status: 'retired', context: 200_000, output: 32_000, outputBeta: null, prices: [15, 75, 18.75, 30, 1.5], cacheable: 1024,
    tokenizer: 'previous', toolPrompt: [313, 315], geo: false, released: null, retires: '2026-08-05',
  },
  {
    id: 'claude-opus-4-20250514', aliases: ['claude-opus-4-0'], name: 'Claude Opus 4', line: 'opus', generation: 40,
    status: 'retired', context: 200_000, output: 32_000, outputBeta: null, prices: [15, 75, 18.75, 30, 1.5], cacheable: 1024,
    tokenizer: 'previous', toolPrompt: [313, 315], geo: false, released: null, retires: '2026-06-15',
  },
  {
    id: 'claude-sonnet-4-20250514', aliases: ['claude-sonnet-4-0'], name: 'Claude Sonnet 4', line: 'sonnet', generation: 40,
    status: 'retired', context: 1_000_000, output: 64_000, outputBeta: null, prices: [3, 15, 3.75, 6, 0.3],
    longPrices: { above: 200_000, prices: [6, 22.5, 7.5, 12, 0.6] }, cacheable: 1024, tokenizer: 'previous', toolPrompt: [313, 315],
    geo: false, released: null, retires: '2026-06-15',
  },
  {
    id: 'claude-3-7-sonnet-20250219', aliases: [], name: 'Claude Sonnet 3.7', line: 'sonnet', generation: 37, status: 'retired',
    context: 200_000, output: 64_000, outputBeta: null, prices: [3, 15, 3.75, 6, 0.3], cacheable: 1024, tokenizer: 'previous',
    toolPrompt: [354, 474], geo: false, released: null, retires: '2026-02-19',
  },
  {
    id: 'claude-3-5-haiku-20241022', aliases: ['claude-3-5-haiku-latest'], name: 'Claude Haiku 3.5', line: 'haiku', generation: 35,
    status: 'retired', context: 200_000, output: 8_192, outputBeta: null, prices: [0.8, 4, 1, 1.6, 0.08], cacheable: 2048,
    tokenizer: 'previous', toolPrompt: [264, 355], geo: false, released: null, retires: '2026-02-19',
  },
  {
    id: 'claude-3-haiku-20240307', aliases: [], name: 'Claude Haiku 3', line: 'haiku', generation: 30, status: 'retired',
    context: 200_000, output: 4_096, outputBeta: null, prices: [0.25, 1.25, 0.3, 0.5, 0.03], cacheable: 1024, tokenizer: 'previous',
    toolPrompt: [354, 474], geo: false, released: null, retires: '2026-04-20',
  },
];
