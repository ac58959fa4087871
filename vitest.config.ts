import { defineConfig } from 'vitest/config';

/** Suites that start many processes one after the other: `npm run test:long`. CI runs both. */
export const longSuites = [
  'test/flow/recover.test.ts',
  'test/flow/rehearsal.test.ts',
  'test/flow/home-sharing.test.ts',
  'test/flow/operator.test.ts',
  'test/flow/replan.test.ts',
  'test/flow/quota.test.ts',
  'test/flow/cost.test.ts',
  'test/flow/cache.test.ts',
  'test/flow/events-replay.test.ts',
  'test/flow/latecomer.test.ts',
  'test/flow/budget.test.ts',
  'test/flow/budget-options.test.ts',
  'test/flow/budget-trial.test.ts',
  'test/conformance/store-s3-faults.test.ts',
  'test/flow/doubt-operator.test.ts',
  'test/flow/verbs.test.ts',
  'test/flow/operator-disk.test.ts',
  'test/flow/s3.test.ts',
  'test/flow/readme-s3.test.ts',
  'test/flow/s3-machines.test.ts',
  'test/flow/s3-faults.test.ts',
  'test/flow/listen-faults.test.ts',
  'test/chaos/interrupted-run.test.ts',
  'test/chaos/box-long.test.ts',
  'test/conformance/simulator/cli.test.ts',
  'test/unit/submit-model.test.ts',
  'test/conformance/ledger-property-long.test.ts',
  'test/conformance/ledger-crowd.test.ts',
  'test/conformance/ledger-set-back.test.ts',
  'test/chaos/real/trials.test.ts',
  'test/chaos/real/kills.test.ts',
];

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: longSuites,
    globalSetup: ['test/setup.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: 'forks',
    // By default one core is left idle; the suites wait for processes more than they compute.
    maxWorkers: 2,
  },
});
