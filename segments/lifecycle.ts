/**
 * The one state machine. It lists every state, every event and every allowed move, who makes the move and what it
 * means. Nothing else assigns a state: the Lua scripts of the ledger are given this table when they are loaded (see
 * `ledger/scripts.ts`) and refuse any move that is not in it, and the tables of ARCHITECTURE.md are checked against it.
 *
 * Invariants
 *   L1  A state changes only along a move of this table.
 *   L2  A terminal state is never left.
 *   L3  An archive gets a new intent only after its last one was `refused` or found `absent`; after one that is `forgone`
 *       it never gets another.
 */

/** One allowed move. */
export interface Move {
  readonly from: string;
  readonly event: string;
  readonly to: string;
  /** The stage that makes the move. */
  readonly by: string;
  /** One sentence: what has become true. */
  readonly meaning: string;
}

/** The states and moves of one noun. `initial` names the state of a new record. */
export interface Machine {
  readonly initial: string;
  readonly terminal: readonly string[];
  readonly moves: readonly Move[];
}

export type RunState = 'ingesting' | 'open' | 'complete' | 'canceling' | 'canceled';
export type ChunkState = 'spooled' | 'queued' | 'packed' | 'done' | 'held' | 'split';
export type ArchiveState =
  | 'open' | 'sealed' | 'submitting' | 'accepted' | 'ended' | 'settled' | 'exported' | 'in_doubt' | 'canceled';
export type IntentState = 'prepared' | 'armed' | 'sent' | 'accepted' | 'refused' | 'in_doubt' | 'adopted' | 'absent' | 'held' | 'forgone';
export type SegmentState = 'flowing' | 'stopped';

/** Why a segment or a chunk stands still. */
export type StopReason = 'budget_tokens' | 'budget_cost' | 'budget_runtime' | 'bound_exceeded' | 'operator' | 'spool_unreadable';

function move(from: string, event: string, to: string, by: string, meaning: string): Move {
  return { from, event, to, by, meaning };
}

const run: Machine = {
  initial: 'ingesting',
  terminal: ['complete', 'canceled'],
  moves: [
    move('ingesting', 'flush', 'open', 'producer', 'Every prompt of the source is durable; tails may be packed together.'),
    move('open', 'complete', 'complete', 'exporter', 'Every prompt is exported or a dead letter and the manifest is written.'),
    move('ingesting', 'cancel', 'canceling', 'operator', 'No more of this run is taken, packed or sent; what the provider has is canceled there.'),
    move('open', 'cancel', 'canceling', 'operator', 'No more of this run is packed or sent; what the provider has is canceled there.'),
    move('canceling', 'complete', 'canceled', 'exporter', 'What had finished is exported, the rest are dead letters, and the manifest is written.'),
  ],
};

const chunk: Machine = {
  initial: 'spooled',
  terminal: ['done', 'split'],
  moves: [
    move('spooled', 'queue', 'queued', 'producer', 'The chunk waits in the queue of its segment.'),
    move('queued', 'admit', 'packed', 'packer', 'Its reservation is taken and an archive holds it.'),
    move('queued', 'hold', 'held', 'packer', 'A limit or an operator keeps it back; the reason is recorded.'),
    move('held', 'resume', 'queued', 'ledger', 'There is room again, or the operator let it go.'),
    move('queued', 'split', 'split', 'packer', 'Two children carry its rows on.'),
    move('packed', 'split', 'split', 'submitter', 'Two children carry its rows and its reservation on.'),
    move('packed', 'finish', 'done', 'exporter', 'Every row of it is exported, retried in a new chunk, or a dead letter.'),
    move('spooled', 'cancel', 'packed', 'operator', 'It will not be sent: an archive without a batch carries its rows to their dead letters.'),
    move('queued', 'cancel', 'packed', 'operator', 'It will not be sent, as above.'),
    move('held', 'cancel', 'packed', 'operator', 'It will not be sent, as above.'),
    move('queued', 'replan', 'packed', 'operator', 'Its rows go on in new chunks or are left out: an archive without a batch tells them apart.'),
    move('held', 'replan', 'packed', 'operator', 'Its rows go on in new chunks or are left out, as above.'),
  ],
};

const archive: Machine = {
  initial: 'open',
  terminal: ['exported', 'canceled'],
  moves: [
    move('open', 'seal', 'sealed', 'sealer', 'Its chunks are fixed; size and sha256 of the body are known and journaled.'),
    move('open', 'dissolve', 'canceled', 'packer', 'Its chunks went into an archive shared by the tails of the run.'),
    move('sealed', 'prepare', 'submitting', 'submitter', 'An intent exists and holds the lane of the workspace.'),
    move('submitting', 'accept', 'accepted', 'submitter', 'The provider has a batch for it and its id is known.'),
    move('submitting', 'refuse', 'sealed', 'submitter', 'The intent provably made no batch; another may follow.'),
    move('submitting', 'doubt', 'in_doubt', 'submitter', 'The last byte may have left and no reply proves what became of it.'),
    move('submitting', 'reject', 'ended', 'submitter', 'The provider refuses its only row for good; there is no batch.'),
    move('submitting', 'halve', 'canceled', 'submitter', 'The provider refused it whole; two archives carry its chunks on.'),
    move('in_doubt', 'adopt', 'accepted', 'adopter', 'Its batch was found in the workspace.'),
    move('in_doubt', 'absolve', 'sealed', 'adopter', 'It is proven that no batch exists; another intent may follow.'),
    move('in_doubt', 'forgo', 'ended', 'operator', 'Nobody can prove what became of it: its answers are given up, its rows become dead letters, and their bounds count as spent.'),
    move('accepted', 'disown', 'in_doubt', 'adopter', 'Another batch was found to hold its rows: the one it was bound to belongs to somebody else.'),
    move('ended', 'disown', 'in_doubt', 'settler', 'The results hold none of its rows: the batch it was bound to belongs to somebody else.'),
    move('accepted', 'end', 'ended', 'tracker', 'The provider has finished the batch; results can be read.'),
    move('ended', 'settle', 'settled', 'settler', 'Results are verified as a set, spending is booked, reservations are returned.'),
    move('settled', 'export', 'exported', 'exporter', 'Its files and its manifest are in the lake.'),
    move('open', 'cancel', 'ended', 'operator', 'It was not sent and will not be; its rows become dead letters.'),
    move('sealed', 'cancel', 'ended', 'operator', 'It was not sent and will not be; its rows become dead letters.'),
    move('open', 'replan', 'ended', 'operator', 'It will never be sent: it holds chunks in whose place a replan has put others.'),
  ],
};

