/**
 * Where a line breaks the rules of Unicode. Only asked once it is known, or suspected, that it does.
 */

/** Byte offset of the first byte that cannot be UTF-8, or undefined when all of it is. */
export function findInvalidUtf8(bytes: Uint8Array): number | undefined {
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at);
    if (length === 0) return at;
    at += length;
  }
  return undefined;
}

/** Length of the well-formed sequence at an offset; 0 when there is none (overlong, surrogate, cut off, stray). */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const lead = bytes[at] ?? 0;
  if (lead < 0x80) return 1;
  const length = lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
  for (let index = 1; index < length; index += 1) {
    const byte = bytes[at + index] ?? 0;
    const low = index > 1 ? 0x80 : lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const high = index > 1 ? 0xbf : lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    if (byte < low || byte > high) return 0;
  }
  return length;
}

const escapes = /\\(?:u([0-9a-fA-F]{4})|.)/g;

/**
 * Offset of the first escape that names half of a surrogate pair without the other half, or undefined. `json` is a valid
 * JSON text, so a backslash only stands where an escape begins. UTF-8 itself cannot hold half a pair.
 */
export function findLoneSurrogate(json: string): number | undefined {
  let highAt: number | undefined;
  let highEnd = -1;
  for (const match of json.matchAll(escapes)) {
    const unit = match[1] === undefined ? 0 : Number.parseInt(match[1], 16);
    const isLow = unit >= 0xdc00 && unit <= 0xdfff;
    if (highAt !== undefined && !(isLow && match.index === highEnd)) return highAt;
    if (highAt === undefined && isLow) return match.index;
    highAt = unit >= 0xd800 && unit <= 0xdbff ? match.index : undefined;
    highEnd = match.index + match[0].length;
  }
  return highAt;
}
