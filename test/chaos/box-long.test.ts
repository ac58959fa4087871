/** More seeded schedules on one thread than `box.test.ts` plays. */
import { playSeeds } from './box/many.ts';

playSeeds(101, 300);
