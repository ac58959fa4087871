/**
 * The one schema: every setting with its type, its default and its description on one line. The loader, the JSON Schema
 * for editors, the example file and `plimsoll config` are all made from it, so none of them can differ from another.
 */
import { z } from 'zod';
import { priorities, topicPattern } from '../segments/segment.ts';
import { budgetsType, clientPattern } from './budget.ts';
import { clientsType } from './client.ts';
import { contexts, contextsInitial } from './contexts.ts';
import { ownLimits, providerLimits } from './limits.ts';
import { durationText } from './quantity.ts';
import { accountId, bucketPlaces, sinksType, topicList } from './sinks.ts';
import { choice, duration, group, integer, secret, setting, size, text, unset } from './setting.ts';
import { tierNameAllowed, tierPattern, tiersType } from './tier.ts';

const waitMost = durationText(ownLimits.waitMsMax);

function isWebUrl(given: string): boolean {
  if (!URL.canParse(given)) return false;
  const url = new URL(given);
  return url.username === '' && url.password === '' && url.search === '' && url.hash === '';
}

function isRedisUrl(given: string): boolean {
  return given.startsWith('/') || URL.canParse(given);
}

const folder = text(/^(?!~)(?![a-z0-9+.-]{2,}:\/\/)[^\0]+$/, 'a folder path; a leading ~ is not expanded');
const file = text(/^(?!~)(?![a-z0-9+.-]{2,}:\/\/)[^\0]+$/, 'a file path; a leading ~ is not expanded');
const lakePlace = text(
  /^(?:s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:\/[^\0]*)?|(?!~)(?![a-z0-9+.-]{2,}:\/\/)[^\0]+)$/,
  'a folder path or s3://bucket/prefix',
);
const webUrl = text(/^https?:\/\//, 'an http or https URL without credentials, query and fragment', isWebUrl);
const redisUrl = text(/^(?:rediss?:\/\/|\/)\S+$/, 'redis://host:port, rediss://host:port or the absolute path of a unix socket', isRedisUrl);
const topic = text(topicPattern, 'at most 63 of a-z, 0-9, _ and -, beginning with a letter or digit');
const client = text(clientPattern, 'at most 63 of A-Z, a-z, 0-9, ., _, @ and -, beginning with a letter or digit');
const model = text(/^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}$/, "a model's name such as claude-haiku-4-5");
const tag = text(/^[a-z0-9-]{1,40}$/, '1 to 40 of a-z, 0-9 and -');

