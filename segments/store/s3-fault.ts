/**
 * What an error of S3 means, by its code and status and never by its text, and how it is told to an operator: what
 * happened, at which object, and what to change. Codes are those of the S3 API reference, "Error responses".
 */
import { S3ServiceException } from '@aws-sdk/client-s3';
import { errnoOf, PlimsollError, type ErrorDetail } from '../errors.ts';
import { type S3Access } from './s3-client.ts';
import { s3Uri } from './s3-uri.ts';

/**
 * `missing`: the object is not there. `exists`: a conditional write met an object. `contested`: another conditional
 * write of the same key is under way. `gone`: the multipart upload is not there any more. `passing`: nobody knows whether it was done, or it may be tried again. `lasting`: a person has
 * to act.
 */
export type S3Fault = 'missing' | 'exists' | 'contested' | 'gone' | 'passing' | 'lasting';

/** What was tried, and the permission that it needs. */
export interface S3Operation {
  readonly verb: string;
  readonly action: string;
}

export const operations = {
  write: { verb: 'write', action: 's3:PutObject' },
  read: { verb: 'read', action: 's3:GetObject' },
  readVersion: { verb: 'read', action: 's3:GetObjectVersion, because a version is asked for,' },
  look: { verb: 'look up', action: 's3:GetObject, and s3:ListBucket, without which S3 answers 403 for what is not there' },
  lookVersion: { verb: 'look up', action: 's3:GetObjectVersion, because a version is asked for, and s3:ListBucket, without which S3 answers 403 for what is not there' },
  list: { verb: 'list', action: 's3:ListBucket' },
} as const satisfies Record<string, S3Operation>;

const passingCodes: readonly string[] = ['SlowDown', 'RequestTimeout', 'RequestTimeoutException', 'InternalError', 'ServiceUnavailable', 'Throttling', 'OperationAborted', 'BadDigest', 'IncompleteBody', 'XAmzContentSHA256Mismatch'];
const credentialCodes: readonly string[] = ['InvalidAccessKeyId', 'SignatureDoesNotMatch', 'ExpiredToken', 'InvalidToken', 'TokenRefreshRequired', 'ExpiredTokenException', 'CredentialsProviderError', 'InvalidClientTokenId'];
const regionCodes: readonly string[] = ['PermanentRedirect', 'AuthorizationHeaderMalformed', 'IllegalLocationConstraintException', 'TemporaryRedirect'];

/** The name of an error: S3's code for it, or the SDK's. */
function codeOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

/** The HTTP status of the reply; undefined when there was none. */
export function statusOf(error: unknown): number | undefined {
  return error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
}

/** The HTTP status of a reply that the SDK could not read, because it is none of S3: a page of a proxy, for example. */
function strangerStatusOf(error: unknown): number | undefined {
  const metadata: unknown = error instanceof Error && '$metadata' in error ? error.$metadata : undefined;
  const status: unknown = typeof metadata === 'object' && metadata !== null && 'httpStatusCode' in metadata ? metadata.httpStatusCode : undefined;
  return typeof status === 'number' ? status : undefined;
}

/** Says what a failed call means for whoever made it. */
export function faultOf(error: unknown): S3Fault {
  const code = codeOf(error);
  const status = statusOf(error);
  if (code === 'NoSuchUpload') return 'gone';
  if (code === 'NoSuchBucket') return 'lasting';
  if (status === 404) return 'missing';
  if (status === 412) return 'exists';
  if (status === 409) return 'contested';
  if (credentialCodes.includes(code)) return 'lasting';
  // No reply, a reply that cannot be read, or one that speaks of the moment.
  if (status === undefined || status < 300 || status === 408 || status === 429) return 'passing';
  // 501 says that the store does not know what was asked for, and never will.
  return (status >= 500 && status !== 501) || passingCodes.includes(code) ? 'passing' : 'lasting';
}

/** The region that a bucket is really in, where the reply says it. */
function bucketRegion(error: unknown): string | undefined {
  const headers: unknown = error instanceof S3ServiceException ? error.$response?.headers : undefined;
  if (typeof headers === 'object' && headers !== null && 'x-amz-bucket-region' in headers) return String(headers['x-amz-bucket-region']);
  if (error instanceof S3ServiceException && 'Region' in error && typeof error.Region === 'string') return error.Region;
  return undefined;
}

