/** Ctrl-C: the first one asks, the second one ends the process as a crash would, which is harmless. */

export interface Interrupt {
  readonly signal: AbortSignal;
  /** Stops listening. */
  stop(): void;
}

/** Aborts on the first SIGINT or SIGTERM, after telling so. */
export function interruptSignal(onInterrupt: () => void = () => undefined): Interrupt {
  const controller = new AbortController();
  const interrupt = (): void => {
    if (controller.signal.aborted) process.exit(130);
    onInterrupt();
    controller.abort();
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  return {
    signal: controller.signal,
    stop() {
      process.off('SIGINT', interrupt);
      process.off('SIGTERM', interrupt);
    },
  };
}
