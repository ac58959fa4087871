/** What a campaign of seeds has to reach, by name; and what this tier cannot reach by design, with the reason. */
import { deadLetterReasons } from '../../../segments/outcome.ts';
import { claudeCalls, laterLedgerCalls, ledgerCalls, storeCalls } from './calls.ts';
import { allEdges } from './edges.ts';
import { createClasses, createFaults, rowClasses } from './provider.ts';
import { listForms } from './strange-lists.ts';
import { callFates } from './turns.ts';

interface CallPoint {
  readonly call: string;
  readonly fate: (typeof callFates)[number];
}

/** What the failure of a create means is the provider's to say, so it only crashes and stops. */
const pointsOf = (call: string): readonly CallPoint[] => callFates.filter((fate) => call !== 'claude.createBatch' || fate.startsWith('crash') || fate.startsWith('stop')).map((fate) => ({ call, fate }));

/** Every call with every fate, in the order by which seeds are aimed at them. */
export const callPoints: readonly CallPoint[] = [...ledgerCalls.map((name) => `ledger.${name}`), ...storeCalls.map((name) => `store.${name}`), ...claudeCalls.map((name) => `claude.${name}`)].flatMap(pointsOf);
/** The same of calls that seeds of their own are aimed at. */
export const laterCallPoints: readonly CallPoint[] = laterLedgerCalls.flatMap((name) => pointsOf(`ledger.${name}`));

/** Every named fault point. */
const points: readonly string[] = [...[...callPoints, ...laterCallPoints].map(({ call, fate }) => `point ${call} ${fate}`), ...createFaults.map((fault) => `point provider.${fault}`), 'point wake.lost'];

/** What is out of reach here, and why. The tier of real processes or a suite of its own has it. */
export const unreachable: Readonly<Record<string, string>> = {
  'edge intent armed accept': 'only after Redis was set back between gate and reply',
  'edge intent prepared accept': 'only after Redis was set back during an upload',
  'edge intent prepared doubt': 'only after Redis was set back: the lake knows an intent that the ledger does not',
  'edge intent armed doubt': 'only after Redis was started anew during an upload',
};

/** Every name that a campaign must reach. */
export const wanted: readonly string[] = [
  ...points,
  ...allEdges.map((edge) => `edge ${edge}`),
  ...deadLetterReasons.map((reason) => `reason ${reason}`),
  ...createClasses.map((name) => `create ${name}`),
  ...rowClasses.map((kind) => `row ${kind}`),
  ...listForms.map((form) => `list ${form}`),
  'leak booked',
  'leak covered',
].filter((name) => !(name in unreachable));

/** How often each name must be reached (reliability.md 7). */
export const timesWanted = 30;
