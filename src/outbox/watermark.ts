/** What the database says about its transactions at one moment. */
export interface SequenceSample {
  /** The last sequence number drawn. */
  readonly last: bigint
  /** Every transaction below this id has ended. */
  readonly xmin: bigint
  /** Every transaction from this id on had not begun. */
  readonly xmax: bigint
}

/**
 * The sequence number below which every event is visible or never will be. Numbers are drawn before the commit, so a lower one
 * may appear after a higher one; it is trusted only once all transactions that ran after it was sampled have ended.
 */
export class Watermark {
  #trusted = 0n
  #candidate: { readonly last: bigint; xmax: bigint | undefined } | undefined

  /** 0 until the third sample at least. */
  get value(): bigint {
    return this.#trusted
  }

  /** Takes a number that is known to be complete. */
  trust(last: bigint): void {
    this.#trusted = last
  }

  /**
   * Takes a sample. Exact, since writers have their transaction id before they draw a number: whoever had drawn one when the
   * first sample was taken is known to the second, and has ended at the third.
   */
  add({ last, xmin, xmax }: SequenceSample): void {
    if (this.#candidate?.xmax !== undefined && xmin >= this.#candidate.xmax) {
      this.#trusted = this.#candidate.last
      this.#candidate = undefined
    }
    if (this.#candidate === undefined) this.#candidate = { last, xmax: undefined }
    else this.#candidate.xmax ??= xmax
  }
}
