/** What a stage of the benchmark is given. */
import type { Children } from '../children.ts';
import type { Row } from '../table.ts';

export interface Bench {
  readonly children: Children;
  /** An empty folder of the stage's own. */
  readonly folder: string;
  /** How often everything is measured; the slow figures say when they are measured less often. */
  readonly runs: number;
  /** A tenth of the work, for a look in between; goals are judged all the same. */
  readonly isQuick: boolean;
}

/** Measures one stage. */
export type Stage = (bench: Bench) => Promise<readonly Row[]>;
