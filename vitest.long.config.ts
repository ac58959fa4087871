import { defineConfig } from 'vitest/config';
import usual, { longSuites } from './vitest.config.ts';

export default defineConfig({ test: { ...usual.test, include: longSuites, exclude: [], testTimeout: 180_000 } });
