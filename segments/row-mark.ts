/**
 * What the body of an archive needs of a chunk's index: how long each row is and what its digest is. A full archive has
 * up to 100,000 index lines, and parsing each of them costs as much as copying the prompts they stand for; so these two
 * fields are found in the text.
 *
 * That is sound because of how the lines are written (chunk.ts): `id, row, at, bytes, sha` come first and in this order,
 * and the marks that are searched begin with a comma and a bare quote that opens the name of a field. Within a JSON string
 * a quote has a backslash before it, so no id can hold them. A line in which they do not stand where they belong is refused.
 */

/** The marks of an index section, by row. */
export interface RowMarks {
  readonly rows: number;
  /** Lengths of the params in bytes, without the newline. */
  readonly bytes: Uint32Array;
  /** Where in `section` the 64 hex digits of each row's sha256 begin. */
  readonly shaAt: Uint32Array;
  readonly section: Buffer;
}

const bytesMark = ',"bytes":';
const shaMark = ',"sha":"';
/** Hex digits of a sha256. */
export const shaDigits = 64;
const digitZero = 0x30;

/** Reads the digests of rows that stand one after the other in hex: the sha256 of the row with an index. */
export function shaReader(shas: Buffer): (index: number) => string {
  return (index) => shas.toString('latin1', index * shaDigits, (index + 1) * shaDigits);
}

/**
 * Decodes the marks of an index section.
 * @throws {RangeError} when it does not hold `rows` lines whose lengths sum to `paramsBytes` (K2).
 */
export function decodeMarks(section: Buffer, rows: number, paramsBytes: number): RowMarks {
  // One byte per character: digits, digests and the structure are ASCII, and nothing else is looked at.
  const text = section.toString('latin1');
  const bytes = new Uint32Array(rows);
  const shaAt = new Uint32Array(rows);
  let row = 0;
  let sum = 0;
  let from = 0;
  for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
    let at = text.indexOf(bytesMark, from) + bytesMark.length;
    let length = 0;
    for (let digit = text.charCodeAt(at) - digitZero; digit >= 0 && digit <= 9; digit = text.charCodeAt(at) - digitZero) {
      length = length * 10 + digit;
      at += 1;
    }
    const shaFrom = at + shaMark.length;
    const isMarked = text.startsWith(shaMark, at) && text.indexOf('"', shaFrom) === shaFrom + shaDigits;
    if (!isMarked || at < from || shaFrom + shaDigits > end) throw new RangeError(`line ${row + 1} of the index has no bytes and sha where they belong`);
    bytes[row] = length;
    shaAt[row] = shaFrom;
    sum += length;
    row += 1;
    from = end + 1;
  }
  if (from !== text.length || row !== rows) throw new RangeError(`index has ${row} lines, expected ${rows}`);
  if (sum !== paramsBytes) throw new RangeError(`index covers ${sum} params bytes, expected ${paramsBytes}`);
  return { rows, bytes, shaAt, section };
}
