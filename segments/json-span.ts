/** Where a string stands in the bytes of a JSON text. */

/** A string of the text without its quotes, still escaped; `from` is -1 when there is none. */
export interface Span {
  from: number;
  to: number;
  /** Whether a backslash stands in it; if not, its bytes are its text. */
  isEscaped: boolean;
}

/** An empty span. */
export function noSpan(): Span {
  return { from: -1, to: -1, isEscaped: false };
}

/** Makes a span say that there is none. */
export function clearSpan(span: Span): void {
  span.from = -1;
  span.to = -1;
  span.isEscaped = false;
}
