/** The table of prices over its rows. It reads no file and knows no schema, so that a thread that is given the rows can make it anew. */
import type { ModelEntry, PriceTable } from './models.ts';
import { suggest } from './suggest.ts';

/** Makes the table. @throws {RangeError} when a name stands for two models */
export function tableOf(version: string, models: readonly ModelEntry[]): PriceTable {
  const byName = new Map<string, ModelEntry>();
  for (const entry of models) {
    for (const name of [entry.model, ...entry.aliases]) {
      if (byName.has(name)) throw new RangeError(`price table: ${name} stands for two models`);
      byName.set(name, entry);
    }
  }
  const namesByUse = [...byName].sort(([, a], [, b]) => Number(a.status === 'retired') - Number(b.status === 'retired')).map(([name]) => name);
  return { version, models, find: (model) => byName.get(model), nearest: (model) => suggest(model, namesByUse) };
}
