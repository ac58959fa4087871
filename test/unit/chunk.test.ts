import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ChunkWriter, decodeIndex, indexOffset } from '../../segments/chunk.ts';
import { chunkId } from '../../segments/segment.ts';
import { promptOf, run, sealChunk, segment, tag } from '../spool-world.ts';

const bytesOf = (blocks: readonly Uint8Array[]): Buffer => Buffer.concat(blocks);

describe('a chunk', () => {
  it('is the params, the index and the footer, one per line', () => {
    const prompts = [promptOf(3, 'one'), promptOf(7, 'zwei ü', { metadataJson: '{"batch":"a"}', deadlineMs: 1_800_000_000_000 })];
    const sealed = sealChunk(prompts);
    const lines = bytesOf(sealed.blocks).toString('utf8').split('\n');
    expect(lines.slice(0, 2)).toEqual(prompts.map((prompt) => Buffer.from(prompt.params).toString()));
    expect(JSON.parse(lines[3] ?? '')).toEqual({
      id: 'doc-7', row: 7, at: 700, bytes: prompts[1]?.params.length, sha: createHash('sha256').update(prompts[1]?.params ?? '').digest('hex'), model: 'claude-test',
      expect: 50, in: 100, out: 20, usd: 200, deadline: 1_800_000_000_000, metadata: { batch: 'a' },
    });
    expect(JSON.parse(lines[4] ?? '')).toEqual(sealed.footer);
    expect(lines[5]).toBe('');
    expect(sealed.footer).toMatchObject({ v: 1, rows: 2, firstRow: 3, lastRow: 7, tokensExpected: 100, tokensMax: 240, microUsdMax: 400, attempt: 1 });
  });

  it('announces the size and the digest of its own bytes', () => {
    const sealed = sealChunk([promptOf(1, 'one')]);
    const bytes = bytesOf(sealed.blocks);
    expect(sealed.sizeBytes).toBe(bytes.length);
    expect(sealed.sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
  });

  it('has the same bytes whenever the same rows are collected (K1)', () => {
    const prompts = [promptOf(1, 'one'), promptOf(2, 'two')];
    expect(bytesOf(sealChunk(prompts).blocks).equals(bytesOf(sealChunk(prompts).blocks))).toBe(true);
  });

  it('copies its params, so the reader may use its block again', () => {
    const params = Buffer.from('{"a":"before"}');
    const writer = new ChunkWriter({ run, segment, client: 'etl', attempt: 1, source: 's' });
    writer.add(promptOf(1, '', { params }), false);
    params.fill(0x78);
    expect(bytesOf(writer.seal(chunkId(tag, segment, 1, 1)).blocks).toString()).toContain('{"a":"before"}\n');
  });

  it('holds rows that are larger than its blocks', () => {
    const text = 'x'.repeat(300_000);
    const sealed = sealChunk([promptOf(1, 'small'), promptOf(2, text), promptOf(3, 'small'), promptOf(4, text)]);
    const bytes = bytesOf(sealed.blocks);
    const start = indexOffset(sealed.footer);
    const rows = decodeIndex(bytes.subarray(start, start + sealed.footer.indexBytes), 4, sealed.footer.paramsBytes);
    let offset = 0;
    for (const row of rows) {
      const params = bytes.subarray(offset, offset + row.bytes);
      expect(createHash('sha256').update(params).digest('hex')).toBe(row.sha);
      expect(bytes[offset + row.bytes]).toBe(0x0a);
      offset += row.bytes + 1;
    }
    expect(offset).toBe(start);
  });

  it('carries the index line of a retried row on unchanged', () => {
    const first = sealChunk([promptOf(5, 'again', { metadataJson: '{"n":1}' })]);
    const bytes = bytesOf(first.blocks);
    const start = indexOffset(first.footer);
    const section = bytes.subarray(start, start + first.footer.indexBytes);
    const [row] = decodeIndex(section, 1, first.footer.paramsBytes);
    const writer = new ChunkWriter({ run, segment, client: 'etl', attempt: 2, source: 'docs.jsonl' });
    if (row) writer.addRow(bytes.subarray(0, row.bytes), row);
    const again = writer.seal(chunkId(tag, segment, 5, 5));
    expect(again.footer).toMatchObject({ attempt: 2, tokensMax: 120, microUsdMax: 200 });
    expect(bytesOf(again.blocks).subarray(start, start + section.length).equals(section)).toBe(true);
  });
});

describe('an index', () => {
  const sealed = sealChunk([promptOf(1, 'one'), promptOf(2, 'two')]);
  const start = indexOffset(sealed.footer);
  const section = bytesOf(sealed.blocks).subarray(start, start + sealed.footer.indexBytes);

  it('is refused when a line is missing (K2)', () => {
    expect(() => decodeIndex(section, 3, sealed.footer.paramsBytes)).toThrow(RangeError);
    expect(() => decodeIndex(section.subarray(0, section.length - 1), 2, sealed.footer.paramsBytes)).toThrow(RangeError);
  });
  it('is refused when its lengths do not cover the params (K2)', () => {
    expect(() => decodeIndex(section, 2, sealed.footer.paramsBytes + 1)).toThrow(/covers/);
  });
});
