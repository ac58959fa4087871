/** Every verb once, as its users call it: what it prints, what it leaves behind, and its exit code. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { execFileSync, spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openHome, type Home } from '../../local/home.ts';
import { readTruth } from '../chaos/oracle.ts';
import { corpus, openWorld, type World } from '../chaos/world.ts';

/** Whoever is in the home keeps its Redis running, so that not every command has to start it. */
const enter = async (world: World): Promise<Home> => await openHome({ directory: world.home, searchPath: process.env['PATH'] ?? '', install: false, announce: () => undefined });

/** A shell that is not installed is not tested. */
const isThere = (shell: string): boolean => spawnSync(shell, ['-c', 'true']).status === 0;

interface Row {
  readonly id: string;
  readonly run_key: string;
  readonly reason: string | null;
  readonly source_row: number;
}

/** Every row of the files of a run under `results` or `errors`. */
function rowsOf(world: World, kind: 'results' | 'errors', run: string): readonly Row[] {
  const root = join(world.lake, kind);
  const files = existsSync(root) ? readdirSync(root, { recursive: true }).map(String).filter((name) => name.endsWith('.gz')) : [];
  return files.flatMap((name) => gunzipSync(readFileSync(join(root, name))).toString('utf8').trim().split('\n').map((line) => JSON.parse(line) as Row)).filter((row) => row.run_key === run);
}

function digests(folder: string): ReadonlyMap<string, string> {
  const files = readdirSync(folder, { recursive: true }).map(String).filter((name) => statSync(join(folder, name)).isFile());
  return new Map(files.map((name) => [name, createHash('sha256').update(readFileSync(join(folder, name))).digest('hex')]));
}

