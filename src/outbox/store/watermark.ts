/** What the database says about its sequence and the transactions that drew from it, at one moment. */
export interface SequenceSample {
  /** The last sequence number drawn. */
  readonly last: bigint
  /** The transactions that hold a lock of the recorder, by whatever names each of them alone. */
  readonly holders: readonly string[]
}

/**
 * The sequence number below which every event is visible or never will be. Numbers are drawn before the
 * commit, so a lower one may appear after a higher one; it is trusted only once all who may have drawn a lower one have ended.
 */
export class Watermark {
  #trusted = 0n
  #candidate: { readonly last: bigint; awaited: ReadonlySet<string> | undefined } | undefined

  /** 0 until the second sample at least. */
  get value(): bigint {
    return this.#trusted
  }

  /** Takes a number that is known to be complete. */
  trust(last: bigint): void {
    this.#trusted = last
  }

  /**
   * Takes a sample. Exact, since writers hold a lock from before they draw a number until after their commit is
   * visible: whoever had drawn one when the first sample was taken, and has not ended, is a holder in the second. A
   * transaction that is idle, and keeps PostgreSQL from removing dead rows, holds none, so it does not hold the mark up.
   *
   * Tells whether it begins anew, since numbers that it knew will be drawn again: a copy of the database has taken over, or a backup,
   * that lacks the last of what was written.
   */
  add({ last, holders }: SequenceSample): boolean {
    const candidate = this.#candidate
    const anew = candidate !== undefined && last < candidate.last
    if (anew) {
      this.#trusted = 0n
    } else if (candidate !== undefined) {
      const { awaited } = candidate
      candidate.awaited = new Set(awaited === undefined ? holders : holders.filter((holder) => awaited.has(holder)))
      if (candidate.awaited.size > 0) return false
      this.#trusted = candidate.last
    }
    this.#candidate = { last, awaited: undefined }
    return anew
  }
}
