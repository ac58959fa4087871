import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { JsonScanner } from './scanner.ts';
import { invalidRequest, tooLarge, type Refusal } from './refusal.ts';
import { isObject, type JsonObject } from './shape.ts';

/** Receives the body of a Messages or count_tokens call: at most 32 MB, plain or gzip (claude-batches.md 1.2, 1.9). */

export type ParamsBody = { readonly kind: 'params'; readonly params: JsonObject } | { readonly kind: 'refused'; readonly refusal: Refusal };

const inflate = promisify(gunzip);

/** Reads and parses the body. */
export async function receiveParams(request: IncomingMessage, limitBytes: number): Promise<ParamsBody> {
  const encoding = request.headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity' && encoding !== 'gzip') {
    return refuse(invalidRequest(`Content-Encoding '${encoding}' is not supported. Use gzip or send the body uncompressed.`, 'request_body_encoding_unsupported'));
  }
  const raw = await receive(request, limitBytes);
  if (raw === undefined) {
    return refuse(tooLarge());
  }
  const body = encoding === 'gzip' ? await decode(raw, limitBytes) : raw;
  return Buffer.isBuffer(body) ? parse(body) : body;
}

async function receive(request: IncomingMessage, limitBytes: number): Promise<Buffer | undefined> {
  if (Number(request.headers['content-length'] ?? '0') > limitBytes) {
    return undefined;
  }
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
    length += bytes.length;
    if (length > limitBytes) {
      return undefined;
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

async function decode(raw: Buffer, limitBytes: number): Promise<Buffer | ParamsBody> {
  try {
    return await inflate(raw, { maxOutputLength: limitBytes });
  } catch (cause) {
    const isTooLong = cause instanceof RangeError;
    return refuse(
      isTooLong
        ? { status: 413, type: 'request_too_large', message: 'Request exceeds the maximum size after decoding', details: { error_code: 'request_body_too_large_after_decoding' } }
        : invalidRequest('The request body could not be decoded as gzip.', 'request_body_encoding_invalid'),
    );
  }
}

/** The scanner judges first, so that both kinds of body refuse the same JSON with the same words. */
function parse(body: Buffer): ParamsBody {
  const ignore = (): void => undefined;
  const scanner = new JsonScanner({ key: ignore, open: ignore, close: ignore, scalar: ignore });
  scanner.write(body);
  scanner.end();
  const { fault } = scanner;
  if (fault !== undefined) {
    return refuse(invalidRequest(`The request body is not valid JSON: ${fault.what}: line ${fault.line} column ${fault.column} (char ${fault.offset})`));
  }
  const params: unknown = JSON.parse(body.toString('utf8'));
  return isObject(params) ? { kind: 'params', params } : refuse(invalidRequest('Input should be a valid dictionary or object to extract fields from'));
}

function refuse(refusal: Refusal): ParamsBody {
  return { kind: 'refused', refusal };
}
