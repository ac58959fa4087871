/**
 * Every bound that is not a setting, with its source and date: first the provider's, then our own. A setting may be
 * stricter than a limit, never looser; `schema.ts` takes the outer bounds of the settings from here, and
 * `test/unit/limits.test.ts` asserts how the limits stand to each other.
 */

const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

/** What the provider allows. Sizes in bytes, times in ms, counts in requests or tokens. */
export const providerLimits = {
  /** Requests in one batch, 1 to this many (claude-batches.md 1.2, documented; 2026-11-21). */
  batchRequestsMax: 100_000,
  /**
   * Bytes of one batch body. The documentation says 256 MB and not which MB; the decimal reading is the smaller one, so
   * it is safe under both (claude-batches.md 1.2; 2026-11-21).
   */
  batchBytesMax: 256_000_000,
  /** A batch expires this long after its creation, to the microsecond (claude-batches.md 1.2; 2026-11-21). */
  batchLifetimeMs: 24 * hourMs,
  /** Results can be downloaded this long after the creation, not the end, of a batch (claude-batches.md 1.2; 2026-11-21). */
  resultsKeptMs: 29 * dayMs,
  /** Characters of a `custom_id`, all of `[A-Za-z0-9_-]` (claude-batches.md 1.4; 2026-11-21). */
  customIdLengthMax: 64,
  /** Bytes of one Messages request (claude-batches.md 1.2, from the error pages; 2026-11-21). */
  requestBytesMax: 32_000_000,
  /** Entries of one page of the batch list (claude-batches.md 1.6; 2026-11-21). */
  listPageMax: 1_000,
  /** Input tokens that the widest models take (models.json `context_window`; 2026-11-21). */
  contextTokensMax: 1_000_000,
  /** The largest `max_tokens`: the batch-only extended output (claude-batches.md 1.2; 2026-11-21). */
  outputTokensMax: 300_000,
  /** What an unfinished batch's `retry-after` was seen to say (claude-batches.md 1.1, captured; 2026-11-21). */
  pollHintMs: 10 * secondMs,
  /** Requests that may wait in the provider's queue, by usage tier (claude-batches.md 2.1; 2026-11-21). */
  queueRowsByTier: { start: 200_000, build: 300_000, scale: 500_000 },
  /** Calls per minute to all batch endpoints together, by usage tier (claude-batches.md 2.1; 2026-11-21). */
  callsPerMinuteByTier: { start: 1_000, build: 2_000, scale: 4_000 },
} as const;

/**
 * What the client library and its transport do unless told otherwise; a longer `submit.timeout` needs both raised.
 */
export const clientLimits = {
  /** `@anthropic-ai/sdk` 1.12.0: from the call until the response headers, upload included (claude-batches.md 7.1; 2026-11-21). */
  replyTimeoutMs: 10 * minuteMs,
  /** undici 6: its own wait for headers, which fires before the library's (claude-batches.md 7.4, measured; 2026-11-21). */
  transportHeadersMs: 300 * secondMs,
} as const;

/** Bounds of our own; each says what grows without it. */
export const ownLimits = {
  /** A settings file is read and parsed whole; nobody writes one this long by hand. */
  settingsFileBytesMax: 1_048_576,
  /** A key or a password; longer ones come from a mistaken `*_FILE`. */
  secretBytesMax: 16_384,
  /** Each class multiplies the number of segments and so of queues. */
  contextClassesMax: 16,
  /** Budgets are looked up for every chunk that is admitted. */
  budgetsMax: 1_000,
  /** Every attempt is paid for, so a loop of retries has to end. */
  attemptsMax: 10,
  /** Rounds for a fault of the account are not paid for, but each is an upload; with rests of an hour this is four days. */
  accountRoundsMax: 100,
  /** Stages that one process runs side by side; more only wait for each other's disk and network. */
  concurrencyMax: 64,
  /** JSON deeper than this needs more stack than a thread is sure to have. */
  nestingMax: 512,
  /** Bytes that one compressed byte may turn into; deflate itself ends at 1,032 (zlib's technical notes; 2026-11-21). */
  expansionMax: 1_100,
  /** Bytes of a source between two points where a restart can begin; more is no point at all. */
  sectionBytesMax: 1_000_000_000_000,
  /** Bytes of unsealed chunks in one process. */
  openBytesMax: 4_000_000_000,
  /** Rows of one chunk: its index is held in memory while it is written. */
  chunkRowsMax: 100_000,
  /** Prompts of one beginning that go unmarked; whoever wants more wants no cache. */
  cacheAfterMax: 100_000,
  /** Bytes of one exported file before a new part begins; one streamed PUT takes 5 GB (S3 user guide; 2026-11-21). */
  exportPartBytesMax: 5_000_000_000,
  /** A lane whose lease is shorter could be lost between two renewals of a busy process. */
  laneLeaseMsMin: 3 * secondMs,
  /** The longest wait that a setting may ask for. */
  waitMsMax: dayMs,
  /** SIGTERM to exit: what is in hand is put down within this time, or taken up again by the sweeper. */
  drainMs: 30 * secondMs,
} as const;