/** The error for a call that is given up. @returns a PlimsollError `lake_unavailable`, `lake_full`, `lake_missing` or `source_unreadable` */
export function s3Error(error: unknown, access: S3Access, key: string, operation: S3Operation): PlimsollError {
  if (error instanceof PlimsollError) return error;
  const where = s3Uri(access.bucket, key);
  const unavailable = access.role === 'lake' ? 'lake_unavailable' : 'source_unreadable';
  if (faultOf(error) === 'missing') {
    return new PlimsollError(access.role === 'lake' ? 'lake_missing' : 'source_unreadable', {
      message: access.role === 'lake' ? 'an object that should be in the lake is not there' : 'there is no such object',
      where,
      hint: access.role === 'lake'
        ? 'The lake must keep everything under spool/ and journal/ until its runs are complete; check the lifecycle rules of the bucket.'
        : 'It may have been deleted or moved since it was listed or announced; put it there again, or drop it from the input.',
      cause: error,
    });
  }
  if (statusOf(error) === 507) {
    return new PlimsollError(access.role === 'lake' ? 'lake_full' : unavailable, { message: `cannot ${operation.verb}: the store has no room left`, where, hint: 'Free some space; the work goes on from where it stands.', cause: error });
  }
  return new PlimsollError(unavailable, { ...tellingOf(error, access, operation), where, cause: error });
}

function tellingOf(error: unknown, access: S3Access, { verb, action }: S3Operation): Pick<ErrorDetail, 'message' | 'hint'> {
  const { bucket, settings } = access;
  const code = codeOf(error);
  const status = statusOf(error);
  if (code === 'NoSuchBucket') {
    return { message: `cannot ${verb}: there is no bucket ${bucket}${settings.endpoint === undefined ? '' : ` at ${settings.endpoint}`}`, hint: `Create it (aws s3 mb s3://${bucket}), or correct the name; the region and the account must be right too.` };
  }
  if (regionCodes.includes(code) || status === 301) {
    const right = bucketRegion(error);
    return {
      message: `cannot ${verb}: the bucket ${bucket} is in ${right === undefined ? 'another region' : `the region ${right}`}${settings.region === undefined ? '' : `, not in ${settings.region}`}`,
      hint: right === undefined ? 'Set AWS_REGION to the region of the bucket (aws s3api get-bucket-location).' : `Set AWS_REGION=${right}.`,
    };
  }
  if (credentialCodes.includes(code)) {
    const isMissing = code === 'CredentialsProviderError';
    return {
      message: isMissing ? `cannot ${verb}: no AWS credentials were found` : `cannot ${verb}: the AWS credentials are refused (${code})`,
      hint: 'Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of this machine; `aws sts get-caller-identity` shows who it is.',
    };
  }
  // An answer without a body has no code; the SDK then says `Unknown`.
  const named = code === 'Unknown' ? '' : ` (${code})`;
  if (status === 403) return { message: `cannot ${verb}: access is denied${named}`, hint: `Allow this identity ${action} on the bucket${settings.kmsKeyId === undefined ? '' : ', and the use of its KMS key'}; an expected bucket owner must be the right account.` };
  if (status === 501) return { message: `cannot ${verb}: the store does not implement what was asked for (${code})`, hint: 'Objects are created with If-None-Match; use a store that has conditional writes.' };
  const stranger = status === undefined ? strangerStatusOf(error) : undefined;
  if (stranger !== undefined) {
    return {
      message: `cannot ${verb}: something answered ${stranger} that is not S3`,
      hint: `Check that ${settings.endpoint ?? 'the endpoint of the region'} is reached and that no proxy or login page answers in its place; it is tried again.`,
    };
  }
  const errno = errnoOf(error);
  // Without a code it is the SDK itself that speaks, before anything was sent: most often of a missing region.
  if (status === undefined && errno === undefined && code === 'Error') return { message: `cannot ${verb}: the S3 client could not begin`, hint: 'Set AWS_REGION, and check the endpoint.' };
  return {
    message: `cannot ${verb}: ${status === undefined ? `no answer came (${errno ?? code})` : `S3 answered ${status}${named}`}`,
    hint: settings.endpoint === undefined ? 'Check the network and the region; it is tried again.' : `Check that ${settings.endpoint} is the S3 endpoint and can be reached; it is tried again.`,
  };
}
