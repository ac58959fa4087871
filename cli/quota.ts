/** `quota`: in which tier a client is, who has put it there, what was measured, and which tier it needs. */
import { Command } from 'commander';
import { clientPattern } from '../config/budget.ts';
import { isoTime } from '../exporters/encode.ts';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import { readTierHistory } from '../segments/store/decisions.ts';
import { configOf, groupExitCodes, withCommon, withInstallation, type CommonOptions } from './options.ts';
import { moveClient } from './quota-set.ts';
import { showClients } from './quota-show.ts';
import { suggestTier } from './quota-suggest.ts';
import { openStore } from './store.ts';
import { print, printJson, tableText, tell } from './terminal.ts';

interface SetOptions extends CommonOptions {
  readonly tier: string;
  readonly by: string;
  readonly reason: string;
}

interface SuggestOptions extends CommonOptions {
  readonly days: string;
}

const exitCodes = 'Exit codes: 0 ok, 2 usage, configuration or Redis';

/** The `quota` verb with `set`, `show`, `history` and `suggest`. */
export function quotaCommand(exit: (code: ExitCode) => void): Command {
  const quota = new Command('quota')
    .description('Set, show and explain the tiers of clients.')
    .addHelpText('after', `\nExamples:\n  plimsoll quota show\n  plimsoll quota suggest etl\n  plimsoll quota set etl --tier internal --by ada --reason "pilot went well, ticket 4711"\n\n${groupExitCodes}`);
  withCommon(quota.command('set'))
    .description('Move a client to another tier; who, when and why are kept.')
    .argument('<client>', 'the client')
    .requiredOption('--tier <tier>', 'a tier of the configuration; none takes the client out of every tier')
    .requiredOption('--by <who>', 'who decided it')
    .requiredOption('--reason <text>', 'why')
    .addHelpText('after', `\nIt holds for runs that are opened from now on, whatever the configuration says of the client.\n\nExamples:\n  plimsoll quota set etl --tier internal --by ada --reason "pilot went well, ticket 4711"\n  plimsoll quota set partner --tier none --by ada --reason "contract ended"\n\n${exitCodes}`)
    .action(async (client: string, options: SetOptions) => {
      exit(
        await withInstallation(options, 'words', async (installation) => {
          const move = await moveClient(installation, { client: clientOf(client), tier: options.tier, by: wordsOf(options.by, '--by'), reason: wordsOf(options.reason, '--reason') });
          const { document, isNew } = move;
          if (options.json) printJson({ client, tier: document.tier, from: document.from, by: document.by, reason: document.reason, ordinal: document.ordinal, set_at: isoTime(document.setAtMs), is_new: isNew, weight: move.weight });
          else if (!options.quiet) tell(isNew ? `${client}: ${document.from ?? 'none'} -> ${document.tier ?? 'none'}, for runs that are opened from now on` : `${client}: ${document.tier ?? 'none'} already, since ${isoTime(document.setAtMs)} by ${document.by}`);
          return 0;
        }),
      );
    });
  withCommon(quota.command('show'))
    .description('Show tiers, limits and what is measured now.')
    .argument('[client]', 'only this client')
    .addHelpText('after', `\nMinutes and days are those of the clock (UTC); tokens are expected ones, input and half of max_tokens.\n\nExamples:\n  plimsoll quota show\n  plimsoll quota show etl --json | jq .clients[0].now\n\n${exitCodes}`)
    .action(async (client: string | undefined, options: CommonOptions) => {
      exit(await withInstallation(options, 'words', async (installation) => await showClients(installation, client === undefined ? undefined : clientOf(client), options.json === true)));
    });
  withCommon(quota.command('history'))
    .description('Show who has moved a client between tiers, when and why.')
    .argument('<client>', 'the client')
    .addHelpText('after', `\nIt reads the lake alone; nothing in it is ever changed or removed.\n\nExample:\n  plimsoll quota history etl\n\n${exitCodes}`)
    .action(async (client: string, options: CommonOptions) => exit(await showHistory(clientOf(client), options)));
  withCommon(quota.command('suggest'))
    .description('Propose the smallest tier that would have admitted what a client did, and price the difference.')
    .argument('<client>', 'the client')
    .option('--days <n>', 'days to look back, today included, 1 to 400', '30')
    .addHelpText('after', `\nWhat the client did is measured when prompts come in, deferred ones included; what it cost comes from the settled batches in the\nlake. A month is 30 days.\n\nExamples:\n  plimsoll quota suggest etl\n  plimsoll quota suggest etl --days 7 --json | jq .suggested.tier\n\n${exitCodes}`)
    .action(async (client: string, options: SuggestOptions) => {
      const days = daysOf(options.days);
      exit(await withInstallation(options, 'words', async (installation) => await suggestTier(installation, clientOf(client), days, options.json === true)));
    });
  return quota;
}

/** The audit trail of a client. */
async function showHistory(client: string, options: CommonOptions): Promise<ExitCode> {
  const store = await openStore(configOf(options), Date.now());
  try {
    const words = await readTierHistory(store, client);
    if (options.json) {
      printJson({ client, moves: words.map((word) => ({ ordinal: word.ordinal, set_at: isoTime(word.setAtMs), from: word.from, tier: word.tier, by: word.by, reason: word.reason })) });
    } else if (words.length === 0) print(`No operator has moved ${client}; the configuration says in which tier it is: plimsoll quota show ${client}`);
    else print(tableText(['when', 'from', 'to', 'by', 'why'], words.map((word) => [isoTime(word.setAtMs) ?? '', word.from ?? 'none', word.tier ?? 'none', word.by, word.reason]), 5));
    return 0;
  } finally {
    await store.close();
  }
}

/** @throws PlimsollError `usage` */
function clientOf(text: string): string {
  if (clientPattern.test(text)) return text;
  throw new PlimsollError('usage', { message: `${JSON.stringify(text)} cannot be a client`, where: '<client>', hint: 'A client is named by at most 63 of A-Z, a-z, 0-9, ., _, @ and -, beginning with a letter or digit.' });
}

/** @throws PlimsollError `usage` */
function wordsOf(text: string, where: string): string {
  const words = text.trim();
  if (words !== '' && words.length <= 1_000 && !/[\u0000-\u001f\u007f]/.test(words)) return words;
  throw new PlimsollError('usage', { message: words === '' ? `${where} is empty` : `${where} is longer than 1,000 characters or has control characters`, where, hint: 'The audit trail needs one line of words, for example "ticket 4711".' });
}

/** @throws PlimsollError `usage` */
function daysOf(text: string): number {
  const days = Number(text);
  if (/^\d{1,3}$/.test(text) && days >= 1 && days <= 400) return days;
  throw new PlimsollError('usage', { message: `${JSON.stringify(text)} is no number of days`, where: '--days', hint: 'From 1 to 400, for example --days 30.' });
}
