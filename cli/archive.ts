/** `archive verify`: proves an audit archive from itself, and against the lake and the ledger. */
import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Command } from 'commander';
import { proveAudit, type AuditProof } from '../exporters/audit-proof.ts';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import { auditKey } from '../segments/lake.ts';
import type { ArchiveId } from '../segments/segment.ts';
import type { Installation } from './compose.ts';
import { groupExitCodes, withCommon, withInstallation, type CommonOptions } from './options.ts';
import { printJson, tell } from './terminal.ts';

interface VerifyOptions extends CommonOptions {
  readonly offline?: boolean;
}

/** The `archive` verb with `verify`. */
export function archiveCommand(exit: (code: ExitCode) => void): Command {
  const archive = new Command('archive')
    .description('Look into audit archives.')
    .addHelpText('after', `\nExample:\n  plimsoll archive verify 7f3a91c2ab-000012\n\n${groupExitCodes}`);
  withCommon(archive.command('verify'))
    .description('Prove that an audit archive is what was sent and answered.')
    .argument('<file>', 'a zip file of audit/, or the id of an archive in the lake')
    .option('--offline', 'prove it from itself alone, without lake and ledger')
    .addHelpText('after', '\nExamples:\n  plimsoll archive verify 7f3a91c2ab-000012.zip\n  plimsoll archive verify 7f3a91c2ab-000012 --json\n\nExit codes: 0 proved, 1 damaged, 2 no such file or archive')
    .action(async (name: string, options: VerifyOptions) => exit(await verify(name, options)));
  return archive;
}

async function verify(name: string, options: VerifyOptions): Promise<ExitCode> {
  const isFile = await stat(name).then((found) => found.isFile(), () => false);
  if (options.offline) {
    if (!isFile) throw new PlimsollError('usage', { message: 'there is no such file', where: name, hint: 'Give the path of a zip file; an id is only known to the lake.' });
    return show(await proveAudit(name), options);
  }
  return await withInstallation(options, 'words', async (installation) => {
    if (isFile) return show(await proveAudit(name, installation), options);
    const path = await fetchArchive(installation, name);
    try {
      return show(await proveAudit(path, installation), options);
    } finally {
      await rm(path, { force: true });
    }
  });
}

/** Copies an archive of the lake to the scratch folder: a zip is read from its end. */
async function fetchArchive({ ledger, store, scratchDirectory }: Installation, name: string): Promise<string> {
  const id = name.replace(/\.zip$/, '') as ArchiveId;
  const record = await ledger.readArchive(id);
  if (!record) throw new PlimsollError('archive_unknown', { message: 'this is neither a file nor an archive of this installation', where: name, hint: 'plimsoll events tail names archives; their files are under audit/ in the lake.' });
  const key = auditKey(record.dt, id);
  if (!(await store.head(key))) throw new PlimsollError('archive_unknown', { message: `the archive ${id} has no audit archive (it is ${record.state})`, where: key, hint: 'Only archives that are exported while their topic stands in audit.topics get one.' });
  await mkdir(scratchDirectory, { recursive: true });
  const path = join(scratchDirectory, `verify-${randomUUID()}.zip`);
  await pipeline(store.read(key), createWriteStream(path, { flags: 'wx' }));
  return path;
}

function show(proof: AuditProof, options: CommonOptions): ExitCode {
  if (options.json) printJson(proof);
  else if (!options.quiet) {
    tell(`${proof.archive} of run ${proof.run_key}: ${proof.requests} requests, ${proof.results} results`);
    for (const fact of proof.proved) tell(`  ${fact}`);
  }
  return 0;
}
