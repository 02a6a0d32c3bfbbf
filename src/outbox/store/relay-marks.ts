/**
 * So many notes a relay writes under one generation of its row. PostgreSQL keeps each version of a row while some transaction may still look
 * at it, for hours where one stands idle, and whoever looks for a row walks over them all. Found by its generation too, those of the
 * generations before are not met.
 */
export const notesPerGeneration = 250

/** What the row of a relay tells with each note of what is in hand. */
export interface RelayNote {
  /** The redrives since the relay registered. */
  readonly redrives: number
  /** How many of its marks are written; `undefined` for a relay that is not registered. */
  readonly marks: number | undefined
}

/**
 * Counts the marks of a relay that are known to be written. Its row in the database counts them too, each with the mark itself: when
 * the row has fewer than are known, a crash of the database has undone the last of them. Knows besides how to find that row.
 */
export class RelayMarks {
  /** The id of the relay. */
  readonly relay: string
  #known = 0
  #undoings = 0
  #generation = 0
  #notes = 0
  #beyond: number | undefined

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

  /** The row's generation is this one, or a later one of which no answer came. */
  get generation(): number {
    return this.#generation
  }

  /** The next note is to begin a new generation. */
  get generationOver(): boolean {
    return this.#notes >= notesPerGeneration
  }

  /** How far the row must count for no mark to pass that was given up; `undefined` when none was. */
  get beyond(): number | undefined {
    return this.#beyond
  }

  /**
   * A mark was given up, and may still be carried out.
   *
   * @param known how many were known when it was sent: it passes by so many, or one more.
   */
  doubt(known: number): void {
    this.#beyond = Math.max(known + 2, this.#beyond ?? 0)
  }

  /** Learns how far the row counts, by which no mark passes that was given up. */
  passedOver(marks: number): void {
    this.#known = marks
    this.#beyond = undefined
  }

  /** Learns of a note in the row, and under which generation it was written. */
  noted(generation = this.#generation): void {
    this.#notes = generation === this.#generation ? this.#notes + 1 : 1
    this.#generation = generation
  }

  /**
   * Learns that no row has our generation or a later one; tells whether to look from the first one on. A crash of the database has undone
   * the last note, or the relay was taken for dead and has registered anew: what was read before comes again.
   */
  missed(): boolean {
    if (this.#generation === 0) return false
    this.#generation = 0
    this.#undoings++
    return true
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

  /** Learns by how many marks the row let one not pass that knew of so many: too few are undone, and what is too many came through late. */
  refused(marks: number, known: number): void {
    if (!this.learn(marks, known)) this.#undoings++
  }
}
