/**
 * How long a text can become when it is normalised. The one published Claude tokenizer normalises with NFKC before it
 * counts, which can lengthen a text: U+FDFA grows from 3 to 33 bytes (claude-batches.md 4.3). A bound on tokens must
 * therefore count the longer of both forms, and normalising everything costs more than parsing it.
 *
 * So a text is first looked at byte by byte. A character is *plain* when its normal form is not longer than itself and
 * its decomposition begins with a character that is no combining mark. In a text of plain characters no mark can move
 * across a character border, and composing only ever shortens; so the whole is not longer than its parts, and its own
 * length is the bound. Only what stands around another character is really normalised: nothing moves or composes across
 * the border in front of an ASCII character, so the text falls into pieces there, and the growth of the pieces adds up.
 * One arrow or fraction in a long document then costs a few bytes of normalising and not the document.
 *
 * Which characters are plain is decided coarsely, by lead byte and sometimes the next two; a unit test compares the
 * decision with the runtime's own normaliser for every code point.
 */

import { isAscii } from 'node:buffer';

/** Per lead byte: 0 all of its characters are plain, 1 the next bytes decide, or nobody looks closer. */
const leadKinds = new Uint8Array(256);
for (const lead of [0xc2, 0xc4, 0xc5, 0xc7, 0xce, 0xd2, 0xe2, 0xe3, 0xea, 0xef, 0xf0]) leadKinds[lead] = 1;
for (const [from, to] of [[0xcb, 0xcd], [0xd6, 0xe1], [0xf1, 0xff]] as const) leadKinds.fill(1, from, to + 1);

/** Second bytes after 0xE2 whose blocks hold a character that is not plain: fractions, circled numbers, marks. */
const mixedAfterE2 = new Set([0x83, 0x85, 0x91, 0x92, 0xa8, 0xab, 0xb3, 0xb5, 0xb7]);
/** Third bytes after 0xE2 0x88 of the multiple integrals. */
const integrals = new Set([0xac, 0xad, 0xaf, 0xb0]);
const diaeresisAndKin = new Set([0xa8, 0xaf, 0xb4, 0xb8, 0xbc, 0xbd, 0xbe]);

const windowBytes = 64 * 1024;
const firstWindowBytes = 256;
/** Pieces that are nearer to each other are normalised together. */
const pieceGapBytes = 32;
const windowText = new Uint8Array(windowBytes);
const windowWords = new Int32Array(windowText.buffer);

/**
 * An upper bound of the bytes of a UTF-8 text and of its NFKC form: the bytes of the text, and what its pieces grow by
 * when they are normalised. `utf8` must be valid UTF-8.
 */
export function normalizedBytesMax(utf8: Buffer): number {
  if (isAscii(utf8)) return utf8.length;
  let growth = 0;
  for (let at = findUnplain(utf8, 0); at >= 0; ) {
    const start = startOfPiece(utf8, at);
    const end = endOfPiece(utf8, at);
    const normalized = Buffer.byteLength(utf8.toString('utf8', start, end).normalize('NFKC'), 'utf8');
    growth += Math.max(0, normalized - (end - start));
    at = findUnplain(utf8, end);
  }
  return utf8.length + growth;
}

/** Whether a character with this lead byte may be one that is not plain. */
export function mayBeginUnplain(lead: number): boolean {
  return leadKinds[lead] !== 0;
}

/** Whether the character that begins with these bytes is plain; what does not belong to it is not looked at. */
export function isPlainCharacter(lead: number, second: number, third: number): boolean {
  return leadKinds[lead] === 0 || isPlainAfter(lead, second, third);
}

/** Whether every character of a valid UTF-8 text is plain, so that normalising cannot lengthen it. */
export function isPlain(utf8: Uint8Array): boolean {
  return findUnplain(utf8, 0) < 0;
}

/**
 * Offset of the first character from `start` on that is not plain, or -1. Most text is mostly ASCII, so four bytes are
 * tested at once: the text is copied, window by window, to where it can be read as words.
 */
function findUnplain(utf8: Uint8Array, start: number): number {
  // The windows begin small: where one piece follows the other, each search would copy a large one for a few bytes.
  let window = firstWindowBytes;
  for (let from = start; from < utf8.length; from += window, window = Math.min(window * 4, windowBytes)) {
    const size = Math.min(window, utf8.length - from);
    windowText.set(size === utf8.length ? utf8 : utf8.subarray(from, from + size));
    windowText.fill(0, size, (size + 3) & ~3);
    for (let word = 0, end = (size + 3) >> 2; word < end; word += 1) {
      if (((windowWords[word] ?? 0) & 0x80808080) === 0) continue;
      const at = from + word * 4;
      for (let place = at; place < at + 4; place += 1) {
        const lead = utf8[place] ?? 0;
        if (leadKinds[lead] !== 0 && !isPlainAfter(lead, utf8[place + 1] ?? 0, utf8[place + 2] ?? 0)) return place;
      }
    }
  }
  return -1;
}

/** The ASCII character in front of an offset, with which what stands there may compose; or the beginning of the text. */
function startOfPiece(utf8: Uint8Array, at: number): number {
  let start = at;
  while (start > 0 && (utf8[start] ?? 0) >= 0x80) start -= 1;
  return start;
}

/**
 * The ASCII character behind an offset from which on only ASCII follows for a while, or the end of the text. A script
 * without plain characters is then normalised in one piece and not word by word.
 */
function endOfPiece(utf8: Uint8Array, at: number): number {
  let last = at;
  for (let end = at; end < utf8.length && end - last <= pieceGapBytes; end += 1) if ((utf8[end] ?? 0) >= 0x80) last = end;
  return last + 1;
}

/** Whether a character with this lead byte, whose kind is not 0, is plain after all. */
function isPlainAfter(lead: number, second: number, third: number): boolean {
  switch (lead) {
    case 0xc2: // ¨ ¯ ´ ¸ become a space and a mark, ¼ ½ ¾ three characters
      return !diaeresisAndKin.has(second);
    case 0xc4: // Ŀ
      return second !== 0xbf;
    case 0xc5: // ŀ ŉ
      return second !== 0x80 && second !== 0x89;
    case 0xc7: // Ǆ and its kin
      return second < 0x84 || second > 0x8c;
    case 0xce: // ΄ ΅
      return second !== 0x84 && second !== 0x85;
    case 0xd2: // Cyrillic marks
      return second < 0x83 || second > 0x89;
    case 0xe2: // General punctuation is mostly plain: dashes, quotes, the ellipsis.
      if (second === 0x80) return third !== 0x97 && third < 0xb3;
      if (second === 0x86) return third >= 0x90;
      if (second === 0x88) return !integrals.has(third);
      return second === 0x81 ? third >= 0xb0 : !mixedAfterE2.has(second);
    case 0xe3: // Kana, but for the voicing marks
      if (second === 0x82) return third < 0x99 || third > 0x9f;
      return second === 0x81 || (second === 0x83 && third !== 0xbf) || second >= 0x90;
    case 0xea: // Hangul syllables
      return second >= 0xb0;
    case 0xef: // Latin ligatures, full-width forms but for the voicing marks
      if (second === 0xac) return third <= 0x86;
      return second === 0xbc || second === 0xbd || second === 0xbf || (second === 0xbe && third !== 0x9e && third !== 0x9f);
    case 0xf0: // Emoji and pictographs
      return second === 0x9f && third >= 0x8c;
    default:
      return false;
  }
}