export const schema = group('Settings of Plimsoll.', {
  home: setting(folder, '.plimsoll', 'Folder of all local state: embedded Redis, cache, scratch, and the lake unless it is elsewhere; relative to the working directory.'),
  lake: unset(lakePlace, 'Folder or s3://bucket/prefix that holds spool, journal and exports; by default the folder lake in the home.', { example: 's3://my-bucket/plimsoll' }),
  redis: group('The ledger and the queues.', {
    url: unset(redisUrl, 'Redis to use; by default one is found or started in the home.', { mayHoldSecret: true, example: 'redis://localhost:6379' }),
    tag: setting(tag, 'plimsoll', 'Name of the installation: the hash tag that all its Redis keys share.'),
  }),
  aws: group("Amazon Web Services, or what stands in for them. Credentials come through the SDK's own chain.", {
    region: unset(text(/^[a-z0-9-]{1,40}$/, 'a region such as eu-central-1'), 'Region of buckets and queues; by default that of the AWS profile.', { example: 'eu-central-1' }),
    endpoint: unset(webUrl, 'Where S3 and SQS are, if not at AWS.', { example: 'http://localhost:9000' }),
  }),
  s3: group('Buckets: an s3:// lake, and sources.', {
    pathStyle: setting(choice(['auto', 'always', 'never']), 'auto', 'Whether the bucket stands in the path of a URL; auto: where aws.endpoint is set.'),
    checksums: setting(choice(['supported', 'required']), 'supported', 'When checksum headers are sent; required is for stores that refuse them.'),
    kmsKeyId: unset(text(/^[\w:/-]{1,2048}$/, 'the id, alias or ARN of a KMS key'), 'KMS key that everything written is encrypted with (SSE-KMS); by default the encryption of the bucket.', { example: 'alias/plimsoll' }),
    bucketOwner: unset(accountId, 'Account that must own every bucket that is touched.', { example: '123456789012' }),
    timeout: setting(duration('1s', '10m'), '60s', 'Longest wait for a reply, and for a sign of life of a transfer.'),
  }),
  anthropic: group('The provider. Its keys come from the environment only.', {
    apiKey: unset(secret(ownLimits.secretBytesMax), 'API key.'),
    authToken: unset(secret(ownLimits.secretBytesMax), 'OAuth token, used instead of an API key.'),
    baseUrl: setting(webUrl, 'https://api.anthropic.com', 'Where the API is.'),
    version: setting(choice(['2026-10-21', '2023-06-01']), '2026-10-21', 'API version; the newer one refuses temperature, top_p and top_k.'),
  }),
  defaults: group('What a prompt gets that does not say it itself.', {
    topic: setting(topic, 'default', 'Topic.'),
    priority: setting(choice(priorities), 'normal', 'Priority.'),
    client: setting(client, 'default', 'Client, for quotas and budgets.'),
    model: unset(model, 'Model; without it every prompt must name one.', { example: 'claude-haiku-4-5' }),
    maxTokens: unset(integer(1, providerLimits.outputTokensMax), 'max_tokens; without it every prompt must say it.', { example: 1_024 }),
    tier: unset(text(tierPattern, tierNameAllowed), 'Tier of clients that have none; without it they have no limits.', { example: 'pilot' }),
  }),
  prices: group('What the provider charges.', {
    file: unset(file, "Prices of one's own: a JSON file in the form of config/models.json, whose models replace or complete the shipped ones.", { example: 'prices.json' }),
  }),
  contexts: setting(contexts, contextsInitial, 'Context classes, ascending; a prompt belongs to the first that holds its upper bound of tokens.'),
  chunk: group('Prompts of one segment, spooled together.', {
    bytesMax: setting(size('1KB', providerLimits.batchBytesMax), '8MB', 'Bytes of one chunk; a single larger prompt makes a chunk of its own.'),
    rowsMax: setting(integer(1, ownLimits.chunkRowsMax), 2_500, 'Prompts of one chunk.'),
    openBytesMax: setting(size('1KB', ownLimits.openBytesMax), '28MB', 'Bytes of unfinished chunks that one producer keeps open over all segments.'),
  }),
  cache: group("Prompts with the same beginning, and the provider's cache.", {
    policy: setting(choice(['auto', 'off']), 'auto', 'auto: a long system prompt, tools or first block that prompts share is marked for the cache (cache_control, one hour); off: prompts are sent as they are.'),
    topics: setting(topicList, ['*'], 'Topics whose prompts may be marked; * for all.', { example: ['invoices'] }),
    after: setting(integer(1, ownLimits.cacheAfterMax), 8, 'Prompts of one beginning that go unmarked first: a write costs twice the input, and the first prompts of a batch all write.'),
    primerWait: setting(duration('0ms', waitMost), '10m', 'One prompt of a beginning goes ahead in a batch of its own; so long after it was sealed the rest waits for its end, to find the cache written. 0ms: nothing goes ahead.'),
  }),
  archive: group('Chunks packed for one provider batch.', {
    bytesMax: setting(size('2KB', providerLimits.batchBytesMax), providerLimits.batchBytesMax, 'Bytes of one batch body.'),
    rowsMax: setting(integer(1, providerLimits.batchRequestsMax), providerLimits.batchRequestsMax, 'Requests of one batch.'),
    linger: setting(duration('0ms', waitMost), '60s', 'How long an archive that is not full waits for more.'),
    fullPermille: setting(integer(1, 1_000), 985, 'Thousandths of a limit from which an archive counts as full.'),
  }),
  poll: group('How often a batch is asked for its end.', {
    min: setting(duration('20ms', waitMost), '10s', 'Shortest wait between two polls of one batch.'),
    max: setting(duration('20ms', waitMost), '5m', 'Longest wait between two polls of one batch.'),
  }),
  submit: group('Handing archives to the provider, one at a time.', {
    lease: setting(duration(durationText(ownLimits.laneLeaseMsMin), waitMost), '6s', 'How long the lane of an account is kept without a sign of life from its holder.'),
    queueRows: setting(integer(1, 100_000_000), providerLimits.queueRowsByTier.start, "Requests that may wait in the provider's queue; the default is that of the tier Start."),
    patience: setting(duration('1s', waitMost), '6h', 'After so long in line an archive goes before every other, whatever its priority; so nothing waits for ever behind higher work.'),
    timeout: setting(duration('1s', waitMost), '10m', 'How long an upload and its reply may take.'),
    landingWait: setting(duration('0ms', waitMost), '15m', 'How long after its sender has ended a submission without a reply may still turn up in the list of batches; only then may it be sent again.'),
    unprovable: setting(choice(['hold', 'forgo']), 'hold', 'What becomes of a submission of which nothing is proven after 25 hours; hold: a person decides, forgo: its rows become dead letters (submission_in_doubt) and count as spent at their bounds.'),
  }),
  retry: group('Prompts that failed and may still succeed.', {
    attemptsMax: setting(integer(1, ownLimits.attemptsMax), 3, 'Attempts of one prompt, the first included.'),
    accountRest: setting(duration('1s', '1h'), '1m', 'How long the account rests after results show a fault of the account (billing, a limit, a permission); after each further round twice as long, up to an hour.'),
    accountRounds: setting(integer(0, ownLimits.accountRoundsMax), 6, 'How often a prompt goes round for a fault of the account, which uses up no attempt, before it is a dead letter (account_fault).'),
  }),
  sweep: group('Finding work whose wake-up was lost.', {
    interval: setting(duration('20ms', waitMost), '2s', 'Wait between two sweeps.'),
    workspace: setting(duration('20ms', waitMost), '3m', 'Wait between two searches of the workspace for batches that no archive claims.'),
    lease: setting(duration('50ms', waitMost), '6s', 'How long a stage keeps what it has claimed without a sign of life.'),
  }),
  work: group('The stages of one process.', {
    concurrency: setting(integer(1, ownLimits.concurrencyMax), 2, 'Archives that one stage handles side by side.'),
  }),
  input: group('What a source may contain.', {
    lineBytesMax: unset(size('64B', providerLimits.requestBytesMax), 'Bytes of one line; by default 32,000,000, or what fits into one archive where that is less.', { example: 32_000_000 }),
    nestingMax: setting(integer(4, ownLimits.nestingMax), 64, 'Levels of JSON.'),
    expansionMax: setting(integer(1, ownLimits.expansionMax), 200, 'Bytes that one compressed byte may become; more is a gzip bomb.'),
    sectionBytes: setting(size('1MB', ownLimits.sectionBytesMax), '1GB', 'Bytes of the source after which everything read is made durable, so that a restart begins there.'),
  }),
  export: group('The files that are handed on.', {
    partBytes: setting(size('1KB', ownLimits.exportPartBytesMax), '128MB', 'Uncompressed bytes of one file before a new part begins.'),
    gzipLevel: setting(integer(0, 9), 1, 'Compression of exported files, 0 to 9.'),
  }),
  audit: group('Proof of what was asked and answered, beside the results.', {
    topics: setting(topicList, [], 'Topics whose archives are also kept whole, as one zip file of requests and results; * for all.', { example: ['invoices'] }),
  }),
  events: group('Who is told what happens.', {
    sinks: setting(sinksType, {}, 'Destinations of events by name: an SQS queue or a signed webhook.', {
      example: { etl: { kind: 'sqs', url: 'https://sqs.eu-central-1.amazonaws.com/123456789012/plimsoll.fifo' }, ops: { kind: 'webhook', url: 'https://hooks.example.com/plimsoll', types: ['run', 'budget'] } },
    }),
    webhookSecret: unset(secret(ownLimits.secretBytesMax), 'Signing secret of webhooks, whsec_ and base64 (Standard Webhooks).'),
    timeout: setting(duration('1s', '5m'), '15s', 'Longest wait for a sink to take an event.'),
  }),
  listen: group('Documents that S3 announces through SQS.', {
    queue: unset(webUrl, 'URL of the queue that receives the S3 events.', { example: 'https://sqs.eu-central-1.amazonaws.com/123456789012/documents' }),
    sources: setting(bucketPlaces, [], 'Buckets or prefixes whose documents are taken; an event about anything else is left to the dead-letter queue.', { example: ['s3://my-bucket/in/'] }),
    visibility: setting(duration('10s', '12h'), '60s', 'How long a message stays invisible without a sign of life of its reader.'),
    concurrency: setting(integer(1, ownLimits.concurrencyMax), 2, 'Messages that one listener handles side by side.'),
  }),
  tiers: setting(tiersType, {}, 'What clients may hand in, by tier: rates, contexts, lanes and budgets.', {
    example: {
      pilot: { requestsPerMinute: 600, requestsPerDay: 10_000, tokensPerDay: 20_000_000, contextTokensMax: 64_000, priorities: ['low'], budget: { usd: 50, window: 'month' } },
      internal: { requestsPerDay: 200_000, tokensPerDay: 500_000_000, contextTokensMax: 200_000, priorities: ['normal', 'low'], metadata: ['team'], weight: 2 },
      enterprise: { tokensPerDay: 20_000_000_000, metadata: ['team', 'cost_center'], weight: 10 },
    },
  }),
  clients: setting(clientsType, {}, 'Clients by name: their tier, and how they share the line; whoever is not named has weight 1 and the tier of defaults.tier.', { example: { etl: { weight: 5, tier: 'internal' } } }),
  budgets: setting(budgetsType, {}, 'Limits by target: all, topic:NAME, client:NAME or segment:TOPIC.CLASS.PRIORITY.', {
    example: { 'topic:invoices': { usd: 250, window: 'month', timeZone: 'Europe/Berlin' }, 'segment:invoices.8k.high': { tokens: 40_000_000, runtime: '6h', onLate: 'cancel' } },
  }),
  log: group('What is written to standard error.', {
    level: setting(choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']), 'info', 'Least severity that is logged.'),
  }),
});

/** Every setting's value in the program's units, before paths are resolved. */
export type Values = z.output<typeof schema>;
