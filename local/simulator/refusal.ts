import type { JsonObject } from './shape.ts';

/**
 * An error as the service words it: status, `error.type`, text and, where the service adds them, details and headers. A refusal is a value;
 * nothing in the simulator throws one.
 */
export interface Refusal {
  /** HTTP status when it is the reply to a call; rows of a batch use `type` and `message` only. */
  readonly status: number;
  /** `error.type`. */
  readonly type: string;
  /** `error.message`. Texts marked captured in claude-batches.md are literal; the rest are by analogy. */
  readonly message: string;
  /** `error.details`, for example `{error_code: …}`. */
  readonly details?: JsonObject;
  /** Extra reply headers. */
  readonly headers?: Readonly<Record<string, string>>;
  /** True for a reply of the edge in front of the API, which lacks the API's own headers (claude-batches.md 1.2). */
  readonly edge?: boolean;
}

/** 400, the answer to a malformed request. */
export function invalidRequest(message: string, errorCode?: string): Refusal {
  return { status: 400, type: 'invalid_request_error', message, ...(errorCode === undefined ? {} : { details: { error_code: errorCode } }) };
}

/** 404. */
export function notFound(message: string, headers?: Readonly<Record<string, string>>): Refusal {
  return { status: 404, type: 'not_found_error', message, ...(headers === undefined ? {} : { headers }) };
}

/** 429 with the number of seconds after which a try can succeed. */
export function rateLimited(message: string, retryAfterSeconds: number): Refusal {
  return { status: 429, type: 'rate_limit_error', message, headers: { 'retry-after': String(Math.max(1, Math.ceil(retryAfterSeconds))) } };
}

/** 413 of the edge. */
export function tooLarge(): Refusal {
  return { status: 413, type: 'request_too_large', message: 'Request exceeds the maximum size', edge: true };
}

/** The 429 of an exhausted spend cap: no `retry-after`, and a code (claude-batches.md 1.8). */
export function spendLimit(): Refusal {
  return {
    status: 429,
    type: 'rate_limit_error',
    message: "This request would exceed your organization's monthly spend limit.",
    details: { error_code: 'enforced_spend_limit_reached' },
  };
}

/**
 * The 400 of a spend limit that the organisation, or a workspace, has set for itself. Its opening is as captured; what follows that is not
 * known (claude-batches.md 1.8).
 */
export function usageLimit(isWorkspace: boolean): Refusal {
  return invalidRequest(`You have reached your specified ${isWorkspace ? 'workspace ' : ''}API usage limits. You will regain access when the limit is raised or renewed.`);
}

/** Type and default text per status, for injected errors (claude-batches.md 1.8). */
const BY_STATUS: Readonly<Record<number, readonly [type: string, message: string]>> = {
  400: ['invalid_request_error', 'Invalid request.'],
  401: ['authentication_error', 'API key is invalid.'],
  402: ['billing_error', 'There is an issue with your billing or payment information.'],
  403: ['permission_error', 'Your API key does not have permission to use the specified resource.'],
  404: ['not_found_error', 'Not found.'],
  408: ['timeout_error', 'The request timed out.'],
  409: ['conflict_error', 'The request conflicts with the current state of the resource.'],
  413: ['request_too_large', 'Request exceeds the maximum size'],
  429: ['rate_limit_error', "This request would exceed your organization's rate limit. Please try again later."],
  500: ['api_error', 'Internal server error'],
  502: ['api_error', 'Bad gateway'],
  503: ['api_error', 'Service unavailable'],
  504: ['timeout_error', 'The request timed out while processing.'],
  529: ['overloaded_error', 'Overloaded'],
};

/** The error the service sends with this status, with its usual type and text. Unknown statuses read as `api_error`. */
export function refusalOfStatus(status: number): Refusal {
  const [type, message] = BY_STATUS[status] ?? ['api_error', 'Internal server error'];
  return { status, type, message };
}

/** The status that belongs to an `error.type`, for callers that name the type. */
export function statusOfType(type: string): number {
  for (const [status, [known]] of Object.entries(BY_STATUS)) {
    if (known === type) {
      return Number(status);
    }
  }
  return 500;
}

/** The JSON body of an error reply (claude-batches.md 1.8). */
export function refusalBody(refusal: Refusal, requestId: string | undefined): string {
  return JSON.stringify({
    type: 'error',
    error: { ...(refusal.details === undefined ? {} : { details: refusal.details }), type: refusal.type, message: refusal.message },
    ...(requestId === undefined || refusal.edge === true ? {} : { request_id: requestId }),
  });
}
