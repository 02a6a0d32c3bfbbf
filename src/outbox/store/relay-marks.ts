/** What the row of a relay tells with each note of what is in hand. */
export interface RelayNote {
  /** The redrives since the relay registered. */
  readonly redrives: number
  /** How many of its marks are written; `undefined` for a relay that is not registered. */
  readonly marks: number | undefined
}

/**
 * Counts the marks of a relay that are known to be written. Its row in the database counts them too, each with the mark itself: when
 * the row has fewer than are known, a crash of the database has undone the last of them.
 */
export class RelayMarks {
  /** The id of the relay. */
  readonly relay: string
  #known = 0
  #undoings = 0

  constructor(relay: string) {
    this.relay = relay
  }

  get known(): number {
    return this.#known
  }

  /** How often marks were found undone. What was read before the last time comes behind what lost its mark, and waits for it. */
  get undoings(): number {
    return this.#undoings
  }

  /**
   * Learns how many marks the row has, and counts on from there; tells whether some were undone.
   *
   * @param before how many were known when the database was asked: one may have been written since.
   */
  learn(marks: number | undefined, before: number): boolean {
    if (marks === undefined) return false
    const undone = marks < before
    if (undone) this.#undoings++
    this.#known = undone ? marks : Math.max(this.#known, marks)
    return undone
  }
}
