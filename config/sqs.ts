/**
 * A connection to SQS. The endpoint is fixed when it is opened, from the configuration: by default the SDK would send a
 * signed request to whatever host a queue URL names (`useQueueUrlAsEndpoint`; reliability.md 1, E23).
 */
import { SQSClient, SQSServiceException } from '@aws-sdk/client-sqs';
import { errnoOf, PlimsollError } from '../segments/errors.ts';

export interface SqsSettings {
  /** URL of the queue, from the configuration. */
  readonly queueUrl: string;
  /** Undefined: the one in the host name of the queue, or the SDK's own chain. */
  readonly region: string | undefined;
  /** Undefined: the host of the queue. */
  readonly endpoint: string | undefined;
  /** The longest wait for a reply, ms; longer than a long poll. */
  readonly timeoutMs: number;
}

const connectionMs = 5_000;
const sdkAttempts = 3;
const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };

/** Opens a client for one queue. It connects with its first call; `destroy` ends it. */
export function openSqsClient({ queueUrl, region, endpoint, timeoutMs }: SqsSettings): SQSClient {
  const { origin, hostname } = new URL(queueUrl);
  const namedRegion = region ?? /^sqs\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$/.exec(hostname)?.[1] ?? (endpoint === undefined ? undefined : 'us-east-1');
  return new SQSClient({
    ...(namedRegion === undefined ? {} : { region: namedRegion }),
    endpoint: endpoint ?? origin,
    useQueueUrlAsEndpoint: false,
    maxAttempts: sdkAttempts,
    logger: silent,
    requestHandler: { connectionTimeout: connectionMs, requestTimeout: timeoutMs, socketTimeout: timeoutMs, throwOnRequestTimeout: true },
  });
}

const missingCodes: readonly string[] = ['QueueDoesNotExist', 'AWS.SimpleQueueService.NonExistentQueue'];
const credentialCodes: readonly string[] = ['InvalidClientTokenId', 'UnrecognizedClientException', 'SignatureDoesNotMatch', 'InvalidSignatureException', 'ExpiredToken', 'ExpiredTokenException', 'MissingAuthenticationToken', 'CredentialsProviderError', 'InvalidAccessKeyId'];
const deniedCodes: readonly string[] = ['AccessDenied', 'AccessDeniedException', 'KmsAccessDenied'];

/** Tells a failed call in words; `action` is the permission that it needs. */
export function queueError(error: unknown, queueUrl: string, verb: string, action: string): PlimsollError {
  if (error instanceof PlimsollError) return error;
  const code = error instanceof Error ? error.name : '';
  const status = error instanceof SQSServiceException ? error.$metadata.httpStatusCode : undefined;
  const told = (message: string, hint: string): PlimsollError => new PlimsollError('queue_unavailable', { message: `cannot ${verb}: ${message}`, where: queueUrl, hint, cause: error });
  if (missingCodes.includes(code)) return told('there is no such queue', 'Create it, or correct its URL in the configuration; account and region are part of it.');
  if (credentialCodes.includes(code)) return told(code === 'CredentialsProviderError' ? 'no AWS credentials were found' : `the AWS credentials are refused (${code})`, 'Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of this machine.');
  if (deniedCodes.includes(code) || status === 403) return told(`access is denied (${code})`, `Allow this identity ${action} on the queue.`);
  return told(status === undefined ? `no answer came (${errnoOf(error) ?? code})` : `SQS answered ${status} ${code}`, 'Check the network, the region and the endpoint; it is tried again.');
}
