import { describe, expect, it } from 'vitest';
import { objectRunKey, readNotice } from '../../producers/notice.ts';
import { globPattern } from '../../producers/s3.ts';
import { runKeyPattern } from '../../segments/segment.ts';

const record = (key: string, more: Readonly<Record<string, unknown>> = {}) => ({
  eventVersion: '2.1', eventSource: 'aws:s3', awsRegion: 'eu-west-1', eventName: 'ObjectCreated:Put',
  s3: { s3SchemaVersion: '1.0', bucket: { name: 'docs', arn: 'arn:aws:s3:::docs' }, object: { key, size: 3, eTag: 'ab', sequencer: '0055' } }, ...more,
});
const raw = (...records: readonly unknown[]): string => JSON.stringify({ Records: records });
const bridge = (type: string, key = 'in/a+b c.jsonl', version = 'v1'): string => JSON.stringify({ version: '0', source: 'aws.s3', 'detail-type': type, detail: { bucket: { name: 'docs' }, object: { key, 'version-id': version } } });
const versioned = (versionId: string) => record('in/a', { s3: { bucket: { name: 'docs' }, object: { key: 'in/a', versionId } } });
const sns = (message: string): string => JSON.stringify({ Type: 'Notification', TopicArn: 'arn:aws:sns:eu-west-1:1:t', Message: message, SigningCertURL: 'https://evil.example/cert' });

describe('a message of the document queue', () => {
  it.each([
    ['bare', raw(record('in/a%2Bb+c.jsonl'))],
    ['bare, in a later version', raw(record('in/a%2Bb+c.jsonl', { eventVersion: '2.6', newField: {} }))],
    ['wrapped by SNS', sns(raw(record('in/a%2Bb+c.jsonl')))],
    ['wrapped twice', sns(sns(raw(record('in/a%2Bb+c.jsonl'))))],
  ])('names its objects when it is %s', (_what, body) => {
    expect(readNotice(body)).toEqual([{ bucket: 'docs', key: 'in/a+b c.jsonl', version: undefined }]);
  });

  it('names them when EventBridge sends it, whose keys are not encoded, also through SNS', () => {
    const expected = [{ bucket: 'docs', key: 'in/a+b c.jsonl', version: 'v1' }];
    expect([readNotice(bridge('Object Created')), readNotice(sns(bridge('Object Created')))]).toEqual([expected, expected]);
  });

  it('names several, and takes a whole key that was encoded as moto and AWS do', () => {
    expect(readNotice(raw(record('in%2Fx%C3%BC.jsonl'), record('in/y.jsonl'))).map(({ key }) => key)).toEqual(['in/xü.jsonl', 'in/y.jsonl']);
  });

  it('may name what is as long as S3 lets it be, and a pair of surrogates that is whole', () => {
    const [key, version] = ['😀'.repeat(256), 'v'.repeat(1_024)];
    expect(readNotice(bridge('Object Created', key, version))).toEqual([{ bucket: 'docs', key, version }]);
    expect(readNotice(raw(record(key), versioned('null'), versioned('')))).toEqual([key, 'in/a', 'in/a'].map((each) => ({ bucket: 'docs', key: each, version: undefined })));
  });

  it.each([
    ["S3's own test", JSON.stringify({ Service: 'Amazon S3', Event: 's3:TestEvent', Bucket: 'docs' })],
    ['a removal', raw(record('in/a', { eventName: 'ObjectRemoved:Delete' }))],
    ['a removal by EventBridge', bridge('Object Deleted')],
    ['an empty list', raw()],
  ])('names nothing when it is %s', (_what, body) => expect(readNotice(body)).toEqual([]));

  it.each([
    ['no JSON', 'in/a.jsonl'],
    ['something else', '{"QueueUrl":"https://sqs.evil.example/1/q"}'],
    ['of a later major version', raw(record('in/a', { eventVersion: '3.0' }))],
    ['half a record', raw({ eventVersion: '2.1', eventName: 'ObjectCreated:Put', s3: {} })],
    ['wrongly encoded', raw(record('in/%E0%A4%A'))],
    ['wrapped for ever', sns(sns(sns(sns(raw()))))],
    ['a text in SNS', sns('hello')],
    ...['', '\ud800', 'in/\udc00x', 'x'.repeat(1_025), 'ü'.repeat(513)].flatMap((key) => [
      [`of no key of S3 (${key.length})`, raw(record(key))],
      [`of no key of S3 (${key.length}), by EventBridge`, bridge('Object Created', key)],
    ]),
    ...['\ud800', 'x'.repeat(1_025)].flatMap((version) => [
      [`of no version of S3 (${version.length})`, raw(versioned(version))],
      [`of no version of S3 (${version.length}), by EventBridge`, bridge('Object Created', 'in/a', version)],
    ]),
  ])('is refused when it is %s', (_what, body) => expect(() => readNotice(body)).toThrow(expect.objectContaining({ code: 'notice_malformed' }) as Error));
});

describe('the run of an object', () => {
  it.each(['in/a.jsonl', 'ü/東京 “x”', '/', '_SUCCESS', `${'x'.repeat(900)}.jsonl`, '..', 'a/b=c/+d'])('has a legal key that depends on bucket, key and etag: %s', (key) => {
    const run = objectRunKey('docs', key, 'etag');
    expect(run).toMatch(runKeyPattern);
    expect(new Set([run, objectRunKey('docs', key, 'etag'), objectRunKey('docs', key, 'other'), objectRunKey('other', key, 'etag'), objectRunKey('docs', `${key}x`, 'etag')]).size).toBe(4);
  });
});

describe('a glob', () => {
  it.each([
    ['in/*.jsonl', ['in/a.jsonl'], ['in/a/b.jsonl', 'in/a.jsonl.gz', 'xin/a.jsonl']],
    ['in/**/*.gz', ['in/a.gz', 'in/x/y/a.gz'], ['in/a', 'a.gz']],
    ['in/dt=2026-11-2?/x', ['in/dt=2026-11-21/x'], ['in/dt=2026-11-/x', 'in/dt=2026-11-2//x']],
    ['a.b+(c)/*', ['a.b+(c)/d'], ['aXb+(c)/d']],
  ])('%s', (glob, matching, others) => {
    const pattern = globPattern(glob);
    expect([matching.every((key) => pattern.test(key)), others.some((key) => pattern.test(key))]).toEqual([true, false]);
  });
});
