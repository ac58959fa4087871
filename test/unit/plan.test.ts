/** A plan of a source with bad lines: which they are, and when nothing at all would be queued. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parsePlan, planDocument, refusalOf, type PlanFlags } from '../../cli/plan-file.ts';
import { survey, type ProducerSettings, type Survey } from '../../producers/producer.ts';
import type { SourceObject } from '../../producers/source.ts';
import { rejectsListedMax } from '../../producers/survey.ts';
import { line, openWorld, type World } from './producer-world.ts';

const archive = { archive: { bytesMax: 256_000_000, rowsMax: 100_000, lingerMs: 1_000, fullPermille: 970 } };
let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(async () => await world.close());

const surveyOf = async (text: string, changes: Partial<ProducerSettings> = {}): Promise<Survey> => await survey({ kind: 'file', path: await world.write('in.jsonl', text) }, { ...world.settings, ...changes });
const documentOf = (found: Survey, flags: PlanFlags = {}) => planDocument(found, found.source, 'cut', flags, archive, []);

describe('the bad lines of a plan', () => {
  it('are listed with line, column, code and message, and nothing of their text', async () => {
    const found = await surveyOf(`${line('a')}\n{"id":"b" "prompt":"a secret text"}\n{"id":"c","prompt":"a secret text","topc":"x"}\n`);
    const { rejects, rejects_unlisted: unlisted } = documentOf(found);
    expect(rejects).toEqual([
      { line: 2, column: 11, code: 'invalid_json', message: `${found.source}:2:11: invalid JSON: expected ',' or '}'` },
      { line: 3, column: expect.any(Number) as number, code: 'key_unknown', message: expect.stringMatching(/in\.jsonl:3:\d+: .*did you mean "topic"\?/) as string },
    ]);
    expect(unlisted).toBe(0);
    expect(JSON.stringify(documentOf(found))).not.toContain('secret');
  });

  it('are listed up to a bound, and the rest is counted', async () => {
    const found = await surveyOf('{}\n'.repeat(rejectsListedMax + 7));
    const { rejects, rejects_unlisted: unlisted, rejected } = documentOf(found);
    expect(rejects.map((each) => each.line)).toEqual(Array.from({ length: rejectsListedMax }, (_, index) => index + 1));
    expect([rejected, unlisted]).toEqual([rejectsListedMax + 7, 7]);
    expect(found.rejectMessages).toHaveLength(5);
  });

  it('of an object name it, because lines are counted anew in each', async () => {
    const object = (name: string, text: string): SourceObject => {
      const known = { uri: `s3://in/${name}`, etag: name, version: undefined };
      const read = async function* (start: number, end?: number): AsyncGenerator<Buffer> {
        yield Buffer.from(text).subarray(start, end);
      };
      return { ...known, open: async () => await Promise.resolve({ ...known, read }) };
    };
    const objects = async function* (): AsyncGenerator<SourceObject> {
      yield object('a.jsonl', `${line('a')}\n`);
      yield object('b.jsonl', `${line('b')}\n{}\n`);
    };
    const found = await survey({ kind: 'objects', uri: 's3://in/', objects }, world.settings);
    expect(found.rejects).toMatchObject([{ line: 2, source_uri: 's3://in/b.jsonl', code: 'shape_unknown' }]);
  });
});

describe('a plan with more bad lines than its bound', () => {
  const text = `${line('a')}\n${line('b')}\n{}\n[]\n`;

  it.each([
    { flags: { strict: true }, changes: { isStrict: true }, says: '--strict' },
    { flags: { maxBadRows: '1' }, changes: { badRowsMax: { kind: 'rows', rows: 1 } as const }, says: '--max-bad-rows 1' },
    { flags: { maxBadRows: '49%' }, changes: { badRowsMax: { kind: 'percent', percent: 49 } as const }, says: '--max-bad-rows 49%' },
  ])('is refused under $says as a run would be, with the count and the first place', async ({ flags, changes, says }) => {
    const found = await surveyOf(text, changes);
    const refusal = refusalOf(found, flags);
    expect(refusal).toMatchObject({ code: 'input_rejected', exit: 2, where: `${found.source}:3` });
    expect(refusal?.message).toBe(`2 of 4 lines of ${found.source} are bad, more than ${says} allows; nothing would be queued`);
    const saved = JSON.stringify(documentOf(found, flags));
    expect(JSON.parse(saved)).toMatchObject({ refused: { code: 'input_rejected', where: `${found.source}:3` } });
    expect(parsePlan(saved, 'plan.json').refused?.message).toBe(refusal?.message);
    await expect(world.produce(found.source, changes)).rejects.toMatchObject({ code: 'input_rejected' });
  });

  it.each([
    { flags: { maxBadRows: '2' }, changes: { badRowsMax: { kind: 'rows', rows: 2 } as const } },
    { flags: { maxBadRows: '50%' }, changes: { badRowsMax: { kind: 'percent', percent: 50 } as const } },
    { flags: {}, changes: {} },
  ])('is one thing, and at its bound ($flags) another', async ({ flags, changes }) => {
    const found = await surveyOf(text, changes);
    expect(refusalOf(found, flags)).toBeUndefined();
    expect(documentOf(found, flags)).toMatchObject({ refused: null, rejected: 2 });
    expect(await world.produce(found.source, changes)).toMatchObject({ accepted: 2, rejected: 2 });
  });
});