const intent: Machine = {
  initial: 'prepared',
  terminal: ['accepted', 'refused', 'absent', 'forgone'],
  moves: [
    move('prepared', 'arm', 'armed', 'submitter', 'It is durable in the ledger and in the lake; the upload may begin.'),
    move('armed', 'send', 'sent', 'submitter', 'The gate is open: the last byte may leave.'),
    move('sent', 'accept', 'accepted', 'submitter', 'A reply names the batch.'),
    move('armed', 'accept', 'accepted', 'submitter', 'A reply names the batch before the ledger knew of the last byte: it is believed, or it would be paid twice.'),
    move('prepared', 'accept', 'accepted', 'submitter', 'A reply names the batch although Redis was set back meanwhile.'),
    move('prepared', 'refuse', 'refused', 'submitter', 'Nothing was sent.'),
    move('armed', 'refuse', 'refused', 'submitter', 'The last byte never left, so the provider cannot have accepted it.'),
    move('sent', 'refuse', 'refused', 'submitter', 'The reply proves that no batch was made.'),
    move('sent', 'doubt', 'in_doubt', 'submitter', 'No reply proves acceptance or refusal.'),
    move('prepared', 'doubt', 'in_doubt', 'submitter', 'The lake holds an intent of this name already: Redis was set back, and it may have been sent.'),
    move('armed', 'doubt', 'in_doubt', 'submitter', 'Redis was started anew since: it may have forgotten that the last byte left.'),
    move('in_doubt', 'adopt', 'adopted', 'adopter', 'A batch was found that can only be its own; its results will tell.'),
    move('in_doubt', 'absolve', 'absent', 'adopter', 'The sender is fenced, the landing wait is over, no batch exists.'),
    move('in_doubt', 'hold', 'held', 'adopter', 'Nobody can prove that its sender is finished, or a person said so: a person decides.'),
    move('held', 'adopt', 'adopted', 'operator', 'A person bound it to a batch, or a batch was found that holds its rows.'),
    move('held', 'absolve', 'absent', 'operator', 'A person decided that no batch exists.'),
    move('in_doubt', 'forgo', 'forgone', 'operator', 'A person gave it up, or the adopter where the settings say so: it is never sent again, and a batch of it is wanted no more.'),
    move('held', 'forgo', 'forgone', 'operator', 'As above, after a person was asked.'),
    move('adopted', 'confirm', 'accepted', 'settler', 'The results of the batch hold its rows.'),
    move('adopted', 'disown', 'in_doubt', 'settler', 'The results of the batch hold none of its rows; the search goes on.'),
  ],
};

const segment: Machine = {
  initial: 'flowing',
  terminal: [],
  moves: [
    move('flowing', 'stop', 'stopped', 'packer', 'A limit is reached; the reason and what is missing are recorded.'),
    move('stopped', 'resume', 'flowing', 'ledger', 'Settlement, a new limit or an operator made room.'),
  ],
};

/** Every noun that has a life, by name. */
export const lifecycle = { run, chunk, archive, intent, segment } as const;
export type Noun = keyof typeof lifecycle;

/** The state that `event` leads to from `from`, or undefined when the move is not allowed (L1). */
export function nextState(noun: Noun, from: string, event: string): string | undefined {
  return lifecycle[noun].moves.find((candidate) => candidate.from === from && candidate.event === event)?.to;
}

/** All states of a noun, in the order of the table. */
export function statesOf(noun: Noun): readonly string[] {
  const machine = lifecycle[noun];
  return [...new Set([machine.initial, ...machine.moves.flatMap((each) => [each.from, each.to])])];
}

/**
 * The tables of ARCHITECTURE.md: per noun, every move as `from | event | to | who | meaning`, in the order of the table
 * above, with the initial state and the terminal states named.
 */
export function lifecycleTables(): string {
  const sections = Object.entries(lifecycle).map(([noun, machine]: [string, Machine]) => {
    const title = `${noun.charAt(0).toUpperCase()}${noun.slice(1)}`;
    const ends = machine.terminal.length === 0 ? 'it never ends' : `ends as ${machine.terminal.map((state) => `\`${state}\``).join(', ')}`;
    const rows = machine.moves.map((each) => `| ${each.from} | ${each.event} | ${each.to} | ${each.by} | ${each.meaning} |`);
    return [`**${title}** begins as \`${machine.initial}\`; ${ends}.`, '', '| from | event | to | who | meaning |', '|---|---|---|---|---|', ...rows].join('\n');
  });
  return `${sections.join('\n\n')}\n`;
}
