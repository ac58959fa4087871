/**
 * A connection to an S3 bucket: the SDK's client with a bound on every wait, and what every call to the bucket repeats.
 * Everything that the SDK would take from its own surroundings (region, credentials) may stay unset; the credentials
 * always come through the SDK's own chain, so no secret of the bucket passes through here.
 */
import { S3Client } from '@aws-sdk/client-s3';

/** How a bucket is reached. */
export interface S3Settings {
  /** Undefined: the SDK's own chain decides; with an endpoint of one's own, `us-east-1`. */
  readonly region: string | undefined;
  /** Another store than AWS, or a private endpoint; undefined: the public endpoint of the region. */
  readonly endpoint: string | undefined;
  /** The bucket stands in the path and not in the host name, as most other stores want it. */
  readonly isPathStyle: boolean;
  /** Checksum headers are left out: some stores refuse what they do not know. The payload's signed digest remains. */
  readonly isChecksumMinimal: boolean;
  /** Key of SSE-KMS for everything that is written; undefined: the bucket's own encryption. */
  readonly kmsKeyId: string | undefined;
  /** Account id that must own the bucket: a bucket of the same name elsewhere is refused. */
  readonly bucketOwner: string | undefined;
  /** The longest wait for a reply, and for a sign of life of a transfer, ms. */
  readonly timeoutMs: number;
}

/** One bucket, and who asks: faults of the lake and of a source carry different codes. */
export interface S3Access {
  readonly client: S3Client;
  readonly bucket: string;
  readonly settings: S3Settings;
  readonly role: 'lake' | 'source';
}

/** The SDK tries what may be repeated this often; see its retry modes (AWS SDK guide, retry behaviour). */
const sdkAttempts = 3;
const connectionMs = 5_000;
/** The slowest transfer that is still called alive, bytes per ms: a request's wait grows with its body. */
const bytesPerMsMin = 500;

const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };

/** Opens a client. It connects with its first call; `destroy` ends it. */
export function openS3Client(settings: S3Settings): S3Client {
  const { region, endpoint, isPathStyle, timeoutMs } = settings;
  const regionOrStandIn = region ?? (endpoint === undefined ? undefined : 'us-east-1');
  return new S3Client({
    ...(regionOrStandIn === undefined ? {} : { region: regionOrStandIn }),
    ...(endpoint === undefined ? {} : { endpoint }),
    forcePathStyle: isPathStyle,
    requestChecksumCalculation: settings.isChecksumMinimal ? 'WHEN_REQUIRED' : 'WHEN_SUPPORTED',
    // What is read is compared with digests of our own; a checksum of the transport would fail only after its last byte.
    responseChecksumValidation: 'WHEN_REQUIRED',
    // A handshake per upload costs a round trip and, in this SDK, a connection of its own each time.
    expectContinueHeader: false,
    maxAttempts: sdkAttempts,
    logger: silent,
    requestHandler: {
      connectionTimeout: connectionMs,
      requestTimeout: timeoutMs,
      socketTimeout: timeoutMs,
      // Without it a request that is too late is only warned about (reliability.md 1, E22c).
      throwOnRequestTimeout: true,
    },
  });
}

/** What every call to the bucket names. */
export function bucketOf(access: S3Access): { readonly Bucket: string; readonly ExpectedBucketOwner?: string } {
  const { bucket, settings } = access;
  return { Bucket: bucket, ...(settings.bucketOwner === undefined ? {} : { ExpectedBucketOwner: settings.bucketOwner }) };
}

/** How a written object is encrypted. */
export function encryptionOf(settings: S3Settings): { readonly ServerSideEncryption?: 'aws:kms'; readonly SSEKMSKeyId?: string } {
  return settings.kmsKeyId === undefined ? {} : { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: settings.kmsKeyId };
}

/** The wait for the reply to a request that carries `sizeBytes`. */
export function uploadWait(settings: S3Settings, sizeBytes: number): { readonly requestTimeout: number } {
  return { requestTimeout: settings.timeoutMs + Math.ceil(sizeBytes / bytesPerMsMin) };
}
