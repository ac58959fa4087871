/** `apply`: runs a plan exactly as `run` would, or says what has changed since it was made. */
import { Command } from 'commander';
import { readFile } from 'node:fs/promises';
import type { Config } from '../config/config.ts';
import { pricesInForce } from '../config/prices.ts';
import { readDigest } from '../producers/same-input.ts';
import { cutSha256 } from '../producers/settings.ts';
import { errnoOf, PlimsollError, type ExitCode } from '../segments/errors.ts';
import { join } from 'node:path';
import { configOf, withCommon, withInstallation, withRunKey, type CommonOptions } from './options.ts';
import { parsePlan, type SavedPlan } from './plan-file.ts';
import { runExitCodes, runToEnd, withWork, type RunOptions } from './run.ts';
import { producerSettings, sourceOf } from './source.ts';

interface ApplyOptions extends CommonOptions {
  readonly runKey: string;
  readonly simulate?: boolean;
  readonly timeout?: string;
}

/** The `apply` verb. */
export function applyCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(withWork(withRunKey(new Command('apply'))))
    .description('Run a plan, unless its input, the prices or the settings have changed.')
    .argument('<plan.json>', 'a file that plimsoll plan --out has written')
    .addHelpText('after', `\nExample:\n  plimsoll plan invoices.jsonl --out plan.json && plimsoll apply plan.json --run-key nightly-2026-11-21\n\n${runExitCodes}`)
    .action(async (path: string, options: ApplyOptions) => {
      const plan = parsePlan(await readPlan(path), path);
      if (plan.refused) throw new PlimsollError('input_rejected', { message: `this plan queues nothing: ${plan.refused.message}`, where: path, hint: `Mend the lines that it lists under rejects, then plan anew: plimsoll plan ${plan.source} --out ${path}` });
      const { topic, priority, client, model, maxTokens, strict, maxBadRows } = plan.flags;
      const given = { topic, priority, client, model, maxTokens, strict, maxBadRows };
      const merged = { ...options, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) } as RunOptions;
      const config = configOf(merged);
      await assertCurrent(plan, path, merged, config);
      exit(await withInstallation(options, 'words', async (installation) => await runToEnd(installation, sourceOf(plan.source, config), merged), config));
    });
}

async function readPlan(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new PlimsollError('usage', { message: `the plan cannot be read: ${errnoOf(error) ?? 'unknown fault'}`, where: path, hint: 'Make one: plimsoll plan FILE --out plan.json', cause: error });
  }
}

/** @throws PlimsollError `plan_stale` with everything that differs, then and now */
async function assertCurrent(plan: SavedPlan, path: string, options: RunOptions, config: Config): Promise<void> {
  const prices = pricesInForce(config.prices.file);
  const settings = producerSettings({ config, prices, scratchDirectory: join(config.home, 'scratch') }, options);
  const input = await readDigest(sourceOf(plan.source, config), settings, new AbortController().signal);
  const changes: string[] = [];
  if (input.bytes !== plan.input.bytes || input.sha256 !== plan.input.sha256) {
    changes.push(`the input ${plan.source} had ${plan.input.bytes} bytes with sha256 ${plan.input.sha256} then, it has ${input.bytes} bytes with sha256 ${input.sha256} now`);
  }
  if (prices.version !== plan.price_version) changes.push(`the price table was ${plan.price_version} then, it is ${prices.version} now`);
  // Prices are a part of the settings' digest, so the digest says something of its own only when the prices are the same.
  else if (cutSha256(settings) !== plan.settings_sha256) changes.push('the settings that cut the input into segments (contexts, defaults, API version, line length) have changed');
  if (changes.length === 0) return;
  throw new PlimsollError('plan_stale', { message: `the plan does not hold any more: ${changes.join('; ')}`, where: path, hint: `Nothing was queued. Look at what it would be now: plimsoll plan ${plan.source} --out ${path}` });
}
