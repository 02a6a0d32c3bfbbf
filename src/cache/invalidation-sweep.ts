import { classifyFailure } from '../database/failure.ts'
import { migrationMissing } from '../database/migration-missing.ts'
import { atMost } from '../kernel/at-most.ts'
import type { Logger } from '../kernel/logger.ts'
import { inRootContext } from '../kernel/root-context.ts'
import { type InvalidationLog, type LoggedInvalidation, readAtOnce, removedAtOnce } from './invalidation-log.ts'

/** What an {@link InvalidationSweep} works with. */
export interface SweepParts {
  readonly log: InvalidationLog
  /** Expires keys; rejects unless the store has acknowledged it. */
  readonly expire: (keys: ReadonlySet<string>) => Promise<void>
  /** What was committed and not expired is expired within this time, in ms. */
  readonly everyMs: number
  readonly logger: Logger
}

/** How long rows whose keys are expired are gathered, to be removed by one statement: far less than their grace. */
const removeAfterMs = 50
/** Rows read at first: while the store is away they pile up, and each look of each process would read many of them in vain. */
const readFirst = 10
/** How long closing waits for a database that does not answer. */
const closingMs = 1000
/** The first pause before another look while none has caught up; each is twice the one before. */
const firstPauseMs = 50
/** How long readers wait for the first look at most: while it has much to do, or hangs, they turn to the database. */
const firstLookMs = 1000

/**
 * Expires what a process committed and did not expire, since it died or its store was away: every process with a cache
 * looks, and whoever comes first does it. Twice does no harm.
 */
export class InvalidationSweep {
  readonly #parts: SweepParts
  /** Half of the time is the pause between looks, half the grace in which the process that committed expires by itself. */
  readonly #halfMs: number
  readonly #done = new Set<string>()
  #swept = 0
  #caughtUp = false
  #firstLook: Promise<unknown> | undefined
  #timer: NodeJS.Timeout | undefined
  #removing: NodeJS.Timeout | undefined
  #running: Promise<void> = Promise.resolve()
  #failing = false
  #stopped = false

  constructor(parts: SweepParts) {
    this.#parts = parts
    this.#halfMs = parts.everyMs / 2
  }

  /** Rows of other processes, or of this one's failures, whose keys were expired here. */
  get swept(): number {
    return this.#swept
  }

  /**
   * True once a look has expired all that was left to be swept before it, and until one meets what the store does not expire: it may answer
   * and take no writes. While it is false the store may still have what was replaced long ago.
   */
  get caughtUp(): boolean {
    return this.#caughtUp
  }

  /** Resolves when the first look is over, however it went, at the latest a second after somebody asked first. Never rejects. */
  firstLook(): Promise<unknown> {
    this.#firstLook ??= atMost(firstLookMs, this.#running)
    return this.#firstLook
  }

  /** Looks at once, and again and again, often until one look has caught up: readers do without the store so long. Keeps no process alive. */
  start(): void {
    let soonMs = firstPauseMs
    const look = async () => {
      await this.#sweep()
      if (this.#stopped) return
      this.#timer = this.#later(this.#caughtUp ? this.#halfMs : Math.min(soonMs, this.#halfMs), look)
      soonMs = this.#caughtUp ? firstPauseMs : soonMs * 2
    }
    inRootContext(() => this.#next(look))
  }

  /** Takes note that a row's keys are expired; the row is removed with others soon. */
  acknowledged(id: string): void {
    if (this.#stopped) return
    this.#done.add(id)
    this.#removing ??= this.#later(removeAfterMs, () => this.#remove())
  }

  /** Ends the looks and removes what is expired; what the database does not answer in a second is left to others. */
  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    clearTimeout(this.#timer)
    clearTimeout(this.#removing)
    await atMost(
      closingMs,
      this.#running.then(() => this.#remove()),
    )
  }

  /** Outside every request's context, on a timer that keeps no process alive. */
  #later(ms: number, run: () => Promise<void>): NodeJS.Timeout {
    return inRootContext(() => setTimeout(() => this.#next(run), ms)).unref()
  }

  /** One after the other. */
  #next(run: () => Promise<void>): void {
    this.#running = this.#running.then(run)
  }

  /** Never rejects. */
  async #sweep(): Promise<void> {
    const begun = performance.now()
    await this.#guarded('swept', async () => {
      for (let limit = readFirst; !this.#stopped; limit = readAtOnce) {
        // Before the first hit all that was committed until now: whoever committed it may have died at once.
        const ageMs = this.#caughtUp ? this.#halfMs : performance.now() - begun
        const rows = await this.#parts.log.olderThan(ageMs, limit)
        const open = rows.filter(({ id }) => !this.#done.has(id))
        if (open.length > 0 && !(await this.#expire(open))) return
        // Before they are removed: whether that succeeds is nothing to readers.
        if (rows.length < limit) this.#caughtUp = true
        if (open.length > 0) await this.#removeAtOnce(open.map(({ id }) => id))
        if (rows.length < limit || (open.length === 0 && limit === readAtOnce)) return
      }
    })
  }

  /** What it fails to remove is passed over for a moment, and tried again. Never rejects. */
  async #removeAtOnce(ids: readonly string[]): Promise<void> {
    const removed = await this.#guarded('removed', () => this.#parts.log.remove(ids))
    if (!removed) for (const id of ids) this.acknowledged(id)
  }

  /** Tells whether the store has acknowledged it; the cache itself tells of its outages. */
  async #expire(open: readonly LoggedInvalidation[]): Promise<boolean> {
    const keys = new Set(open.flatMap((row) => row.keys))
    const stored = await this.#parts.expire(keys).then(
      () => true,
      () => false,
    )
    if (stored) this.#swept += open.length
    else this.#caughtUp = false
    return stored
  }

  /** Never rejects. */
  async #remove(): Promise<void> {
    this.#removing = undefined
    while (this.#done.size > 0) {
      const ids = [...this.#done].slice(0, removedAtOnce)
      const removed = await this.#guarded('removed', () => this.#parts.log.remove(ids))
      // What could not be removed is swept once more, here or elsewhere.
      for (const id of ids) this.#done.delete(id)
      if (!removed) return
    }
  }

  async #guarded(verb: string, run: () => Promise<void>): Promise<boolean> {
    try {
      await run()
      this.#failing = false
      return true
    } catch (error) {
      const missing = migrationMissing(error) !== undefined
      // Before the first migration there is nothing to sweep; a SQLite that another process is writing to will be free again.
      if (missing) this.#caughtUp = true
      const expected = missing || classifyFailure(error) === 'conflict'
      if (!this.#failing && !this.#stopped && !expected) {
        this.#failing = true
        this.#parts.logger.warn(`Rows of cache_invalidations could not be ${verb}; the next sweep tries again`, { error })
      }
      return false
    }
  }
}
