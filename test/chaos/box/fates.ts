/**
 * How likely a call is to meet a fault. Every call of a stage may; those that a run makes once or never are struck more
 * often than those that it makes all the time, or their crash points would hardly be reached.
 */

/** Calls that a schedule makes in special situations only. */
const rare: ReadonlySet<string> = new Set([
  'ledger.absolveIntent', 'ledger.bookLeak', 'ledger.disownBatch', 'ledger.fenceIntent', 'ledger.halveArchive', 'ledger.holdIntent', 'ledger.noteStranger',
  'ledger.rejectArchive', 'ledger.stopOnBudget', 'ledger.refuseIntent', 'ledger.doubtIntent', 'ledger.closeArchive', 'ledger.expireLane', 'ledger.readHighWater',
  'ledger.renewLane', 'ledger.split', 'ledger.flushRun', 'ledger.openRun', 'ledger.completeRun', 'ledger.noteLook', 'ledger.watchBatch', 'ledger.deferPoll', 'ledger.flushDue', 'ledger.flushArchives',
  'claude.cancelBatch', 'claude.firstResult', 'claude.listBatches', 'ledger.readClaims',
]);
/** Calls of which each can cost money. */
const grave: ReadonlySet<string> = new Set(['claude.createBatch', 'ledger.sendIntent', 'ledger.armIntent', 'ledger.prepareIntent', 'ledger.acceptIntent', 'ledger.settle', 'ledger.endArchive', 'ledger.exportArchive', 'ledger.sealArchive', 'claude.probe']);

/** The chance that one call of this name meets a fault, while there are some left. */
export function chanceOf(name: string): number {
  if (rare.has(name)) return 0.12;
  return grave.has(name) ? 0.06 : 0.015;
}
