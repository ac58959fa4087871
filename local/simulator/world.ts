import type { BatchRunner } from './batchrunner.ts';
import type { SimulatedClock } from './clock.ts';
import type { FaultEngine } from './faults.ts';
import type { InferenceWorld } from './inference.ts';
import type { JudgeDesk } from './judgedesk.ts';
import type { Meters } from './meters.ts';
import type { BatchRecords } from './records.ts';
import type { Settings } from './settings.ts';
import type { TruthLog } from './truth.ts';

/** Everything the handlers share. Built once in `simulator.ts`. */
export interface World {
  readonly settings: Settings;
  readonly clock: SimulatedClock;
  readonly truth: TruthLog;
  readonly faults: FaultEngine;
  readonly judges: JudgeDesk;
  readonly meters: Meters;
  readonly records: BatchRecords;
  readonly runner: BatchRunner;
  readonly inference: InferenceWorld;
  readonly organizationId: string;
  /** The next request id, `req_01…`. */
  readonly nextRequestId: () => string;
}
