/** The sources of a seed: small prompts over a few topics and priorities, some lines that are none, and a canary in every text. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { seeded } from '../box/random.ts';
import type { Schedule } from './schedule.ts';

/** Writes the sources. */
export function corpusOf(schedule: Schedule, folder: string, canary: string): ReadonlyMap<string, { readonly ids: readonly string[]; readonly badLines: number; readonly path: string }> {
  const random = seeded(schedule.seed * 17 + 3);
  const deadline = schedule.deadlineMs === undefined ? undefined : new Date(Date.now() + schedule.deadlineMs).toISOString();
  const sources = new Map<string, { ids: string[]; badLines: number; path: string }>();
  for (let run = 0; run < schedule.runs; run += 1) {
    const key = `run-${run}`;
    const ids: string[] = [];
    const lines: string[] = [];
    for (let index = 0; index < Math.ceil(schedule.prompts / schedule.runs); index += 1) {
      const id = `${key}-doc-${index}`;
      ids.push(id);
      lines.push(JSON.stringify({
        id,
        topic: ['invoices', 'reviews'][random.int(2)],
        ...(deadline !== undefined && index % 3 === 0 ? { deadline } : {}),
        priority: ['high', 'normal', 'normal', 'low'][random.int(4)],
        params: { model: 'claude-haiku-4-5', max_tokens: 16 + random.int(32), messages: [{ role: 'user', content: `Document ${index} ${canary} ${'x'.repeat(random.int(250))}` }] },
      }));
    }
    for (let bad = 0; bad < schedule.badLines; bad += 1) lines.splice(random.int(lines.length), 0, `{"id": "bad-${bad}", "params": `);
    const path = join(folder, `${key}.jsonl`);
    writeFileSync(path, `${lines.join('\n')}\n`);
    sources.set(key, { ids, badLines: schedule.badLines, path });
  }
  return sources;
}
