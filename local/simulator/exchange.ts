import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CallFaults } from './faults.ts';
import type { Operation } from './faultkinds.ts';
import { refusalBody, type Refusal } from './refusal.ts';

/** One call: what was asked, by whom, and which faults may strike it. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
  readonly operation: Operation;
  readonly url: URL;
  /** The id in the path: a batch or a model; empty where there is none. */
  readonly subject: string;
  readonly faults: CallFaults;
  readonly caller: Caller;
}

/** Who calls and in which dialect. */
export interface Caller {
  readonly workspaceId: string;
  /** The `anthropic-version` header. */
  readonly apiVersion: string;
  /** The `anthropic-beta` values. */
  readonly betas: readonly string[];
}

/** What a handler wants to be sent. `none` means that the connection has been dealt with. */
export type Reply =
  | { readonly kind: 'json'; readonly status: number; readonly body: string; readonly headers: Readonly<Record<string, string>>; readonly edge?: boolean }
  | {
      readonly kind: 'stream';
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      /** Pieces in order; the generator ends by returning, or breaks the connection by returning 'abort'. */
      readonly pieces: AsyncGenerator<Buffer | string, 'end' | 'abort'>;
    }
  | { readonly kind: 'none' };

/** A JSON reply. */
export function jsonReply(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): Reply {
  return { kind: 'json', status, body: JSON.stringify(value), headers };
}

/** An error reply. */
export function refusalReply(refusal: Refusal, requestId: string): Reply {
  return {
    kind: 'json',
    status: refusal.status,
    body: refusalBody(refusal, requestId),
    headers: refusal.headers ?? {},
    ...(refusal.edge === true ? { edge: true } : {}),
  };
}
