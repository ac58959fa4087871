import type { FaultRule } from './faults.ts';
import { uniform } from './seeded.ts';

/** Which of the batch's row faults strikes a row. A rule with `rows` strikes that many rows of the batch, one with `rate` that share, one with neither all. */
export function rowFaultOf(rules: readonly FaultRule[], position: number, requests: number, seed: number, label: string): FaultRule | undefined {
  return rules.find((rule, index) => {
    if (rule.rows !== undefined) {
      return ((position + Math.floor(uniform(seed, 'rows', index) * requests)) % requests) < rule.rows;
    }
    return rule.rate === undefined || uniform(seed, 'row', index, label) < rule.rate;
  });
}
