/**
 * Which calls of the ports a campaign strikes, by name, and which it does not, each with its reason and the place where it is
 * tried instead. Every method of a port stands in exactly one list: the compiler says so where one is missing, and
 * `test/unit/box-coverage.test.ts` compares the lists with the interfaces themselves.
 */
import type { Ledger } from '../../../segments/ledger/ledger.ts';
import type { Store } from '../../../segments/store/store.ts';
import type { BatchSearch, Claude } from '../../../workers/claude.ts';

/** Calls of the ledger that stages, producers and a replan make, in the order by which aims are drawn (`fates.ts`). */
export const ledgerCalls = [
  'absolveIntent', 'acceptIntent', 'addChunk', 'admit', 'armIntent', 'bookLeak', 'claim', 'closeArchive', 'completeRun', 'deferPoll', 'disownBatch', 'doubtIntent', 'endArchive', 'expireLane',
  'exportArchive', 'fenceIntent', 'flushArchives', 'flushDue', 'flushRun', 'forgoIntent', 'halveArchive', 'holdIntent', 'listArchives', 'nextQueued', 'nextSegment', 'noteLook', 'noteStranger', 'openRun',
  'prepareIntent', 'readArchive', 'readArchiveChunks', 'readChunk', 'readChunks', 'readClaims', 'readHighWater', 'readIntent', 'readRun', 'refuseIntent', 'rejectArchive', 'release', 'renewLane',
  'resumeHeld', 'sealArchive', 'sendIntent', 'settle', 'split', 'stopOnBudget', 'watchBatch', 'listHeld', 'replanChunks',
] as const;
/** Calls that came into the lists later. They stand apart, so that every seed keeps the aims that it had before them. */
export const laterLedgerCalls = ['holdChunk', 'measureClients', 'readTiers'] as const;
export const storeCalls = ['head', 'put', 'putFile', 'readWhole'] as const;
export const claudeCalls = ['cancelBatch', 'createBatch', 'firstResult', 'listBatches', 'probe', 'retrieveBatch'] as const;

type LeftOut<Port, Struck> = Readonly<Record<Exclude<keyof { [Name in keyof Port as Port[Name] extends string | undefined ? never : Name]: true }, Struck>, string>>;

const asked = 'a read of an operator\'s command, which changes nothing and ends with its error: the flow tests of the verbs';
const given = 'an operator\'s word, which people give here without a fault; commands are killed around it in the tier of real processes';
const relayed = 'the relay of events is not played here: real processes are struck around it';
const started = 'a start of a process is not played here: real processes are killed while they begin';

/** Calls of the ledger that no schedule of this tier strikes. */
export const ledgerCallsLeftOut: LeftOut<Ledger, (typeof ledgerCalls)[number] | (typeof laterLedgerCalls)[number]> = {
  listRuns: asked, listDoubts: asked, listBudgets: asked, listAccounts: asked, listSegments: asked, listStops: asked, listRests: asked, listClients: asked, readClient: asked,
  cancelRun: given, hold: given, resume: given, setBudget: given,
  setTier: 'no client has a tier here: test/flow/quota.test.ts, and ledger-set-back.test.ts for a word that was cut off',
  readTurnarounds: 'a read for the advice of a deferral and of a replan: test/conformance/admission.test.ts and test/flow/replan.test.ts',
  countLine: 'a read for the advice of a deferral: test/conformance/admission.test.ts',
  tellForecast: 'told by the command that works and by no stage: test/flow/foresee.test.ts',
  overdue: 'the sweeper is played between the rounds, without a process that could die: real processes are struck around it',
  sweepAccounts: 'the sweeper makes it once an hour: test/conformance/ledger-accounts.test.ts',
  readEvents: relayed, claimRelay: relayed, advanceRelay: relayed,
  setWeights: started, claimLake: started,
  close: 'the end of a connection',
};

/** Calls of the store that no schedule of this tier strikes. */
export const storeCallsLeftOut: LeftOut<Store, (typeof storeCalls)[number]> = {
  read: 'a stream, which the calls around it bound: store-s3-faults.test.ts breaks it off, and real processes with a bucket',
  list: 'a stream of a rebuild, a report or the guard: ledger-set-back.test.ts and real processes',
  localPath: 'a name, not an effect; this lake is in memory',
  knownSha256: 'what a process has put as a file: this lake is in memory; test/unit/folder.test.ts',
  close: 'the end of a connection',
};

/** Calls of the provider that no schedule of this tier strikes. */
export const claudeCallsLeftOut: LeftOut<Claude & BatchSearch, (typeof claudeCalls)[number]> = {
  readResults: 'a stream: the provider of this tier cuts, doubles and tears it by itself (`badDownloadRate`)',
};
