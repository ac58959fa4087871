import type { ModelEntry } from './modeltable.ts';

/** Sizes of pictures and PDF files, read from their first bytes, and what they cost in tokens (claude-batches.md 4.4). */

export interface PictureSize {
  /** Pixels. */
  readonly width: number;
  readonly height: number;
}

/** Width and height of a PNG, GIF, JPEG or WebP file; undefined when the bytes are none of these. */
export function pictureSize(bytes: Buffer): PictureSize | undefined {
  if (bytes.length >= 24 && bytes.readUInt32BE(0) === 0x89504e47) {
    return { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
  }
  if (bytes.length >= 10 && bytes.toString('latin1', 0, 3) === 'GIF') {
    return { width: bytes.readUInt16LE(6), height: bytes.readUInt16LE(8) };
  }
  if (bytes.length >= 30 && bytes.toString('latin1', 0, 4) === 'RIFF' && bytes.toString('latin1', 8, 12) === 'WEBP') {
    return webpSize(bytes);
  }
  return bytes.length >= 4 && bytes.readUInt16BE(0) === 0xffd8 ? jpegSize(bytes) : undefined;
}

function webpSize(bytes: Buffer): PictureSize | undefined {
  switch (bytes.toString('latin1', 12, 16)) {
    case 'VP8X':
      return { width: bytes.readUIntLE(24, 3) + 1, height: bytes.readUIntLE(27, 3) + 1 };
    case 'VP8L': {
      const packed = bytes.readUInt32LE(21);
      return { width: (packed & 0x3fff) + 1, height: ((packed >>> 14) & 0x3fff) + 1 };
    }
    case 'VP8 ':
      return { width: bytes.readUInt16LE(26) & 0x3fff, height: bytes.readUInt16LE(28) & 0x3fff };
    default:
      return undefined;
  }
}

/** Walks the JPEG segments to the frame header, the first of C0 … CF that is not a table. */
function jpegSize(bytes: Buffer): PictureSize | undefined {
  for (let at = 2; at + 9 < bytes.length; ) {
    if (bytes.readUInt8(at) !== 0xff) {
      return undefined;
    }
    const marker = bytes.readUInt8(at + 1);
    if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
      return { height: bytes.readUInt16BE(at + 5), width: bytes.readUInt16BE(at + 7) };
    }
    at += 2 + bytes.readUInt16BE(at + 2);
  }
  return undefined;
}

/** Long edge in pixels and tokens that a picture may have after it was shrunk: high resolution from 4.7 on. */
function pictureBounds(model: ModelEntry): { readonly edge: number; readonly tokens: number } {
  return model.generation >= 47 ? { edge: 2576, tokens: 4784 } : { edge: 1568, tokens: 1568 };
}

/** The most one picture can cost on this model. */
export function pictureTokensMax(model: ModelEntry): number {
  return pictureBounds(model).tokens;
}

/**
 * Tokens of a picture: one per started 28 x 28 square after it was shrunk, aspect kept, to the largest size that satisfies both bounds.
 * The long edge is lowered pixel by pixel; the short one follows, rounded half to even as in the service's reference routine.
 */
export function pictureTokens(size: PictureSize, model: ModelEntry): number {
  const { edge, tokens } = pictureBounds(model);
  const long = Math.max(size.width, size.height);
  const short = Math.min(size.width, size.height);
  for (let shrunk = Math.min(long, edge); shrunk >= 1; shrunk -= 1) {
    const other = Math.max(1, halfToEven((short * shrunk) / long));
    const cost = Math.ceil(shrunk / 28) * Math.ceil(other / 28);
    if (cost <= tokens) {
      return cost;
    }
  }
  return 1;
}

function halfToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

/** Pages of a PDF file: its page objects, or the largest page count a page tree states. At least 1. */
export function pdfPages(bytes: Buffer): number {
  const text = bytes.toString('latin1');
  const objects = text.match(/\/Type\s*\/Page(?![a-zA-Z])/g)?.length ?? 0;
  let stated = 0;
  for (const match of text.matchAll(/\/Count\s+(\d+)/g)) {
    stated = Math.max(stated, Number(match[1]));
  }
  return Math.max(1, objects, stated);
}

/** Tokens of one PDF page: its text, 1,500 to 3,000, and its picture (a Letter page at the model's bounds). */
export function pdfPageTokens(model: ModelEntry, isWorst: boolean): number {
  return (isWorst ? 3_000 : 2_000) + (isWorst ? pictureTokensMax(model) : pictureTokens({ width: 1700, height: 2200 }, model));
}
