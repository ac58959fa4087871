import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { exampleYaml, jsonSchema } from '../../config/config.ts';
import { variableOf } from '../../config/env.ts';
import { settings } from '../../config/tree.ts';
import { load } from './config-world.ts';

describe('the example file', () => {
  const example = exampleYaml();
  const uncommented = example.replaceAll(/^( *)#(?=\S)/gm, '$1');

  test('begins with the line that tells editors its schema', () => {
    expect(example.split('\n')[0]).toBe('# yaml-language-server: $schema=plimsoll.schema.json');
  });

  test('changes nothing as it is', () => {
    expect(new Set(load({ yaml: example }).origins.values())).toEqual(new Set(['default']));
  });

  test('shows every setting but the secrets, and is right when its comments are removed', () => {
    const { origins } = load({ yaml: uncommented });
    const missing = [...origins].filter(([, origin]) => origin === 'default').map(([path]) => path);
    expect(missing).toEqual(['anthropic.apiKey', 'anthropic.authToken', 'events.webhookSecret']);
  });

  test('shows the defaults', () => {
    const shown = load({ yaml: uncommented });
    const plain = load({});
    for (const part of ['contexts', 'chunk', 'archive', 'poll', 'submit', 'retry', 'sweep', 'work', 'input', 'export', 'log'] as const) {
      expect(shown[part]).toEqual(plain[part]);
    }
  });

  test('names the variable of every setting', () => {
    for (const path of settings.keys()) expect(example).toContain(variableOf(path));
  });
});

describe('the JSON Schema for editors', () => {
  test('describes every setting but the secrets, with its default', () => {
    const schema = jsonSchema();
    expect(schema).toMatchObject({
      type: 'object',
      additionalProperties: false,
      properties: { poll: { properties: { min: { default: '10s', description: 'Shortest wait between two polls of one batch.' } } } },
    });
    expect(JSON.stringify(schema)).not.toContain('apiKey');
  });

  test('knows every name of the example', () => {
    const schema = jsonSchema();
    const names = Object.keys(parse(exampleYaml().replaceAll(/^( *)#(?=\S)/gm, '$1')) ?? {});
    expect(schema.properties).toMatchObject(Object.fromEntries(names.map((name) => [name, {}])));
  });

  test('has only patterns that a JSON Schema validator can compile', () => {
    const patterns = [...JSON.stringify(jsonSchema()).matchAll(/"pattern":("(?:[^"\\]|\\.)*")/g)].map((match) => String(JSON.parse(match[1] ?? '""')));
    expect(patterns.length).toBeGreaterThan(5);
    for (const pattern of patterns) expect(() => new RegExp(pattern, 'u')).not.toThrow();
  });
});