describe('a run that is planned, applied, replayed and retried', () => {
  let world: World;
  let home: Home;
  let source: string;
  beforeAll(async () => {
    world = await openWorld({ faults: { faults: [{ fault: 'errored', rate: 0.2, error_type: 'invalid_request_error', nth: 1 }] } });
    home = await enter(world);
    source = world.write('in.jsonl', corpus(60, 5));
  });
  afterAll(async () => {
    await home.close();
    await world.close();
  });

  it('plan says what it would be and cost, writes the plan, and needs no Redis and no lake', async () => {
    const elsewhere = join(world.folder, 'no-home');
    const settings = world.write('budgets.yaml', 'budgets:\n  topic:invoices: { usd: 0.002 }\n  all: { tokens: 90000 }\n');
    const end = await world.run(['plan', source, '--out', join(world.folder, 'plan.json')], { PLIMSOLL_HOME: elsewhere, PLIMSOLL_CONFIG: settings, REDIS_URL: 'redis://127.0.0.1:1' });
    expect(end.code, end.stderr).toBe(0);
    expect(end.stdout.trimEnd().split('\n').at(-1)).toMatch(/^Plan: 60 requests in 3 batches, est\. \$0\.\d{4} \(max \$0\.\d{4}\), 0 lines rejected\.$/);
    expect(end.stdout).toMatch(/topic:invoices, usd, total, strict +\$0\.0020 .* holds a part/);
    expect(end.stdout).toMatch(/all, tokens, total, strict +90,000 .* fits +fits/);
    expect(existsSync(elsewhere)).toBe(false);
    const plan = JSON.parse(readFileSync(join(world.folder, 'plan.json'), 'utf8')) as { source: string; input: { rows: number }; segments: { rows: number; tokens_expected: number; tokens_max: number }[] };
    expect(plan).toMatchObject({ source, input: { rows: 60 } });
    expect(plan.segments.reduce((sum, each) => sum + each.rows, 0)).toBe(60);
    expect(plan.segments.every((each) => each.tokens_expected < each.tokens_max)).toBe(true);
    expect(readTruth(world.truthFile).creates).toBe(0);
  });

  it('apply refuses a plan whose input and prices have changed, and names both', async () => {
    const plan = JSON.parse(readFileSync(join(world.folder, 'plan.json'), 'utf8')) as { input: { sha256: string } };
    const stale = world.write('stale.json', JSON.stringify({ ...plan, price_version: '2020-01-01', source: world.write('other.jsonl', corpus(61, 5)) }));
    const end = await world.run(['apply', stale, '--run-key', 'main']);
    expect(end.code).toBe(2);
    expect(end.stderr).toContain('[plan_stale]');
    expect(end.stderr).toContain(plan.input.sha256);
    expect(end.stderr.match(/[0-9a-f]{64}/g)).toHaveLength(2);
    expect(end.stderr).toMatch(/price table was 2020-01-01 then, it is \d{4}-\d\d-\d\d now/);
  });

  it('apply runs a plan that holds, exactly as run would', async () => {
    const end = await world.run(['apply', join(world.folder, 'plan.json'), '--run-key', 'main', '--json']);
    expect(end.code, end.stderr).toBe(3);
    const { counts } = JSON.parse(end.stdout) as { counts: { succeeded: number; dead_lettered: number } };
    expect(counts.dead_lettered).toBeGreaterThan(0);
    expect(counts.succeeded + counts.dead_lettered).toBe(60);
  });

  it('replay finds every file byte-identical, restores a missing one, and names one that was changed', async () => {
    const before = digests(world.lake);
    const results = join(world.lake, 'results');
    const names = readdirSync(results, { recursive: true }).map(String).filter((name) => name.endsWith('.gz')).sort();
    const [missing, changed] = [join(results, names[0] ?? ''), join(results, names[1] ?? '')];
    rmSync(missing);
    const restored = await world.run(['replay', 'main', '--json']);
    expect(restored.code, restored.stderr).toBe(0);
    expect(JSON.parse(restored.stdout)).toMatchObject({ run_key: 'main', restored: [`results/${names[0] ?? ''}`], differing: [] });
    expect(digests(world.lake)).toEqual(before);
    const content = readFileSync(changed);
    rmSync(changed);
    writeFileSync(changed, 'something else');
    const differs = await world.run(['replay', 'main']);
    expect(differs.code).toBe(1);
    expect(differs.stderr).toMatch(/byte-identical.*1 different/);
    expect(differs.stderr).toContain(names[1]);
    expect(readFileSync(changed, 'utf8')).toBe('something else');
    rmSync(changed);
    writeFileSync(changed, content);
  });

  it('retry sends the dead letters and nothing else, with their ids and places, and leaves the old files alone', async () => {
    const before = digests(world.lake);
    const dead = rowsOf(world, 'errors', 'main');
    const billed = readTruth(world.truthFile).batches.size;
    const end = await world.run(['retry', 'main', '--json']);
    expect(end.code, end.stderr).toBe(0);
    expect(JSON.parse(end.stdout)).toMatchObject({ run_key: 'main.retry-1', retry_of: 'main', status: 'succeeded', counts: { accepted: dead.length, succeeded: dead.length, rejected: 0 } });
    const place = (row: Row): string => `${row.id} at ${row.source_row}`;
    expect(rowsOf(world, 'results', 'main.retry-1').map(place).sort()).toEqual(dead.map(place).sort());
    expect(readTruth(world.truthFile).batches.size).toBeGreaterThan(billed);
    const after = digests(world.lake);
    expect([...before].filter(([name, digest]) => after.get(name) !== digest)).toEqual([]);
    const report = [...after.keys()].find((name) => name.endsWith('main.retry-1/run.json'));
    expect(JSON.parse(readFileSync(join(world.lake, report ?? ''), 'utf8'))).toMatchObject({ run_key: 'main.retry-1', retry_of: 'main' });
  });

  it('retry of what has no dead letter does nothing and exits 0', async () => {
    const batches = readTruth(world.truthFile).batches.size;
    const end = await world.run(['retry', 'main']);
    expect(end.code, end.stderr).toBe(0);
    expect(end.stderr).toContain('run main.retry-1 has no dead letters: nothing to retry');
    expect(readTruth(world.truthFile).batches.size).toBe(batches);
  });

  it('hold, status and resume name what they mean, and a typing mistake is answered with the nearest name', async () => {
    const typo = await world.run(['hold', 'mian']);
    expect(typo).toMatchObject({ code: 2 });
    expect(typo.stderr).toMatch(/no run and no segment is called "mian".*\n.*Did you mean main\?/);
    expect((await world.run(['hold', 'invoices.8k.high'])).stderr).toContain('segment invoices.8k.high is held. Let it go: plimsoll resume invoices.8k.high');
    const status = JSON.parse((await world.run(['status', '--json'])).stdout) as { stops: unknown[]; segments: { segment: string; state: string }[] };
    expect(status.stops).toMatchObject([{ segment: 'invoices.8k.high', reason: 'operator', rows_held: 0 }]);
    expect(status.segments.filter((each) => each.state === 'stopped').map((each) => each.segment)).toEqual(['invoices.8k.high']);
    const resumed = await world.run(['resume', 'segment:invoices.8k.high', '--json']);
    expect(resumed).toMatchObject({ code: 0 });
    expect(JSON.parse(resumed.stdout)).toMatchObject({ segment: 'invoices.8k.high', state: 'flowing', ended: ['operator'] });
  });

  it('hold refuses a run that has ended, and writes nothing of it down', async () => {
    const before = digests(world.lake);
    const refused = await world.run(['hold', 'main', '--json']);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toMatch(/the run main has ended \(complete\): there is nothing left of it to hold[\s\S]*\[run_ended\]/);
    expect(digests(world.lake)).toEqual(before);
    expect((JSON.parse((await world.run(['status', '--json'])).stdout) as { stops: unknown[] }).stops).toEqual([]);
  });

  it('init writes commented settings and their schema, refuses to overwrite, and config shows where each value comes from', async () => {
    const written = await world.run(['init', world.folder, '--json']);
    expect(written.code, written.stderr).toBe(0);
    const settings = join(world.folder, 'plimsoll.yaml');
    expect(JSON.parse(written.stdout)).toEqual({ written: [settings, join(world.folder, 'plimsoll.schema.json')] });
    expect(readFileSync(settings, 'utf8')).toMatch(/^# yaml-language-server: \$schema=plimsoll\.schema\.json\n/);
    expect(JSON.parse(readFileSync(join(world.folder, 'plimsoll.schema.json'), 'utf8'))).toMatchObject({ title: 'plimsoll.yaml' });
    const again = await world.run(['init', world.folder]);
    expect(again).toMatchObject({ code: 2, stdout: '' });
    expect(again.stderr).toContain('[file_exists]');

    writeFileSync(settings, `${readFileSync(settings, 'utf8')}\nretry: { attemptsMax: 2 }\n`);
    const shown = await world.run(['config', '--json'], { PLIMSOLL_CONFIG: settings });
    expect(shown.code, shown.stderr).toBe(0);
    const values = JSON.parse(shown.stdout) as { path: string; value: unknown; origin: string }[];
    const of = (path: string) => values.find((each) => each.path === path);
    expect(of('retry.attemptsMax')).toMatchObject({ value: 2, origin: expect.stringMatching(/plimsoll\.yaml:\d+:\d+$/) as string });
    expect(of('poll.min')).toMatchObject({ value: '50ms', origin: 'PLIMSOLL_POLL__MIN' });
    expect(of('anthropic.apiKey')).toMatchObject({ value: '…7781', origin: 'ANTHROPIC_API_KEY' });
    expect(shown.stdout).not.toContain('canary');
  });

  it('completion prints a script that its shell can read and that knows every verb', async () => {
    const end = await world.run(['completion', 'bash']);
    expect(end.code, end.stderr).toBe(0);
    const script = world.write('completion.bash', `${end.stdout}\nCOMP_WORDS=(plimsoll re) COMP_CWORD=1; _plimsoll; echo "\${COMPREPLY[@]}"\nCOMP_WORDS=(plimsoll run x --priority n) COMP_CWORD=4; _plimsoll; echo "\${COMPREPLY[@]}"\n`);
    const [verbs, priorities] = execFileSync('bash', [script], { encoding: 'utf8' }).trim().split('\n');
    expect(verbs?.split(' ')).toEqual(expect.arrayContaining(['retry', 'resume', 'replay']));
    expect(priorities).toBe('normal');
  });

  it.skipIf(!isThere('fish'))('fish completes verbs, their verbs and choices', async () => {
    const script = world.write('plimsoll.fish', (await world.run(['completion', 'fish'])).stdout);
    const complete = (words: string): string => execFileSync('fish', ['-c', `source ${script}; complete -C '${words}'`], { encoding: 'utf8' });
    expect(complete('plimsoll bud')).toMatch(/^budget\t/);
    expect(complete('plimsoll budget ')).toMatch(/^set\t[\s\S]*^show\t/m);
    expect(complete('plimsoll run --priority n')).toMatch(/^normal\t/);
  });

  it.skipIf(!isThere('zsh'))('zsh completes the very first word that it is asked for', async () => {
    const script = world.write('_plimsoll', (await world.run(['completion', 'zsh'])).stdout);
    // A terminal of its own: completion exists only where somebody types.
    const typed = world.write('type.zsh', [
      'zmodload zsh/zpty', 'zpty z "zsh -f -i"',
      `zpty -w z "fpath=(${dirname(script)} \\$fpath); autoload -U compinit; compinit -u -D; print rea''dy"`,
      "zpty -r z out '*ready*'", "zpty -w -n z $'plimsoll bud\\t'", "zpty -r z out '*budget*'", 'print completed', 'zpty -d z',
    ].join('\n'));
    expect(execFileSync('zsh', ['-f', typed], { encoding: 'utf8', timeout: 20_000 })).toMatch(/completed/);
  });
});

describe('a run whose batches take long', () => {
  let world: World;
  let home: Home;
  beforeAll(async () => {
    world = await openWorld({ batchMs: 600_000, cancelMs: 100, finishAfterCancel: 0.5 });
    home = await enter(world);
  });
  afterAll(async () => {
    await home.close();
    await world.close();
  });

  it('is left alone by a Ctrl-C, which says how to watch it, and by a timeout of run and watch', async () => {
    const source = world.write('slow.jsonl', corpus(40, 9));
    const first = world.start(['run', source, '--run-key', 'slow']);
    await expect.poll(() => readTruth(world.truthFile).batches.size, { timeout: 30_000, interval: 50 }).toBe(3);
    first.process.kill('SIGINT');
    const interrupted = await first.ended;
    expect(interrupted.code).toBe(130);
    expect(interrupted.stderr).toMatch(/Nothing is lost[\s\S]*plimsoll watch slow/);
    const again = await world.run(['run', source, '--run-key', 'slow', '--timeout', '1s', '--json']);
    expect(again.code, again.stderr).toBe(6);
    expect(JSON.parse(again.stdout)).toMatchObject({ status: 'running', batches: 3 });
    const watched = await world.run(['watch', '--timeout', '100ms']);
    expect(watched.code, watched.stderr).toBe(6);
    expect(watched.stdout).toMatch(/slow {2}running {2}0\/40 rows · 3 batches \(0 ended\)/);
    expect(watched.stdout + watched.stderr).not.toMatch(/ETA|remaining|left/);
    expect(readTruth(world.truthFile).batches.size).toBe(3);
  });

  it('is canceled at the provider: what finished is exported and billed, the rest are dead letters that we asked for', async () => {
    const end = await world.run(['cancel', 'slow']);
    expect(end.code, end.stderr).toBe(0);
    expect(end.stderr).toMatch(/3 batches with 40 rows at the provider are being canceled; rows that finish before that takes hold are billed and exported/);
    expect(end.stderr).toMatch(/errors +file:.*\/errors\/dt=[\d-]+\/topic=\*\/slow-\*\.jsonl\.gz; once more: plimsoll retry slow$/m);
    expect(end.stderr).toMatch(/billed +\$0\.\d+ for \d+ rows? that had finished/);
    const [good, dead] = [rowsOf(world, 'results', 'slow'), rowsOf(world, 'errors', 'slow')];
    expect(good.length).toBeGreaterThan(0);
    expect(new Set([...good, ...dead].map((row) => row.id)).size).toBe(40);
    expect(new Set(dead.map((row) => row.reason))).toEqual(new Set(['canceled']));
    const accounts = JSON.parse((await world.run(['budget', 'show', '--json'])).stdout) as { target: string; tokens_reserved: number }[];
    expect(accounts.find((account) => account.target === 'all')?.tokens_reserved).toBe(0);
    const run = await world.run(['run', join(world.folder, 'slow.jsonl'), '--run-key', 'slow']);
    expect(run).toMatchObject({ code: 1 });
    expect(run.stderr).toMatch(/was canceled[\s\S]*plimsoll retry slow[\s\S]*\[run_canceled\]/);
  });

  it('is stopped before it is late when nobody knows how long a batch takes, and says what would let it go', async () => {
    const settings = world.write('wait.yaml', 'budgets:\n  all: { runtime: 6h, window: run }\n');
    const end = await world.run(['run', world.write('wait.jsonl', corpus(6, 2)), '--run-key', 'wait', '--json'], { PLIMSOLL_CONFIG: settings });
    expect(end.code, end.stderr).toBe(5);
    expect(JSON.parse(end.stdout)).toMatchObject({ status: 'held', batches: 0 });
    const { stdout } = await world.run(['status'], { PLIMSOLL_CONFIG: settings });
    expect(stdout).toMatch(/is stopped \(budget_runtime\): work that begins now is likely to outlast the runtime of all/);
    expect(stdout).toMatch(/up to 1d \(the provider's worst case, because no archive was settled yet\); the runtime is 6h/);
    expect(stdout).toContain('plimsoll budget set all --runtime 30h');
  });

  it('is canceled when it outlives a runtime budget whose policy says so', async () => {
    // Long enough that a loaded machine has admitted all of it by then: what comes later is stopped instead.
    const settings = world.write('late.yaml', 'budgets:\n  all: { runtime: 8s, window: run, onLate: cancel }\n');
    const end = await world.run(['run', world.write('late.jsonl', corpus(9, 3)), '--run-key', 'late', '--json'], { PLIMSOLL_CONFIG: settings });
    expect(end.code, end.stderr).toBe(3);
    const dead = rowsOf(world, 'errors', 'late');
    expect(dead.length).toBeGreaterThan(0);
    expect(dead.every((row) => row.reason === 'canceled')).toBe(true);
    expect(rowsOf(world, 'results', 'late').length + dead.length).toBe(9);
  });
});
