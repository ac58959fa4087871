import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  archiveId, archiveIdLength, bodyBytes, bodyHead, bodyTail, customId, EntryHeads, entryOverheadBytes, entryPrefix, entryTail, envelopeBytes, parseCustomId, rowsThatFit, type RowSize,
} from '../../segments/pack.ts';

const archive = archiveId('7f3a91c2ab', 12);
const sha = (text: string): string => createHash('sha256').update(text).digest('hex');

describe('custom_id', () => {
  it('fits what the provider allows and names archive and row', () => {
    const id = customId(archive, 417, sha('a'));
    expect(id).toMatch(/^[a-zA-Z0-9_-]{1,64}$/);
    expect(parseCustomId(id)).toEqual({ archive, index: 417 });
  });

  it('has the same length for the first and the last row that an archive can hold', () => {
    expect(customId(archive, 0, sha('a')).length).toBe(customId(archive, 99_999, sha('b')).length);
  });

  it('changes with the archive, the row and the prompt', () => {
    const ids = [customId(archive, 1, sha('a')), customId(archive, 2, sha('a')), customId(archive, 1, sha('b')), customId(archiveId('7f3a91c2ab', 13), 1, sha('a'))];
    expect(new Set(ids.map((id) => id.slice(-7))).size).toBe(4);
  });

  it.each(['', 'invoice-7', '7f3a91c2ab-000012_00417', '7f3a91c2ab-000012_417_1f0zk3m', '7F3A91C2AB-000012_00417_1f0zk3m', '7f3a91c2ab-000012_00417_1f0zk3m_'])('is not seen in %j', (text) => {
    expect(parseCustomId(text)).toBeUndefined();
  });

  it('is refused for an archive whose ordinal would make entries longer than promised', () => {
    expect(archive.length).toBe(archiveIdLength);
    expect(() => archiveId('7f3a91c2ab', 1_000_000)).toThrow(RangeError);
  });
});

describe('the head of an entry', () => {
  it('is the same whether it is written in place or put together from strings', () => {
    const heads = new EntryHeads(archive);
    const target = Buffer.alloc(300);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 99_999 }), fc.string(), fc.nat({ max: 20 }), (index, text, at) => {
        const digest = sha(text);
        const end = heads.write(target, at, index, Buffer.from(`${'-'.repeat(at)}${digest}`), at);
        expect(target.toString('latin1', at, end)).toBe(entryPrefix(customId(archive, index, digest), index === 0));
        expect(end - at).toBeLessThanOrEqual(EntryHeads.bytesMax);
      }),
      { examples: [[0, 'a', 0], [9, 'a', 0], [10, 'a', 0], [10_000, 'a', 0], [99_999, 'a', 0]] },
    );
  });
});

describe('the size of a body', () => {
  it('is known to the byte before anything is copied', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 40, unit: 'grapheme' }), { minLength: 1, maxLength: 30 }), (texts) => {
        const params = texts.map((text) => JSON.stringify({ text }));
        const body = bodyHead + params.map((each, index) => entryPrefix(customId(archive, index, sha(each)), index === 0) + each + entryTail).join('') + bodyTail;
        const paramsBytes = params.reduce((sum, each) => sum + Buffer.byteLength(each), 0);
        expect(Buffer.byteLength(body)).toBe(bodyBytes(params.length, paramsBytes));
        expect((JSON.parse(body) as { requests: { params: { text: string } }[] }).requests.map((each) => each.params.text)).toEqual(texts);
      }),
    );
  });

  it('is nothing for an archive without rows', () => {
    expect(bodyBytes(0, 0)).toBe(0);
    expect(bodyBytes(1, 0)).toBe(envelopeBytes + entryOverheadBytes);
  });
});

describe('rowsThatFit', () => {
  const row = (bytes: number, tokensMax: number, microUsdMax: number): RowSize => ({ bytes, tokensMax, microUsdMax });
  const rows = [row(100, 10, 1), row(100, 20, 2), row(100, 30, 3)];
  const none = { rows: undefined, bytes: undefined, tokens: undefined, microUsd: undefined };

  it('takes everything where nothing limits', () => expect(rowsThatFit(rows, none)).toBe(3));
  it('counts the overhead of each entry', () => {
    expect(rowsThatFit(rows, { ...none, bytes: 2 * (100 + entryOverheadBytes) })).toBe(2);
    expect(rowsThatFit(rows, { ...none, bytes: 2 * (100 + entryOverheadBytes) - 1 })).toBe(1);
  });
  it('takes as many tokens as there are and not one more', () => {
    expect(rowsThatFit(rows, { ...none, tokens: 30 })).toBe(2);
    expect(rowsThatFit(rows, { ...none, tokens: 29 })).toBe(1);
    expect(rowsThatFit(rows, { ...none, tokens: 9 })).toBe(0);
  });
  it('stops at the first limit that is reached, whichever it is', () => {
    expect(rowsThatFit(rows, { rows: 2, bytes: 1e9, tokens: 1e9, microUsd: 1 })).toBe(1);
    expect(rowsThatFit(rows, { rows: 1, bytes: 1e9, tokens: 1e9, microUsd: 1e9 })).toBe(1);
  });
  it('takes nothing where an account is overdrawn', () => expect(rowsThatFit(rows, { ...none, microUsd: -5 })).toBe(0));
});
