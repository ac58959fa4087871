/**
 * Watches the `\uXXXX` escapes of one string for halves of surrogate pairs that stand alone. JavaScript's own parser lets them pass; the
 * service does not, and one such document refuses a whole batch, so a client has to meet it here first.
 */
export class SurrogateWatch {
  #expectsLow = false;

  /** True after a high half: the very next thing has to be the escape of a low half. */
  get expectsLow(): boolean {
    return this.#expectsLow;
  }

  /** Looks at one escaped code unit; returns what is wrong with it, or undefined. */
  see(unit: number): string | undefined {
    const isLow = unit >= 0xdc00 && unit <= 0xdfff;
    if (this.#expectsLow) {
      this.#expectsLow = false;
      return isLow ? undefined : 'invalid low surrogate in string';
    }
    if (isLow) {
      return 'invalid high surrogate in string';
    }
    this.#expectsLow = unit >= 0xd800 && unit <= 0xdbff;
    return undefined;
  }
}
