/**
 * Does the harness bite? Each entry plants one bug in a copy of the product and plays seeds of the one-process tier until
 * one of them shows a breach: `node --import tsx test/chaos/bugs.ts [--seeds 500] [--only NAME]`. It ends with 1 when a
 * bug survives, or when a text to be replaced is not in the product any more: then the bug must be planted anew.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

/** A text of the product and what a bug makes of it; `file` from the root of the checkout. */
export interface Edit {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export interface Bug extends Edit {
  readonly name: string;
  /** Where the same is guarded once more: a bug that one guard catches is none. */
  readonly also?: readonly Edit[];
}

const lua = (file: string): string => `segments/ledger/scripts/${file}.lua`;

/** The planted bugs. `test/unit/bugs.test.ts` compares their texts with the product, which is changed more often than this list is played. */
export const bugs: readonly Bug[] = [
  { name: 'a reservation does not look at the limit', file: lua('admit'), find: 'if lacksTokens or lacksMoney then', replace: 'if false then' },
  { name: 'an admission reserves nothing', file: lua('admit'), find: "add(accountKey, 'tokensReserved', tokensTaken)", replace: "add(accountKey, 'tokensReserved', 0)" },
  { name: 'a settlement returns no reservation', file: lua('settle'), find: "add(account, 'tokensReserved', -sum.tokensReserved)", replace: "add(account, 'tokensReserved', 0)" },
  { name: 'a settlement books no spending', file: lua('settle'), find: 'bookSpent(account, sum.usage, sum.microUsd, sum.overBound)', replace: '' },
  { name: 'what is in doubt is posted again at once', file: 'workers/submitter.ts', find: 'await ledger.doubtIntent(intent, outcome.reason, now(), fencedAtMs, outcome.status === undefined ? undefined : this.#restUntilMs(outcome.retryAfterMs));', replace: 'await ledger.refuseIntent({ intent, reason: outcome.reason, pauseUntilMs: undefined, nowMs: now() });' },
  { name: 'a sender that died behind the gate counts as refused', file: lua('prelude/doubt'), find: "if get(key, 'state') == 'sent' then\n    doubt(intent, 'owner_lost', at)\n    return 'in_doubt', 0\n  end", replace: "if get(key, 'state') == 'sent' then redis.call('HSET', key, 'state', 'armed') end" },
  { name: 'absence is declared without the landing wait', file: lua('absolve-intent'), find: 'q.nowMs >= fencedAtMs + q.landingWaitMs', replace: 'q.nowMs >= fencedAtMs', also: [{ file: lua('note-look'), find: 'q.askedAtMs >= fencedAtMs + q.landingWaitMs', replace: 'q.askedAtMs >= fencedAtMs' }] },
  { name: 'results are taken although they are not complete', file: 'workers/settler.ts', find: 'if (check.isComplete || download === downloadsMax) {', replace: 'if (download > 0) {' },
  { name: 'retries are forgotten', file: 'workers/settler.ts', find: 'chunks: outcome.chunks, retries, nowMs: now(),', replace: 'chunks: outcome.chunks, retries: [], nowMs: now(),' },
  { name: 'an exported chunk stays open', file: lua('export-archive'), find: "'chunksOpen', -#chunks)", replace: "'chunksOpen', 1 - #chunks)" },
  { name: 'the manifest of a run leaves an archive out', file: 'exporters/run-report.ts', find: 'for (const archive of [...archives].sort()) manifests', replace: 'for (const archive of [...archives].sort().slice(1)) manifests' },
  { name: 'the high-water mark is not moved', file: lua('add-chunk'), find: "redis.call('HSET', run .. ':high', lane, footer.lastRow)", replace: '' },
  { name: 'a resumed producer does not skip what is durable', file: 'producers/spooler.ts', find: 'if (prompt.source.row <= (this.#settings.highWater.get(key) ?? 0)) return;', replace: '' },
  { name: 'a split loses its right part', file: lua('split'), find: 'for _, part in ipairs({ q.left, q.right }) do', replace: 'for _, part in ipairs({ q.left }) do' },
  { name: 'a shared tail stays in its old archive too', file: lua('flush-archives'), find: "redis.call('LREM', fromKey .. ':chunks', 1, chunk)", replace: '' },
  { name: 'held work is never let go', file: lua('resume-held'), find: 'if isFree then', replace: 'if false then' },
  { name: 'the sweeper sees nothing', file: lua('overdue'), find: 'return list(found)', replace: "return '[]'" },
  { name: 'the sequence of events has gaps', file: lua('prelude/base'), find: "local sequence = redis.call('INCR', P .. 'events:sequence')", replace: "local sequence = redis.call('INCRBY', P .. 'events:sequence', 2)" },
  { name: 'an accepted batch is not polled', file: lua('accept-intent'), find: "due('track', archive, q.pollAtMs)", replace: '' },
  { name: 'a sealed archive is not put in line', file: lua('seal-archive'), find: 'queueSealed(q.archive, q.nowMs)', replace: '' },
  { name: 'an ended batch is not due to be settled', file: lua('end-archive'), find: "due('settle', q.archive, q.nowMs)", replace: '' },
  { name: 'an archive in line is taken twice', file: lua('prepare-intent'), find: "redis.call('ZREM', P .. 'sealed', archive)", replace: '' },
  { name: 'a sender that is only stopped counts as finished', file: 'workers/fence.ts', find: "isGone ? 'finished' : 'alive'", replace: "'finished'" },
  { name: 'a sender that nobody can see counts as finished', file: 'workers/fence.ts', find: "isGone === undefined ? 'unknown'", replace: "isGone === undefined ? 'finished'" },
  { name: 'the gate opens for a sender that has lost the lane', file: lua('send-intent'), find: "if get(lane, 'intent') ~= q.intent or get(lane, 'owner') ~= q.owner then return '{\"isOpen\":false}' end", replace: "if get(lane, 'intent') ~= q.intent or get(lane, 'owner') ~= q.owner then return '{\"isOpen\":true}' end" },
  { name: 'results of a stranger are taken for ours', file: 'workers/settler.ts', find: 'if (!isProven && holdsNone && check.faultCounts.row_foreign > 0)', replace: 'if (false)', also: [{ file: 'workers/settler.ts', find: 'if (!isProven && holdsNone) {', replace: 'if (false) {' }] },
  { name: 'a leak is not booked', file: lua('book-leak'), find: "bookSpent(P .. 'account:leak@total', q.usage, q.microUsd, 0)", replace: '' },
  { name: 'a batch of what was given up is booked beside its bounds', file: lua('book-leak'), find: 'if isCovered then', replace: 'if false then' },
  { name: 'what was given up is put in line again', file: 'segments/lifecycle.ts', find: "move('in_doubt', 'forgo', 'ended', 'operator',", replace: "move('in_doubt', 'forgo', 'sealed', 'operator',", also: [{ file: lua('forgo-intent'), find: "due('settle', archive, q.nowMs)", replace: 'queueSealed(archive, q.nowMs)' }] },
  { name: 'what was given up counts as not billed', file: 'workers/judge.ts', find: "new Set(['result_missing', 'result_conflict', 'submission_in_doubt'])", replace: "new Set(['result_missing', 'result_conflict'])" },
  { name: 'a canceled run is sent all the same', file: lua('prelude/lane'), find: "if get(P .. 'run:' .. get(key, 'run'), 'state') == 'canceling' then return cancelArchive(archive, at) end", replace: '' },
  { name: 'a list ends with an empty page although more was promised', file: 'workers/batch-search.ts', find: 'if (after !== undefined && found.data.length === 0) return', replace: 'if (false) return' },
  { name: 'a counter that nobody knows is counted', file: 'workers/batch-search.ts', find: 'if (counters.has(name) && Number.isSafeInteger(count))', replace: 'if (Number.isSafeInteger(count))' },
  { name: 'a chunk that cannot be read is never tried again', file: lua('resume-held'), find: "num(stop, 'untilMs') <= q.nowMs or", replace: 'false or' },
  { name: 'answers are joined one row off', file: 'exporters/topic.ts', find: 'const source = answers.lineOf(index, row.sha, true);', replace: 'const source = answers.lineOf(index ^ 1, row.sha, true);' },
];

/** Writes one edit into a copy; false when its text is not there exactly once. */
function plant(folder: string, { file, find, replace }: Edit): boolean {
  const path = join(folder, file);
  const text = readFileSync(path, 'utf8');
  if (text.split(find).length !== 2) return false;
  writeFileSync(path, text.replace(find, () => replace));
  return true;
}

/** Plays every bug whose name holds `--only`, tells each, and sets the exit code. */
function playBugs(): void {
  const { values } = parseArgs({ options: { seeds: { type: 'string', default: '500' }, only: { type: 'string' } } });
  const root = resolve(import.meta.dirname, '../..');
  let survivors = 0;
  for (const bug of bugs.filter((each) => values.only === undefined || each.name.includes(values.only))) {
    const folder = mkdtempSync(join(tmpdir(), 'plimsoll-bug-'));
    const remove = (): void => rmSync(folder, { recursive: true, force: true });
    // The bug is planted in a copy, so the checkout is whole whatever happens; the copy goes too.
    process.once('SIGINT', () => {
      remove();
      process.exit(130);
    });
    try {
      for (const room of ['segments', 'config', 'producers', 'workers', 'exporters', 'local', 'cli', 'test', 'package.json', 'tsconfig.json']) cpSync(join(root, room), join(folder, room), { recursive: true });
      symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
      const missing = [bug, ...(bug.also ?? [])].find((edit) => !plant(folder, edit));
      if (missing) {
        process.stdout.write(`NOT PLANTED  ${bug.name}: its text is not in ${missing.file} exactly once\n`);
        survivors += 1;
        continue;
      }
      const played = spawnSync(process.execPath, ['--import', 'tsx', 'test/chaos/box/play.ts', '--seeds', values.seeds, '--until-broken'], { cwd: folder, encoding: 'utf8', timeout: 600_000 });
      const shown = /^seed (\d+): ([^;\n]*)/m.exec(played.stdout);
      if (shown) process.stdout.write(`caught       ${bug.name}: seed ${shown[1]}, ${shown[2]}\n`);
      else {
        survivors += 1;
        process.stdout.write(`SURVIVED     ${bug.name}: ${played.stdout.trim().split('\n').at(-1) ?? ''} ${played.stderr.slice(0, 300)}\n`);
      }
    } finally {
      remove();
      process.removeAllListeners('SIGINT');
    }
  }
  process.stdout.write(`${bugs.length} bugs, ${survivors} not caught, commit ${execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim()}\n`);
  process.exitCode = survivors > 0 ? 1 : 0;
}

// The list is read by a test, too, and reading it plays nothing.
if (process.argv[1] === import.meta.filename) playBugs();
