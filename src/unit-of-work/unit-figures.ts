import { hasErrorCode } from '../errors.ts'

/** What became of the units of work of one data access in this process; those inside another are savepoints, and not counted. */
export interface UnitFigures {
  /** Units whose transaction committed, whatever became of their commit hooks. */
  readonly committed: number
  /** Units that rejected, of which nothing was saved. With `COMMIT_OUTCOME_UNKNOWN` a unit is in neither of the two. */
  readonly rolledBack: number
  /** Tries that were followed by another one, by what they met: a unit may count here several times. */
  readonly retried: {
    /** A row of a versioned entity that somebody else had changed or deleted. */
    readonly version: number
    /** A serialization failure, a deadlock, or a busy SQLite. */
    readonly conflict: number
  }
}

/** Counts units of work. */
export class UnitCounter {
  #committed = 0
  #rolledBack = 0
  readonly #retried = { version: 0, conflict: 0 }

  /** Counts a unit once it has ended, and gives what it gave. */
  async ended<Result>(unit: Promise<Result>): Promise<Result> {
    try {
      const result = await unit
      this.#committed += 1
      return result
    } catch (error) {
      if (!hasErrorCode(error, 'COMMIT_OUTCOME_UNKNOWN')) this.#rolledBack += 1
      throw error
    }
  }

  retried(reason: keyof UnitFigures['retried']): void {
    this.#retried[reason] += 1
  }

  read(): UnitFigures {
    return { committed: this.#committed, rolledBack: this.#rolledBack, retried: { ...this.#retried } }
  }
}
