/** A world with real processes, and beside it the library as an ETL job opens it, in this process and on the same home. */
import * as library from '../cli/library.ts';
import { openWorld, type World } from './chaos/world.ts';

export interface LibraryWorld {
  readonly world: World;
  readonly plimsoll: library.Installation;
  /** Closes the installation, then the world. */
  close(): Promise<void>;
}

/** Opens both; `settings` are environment variables of the commands and of the library. */
export async function openLibraryWorld(settings: Readonly<Record<string, string>> = {}): Promise<LibraryWorld> {
  const world = await openWorld({}, settings);
  const plimsoll = await library.openPlimsoll({ env: { ...settings, ANTHROPIC_API_KEY: 'sk-test-canary-7781' }, home: world.home }).catch(async (error: unknown) => {
    await world.close();
    throw error;
  });
  return {
    world, plimsoll,
    async close() {
      await plimsoll.close();
      await world.close();
    },
  };
}
