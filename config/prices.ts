/**
 * Prices of one's own: a file in the form of `models.json` whose models replace those of the shipped table, or are added
 * to it. It is how a negotiated price or a model that this release does not know gets into the books.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { errnoOf, PlimsollError } from '../segments/errors.ts';
import { decodePriceTable, priceTable, shippedDocument, type PriceTable } from './models.ts';

const loaded = new Map<string, PriceTable>();

/**
 * The prices in force: the shipped table, and over it the file, an absolute path, where one is set. A file is read once
 * per process.
 * @throws PlimsollError `config_invalid` when the file cannot be read or is no price table
 */
export function pricesInForce(file: string | undefined): PriceTable {
  if (file === undefined) return priceTable();
  const known = loaded.get(file);
  if (known) return known;
  const table = overlay(file, readText(file));
  loaded.set(file, table);
  return table;
}

/** The version names both days and the file's digest, so that a price that was changed on the same day shows. */
function overlay(file: string, text: string): PriceTable {
  try {
    const own = JSON.parse(text) as unknown;
    const { version: asOf, models } = decodePriceTable(own);
    const names = new Set(models.flatMap((entry) => [entry.model, ...entry.aliases]));
    const shipped = shippedDocument();
    const kept = shipped.models.filter((row) => !models.some((entry) => entry.model === row.id)).map((row) => ({ ...row, aliases: row.aliases.filter((alias) => !names.has(alias)) }));
    const table = decodePriceTable({ ...shipped, models: [...(own as typeof shipped).models, ...kept] });
    const digest = createHash('sha256').update(text).digest('hex').slice(0, 8);
    return { ...table, version: `${table.version}+${asOf}.${digest}` };
  } catch (error) {
    if (error instanceof SyntaxError) throw unfit(file, 'it is not JSON', error);
    if (error instanceof z.ZodError) {
      const issue = error.issues[0];
      throw unfit(file, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'it does not have the form of a price table'}`, error);
    }
    if (error instanceof RangeError) throw unfit(file, error.message, error);
    throw error;
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw unfit(file, `it cannot be read: ${errnoOf(error) ?? 'unknown fault'}`, error);
  }
}

function unfit(file: string, what: string, cause: unknown): PlimsollError {
  return new PlimsollError('config_invalid', {
    message: `prices.file is not a price table: ${what}`,
    where: file,
    hint: 'Begin with a copy of one model in config/models.json: the file holds schema_version, as_of, currency, unit and models.',
    cause,
  });
}
