import type { Clock } from '../kernel/clock.ts'
import { inRootContext } from '../kernel/root-context.ts'
import type { CacheStore, Hit, Payload } from './cache-store.ts'
import { encode } from './codec.ts'
import type { FigureCounter } from './figures.ts'
import type { Load, ReadRequest } from './load.ts'
import { withinMoment } from './within-moment.ts'

/** What a {@link ConsistencyProbe} works with. */
export interface ProbeParts {
  readonly store: CacheStore
  readonly clock: Clock
  /** False while this process knows of invalidations that have not reached the store: it then serves nothing from it. */
  readonly settled: () => boolean | Promise<boolean>
  /** Within this time every change of a row has expired its entry, also after a crash; in milliseconds. */
  readonly graceMs: number
}

/** More at once would be a load of its own on the database: further samples are left out. */
const mostAtOnce = 8

/**
 * Compares a sample of hits with the primary. A difference alone proves nothing: the row may have been written between the two
 * reads, or its invalidation may be on the way. So the same entry is looked for once more when every invalidation must have
 * arrived. If it still stands, unmarked by the change that was seen, it is inconsistent: that cannot be a false alarm.
 */
export class ConsistencyProbe {
  readonly #parts: ProbeParts
  readonly #closing = new AbortController()
  readonly #running = new Set<Promise<void>>()

  constructor(parts: ProbeParts) {
    this.#parts = parts
  }

  /** Begins to check a hit. Never throws. */
  begin(request: ReadRequest, hit: Hit, shown: Payload, load: Load, figures: FigureCounter): void {
    if (this.#running.size >= mostAtOnce || this.#closing.signal.aborted) return
    const check = async () => {
      try {
        const consistent = await this.#check(request, hit, shown, load)
        if (consistent !== undefined) figures.probed(request.key, consistent)
      } catch {
        // Without database, store or time there is no verdict, and no sample.
      }
    }
    const running = inRootContext(check).finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  /** Ends the waits, and resolves when no check runs, at the latest after a second. */
  async close(): Promise<void> {
    this.#closing.abort()
    await withinMoment(this.#running)
  }

  /** Tells nothing while an entry may stand because the store did not take what was to expire it. */
  async #check(request: ReadRequest, hit: Hit, shown: Payload, load: Load): Promise<boolean | undefined> {
    const { store, clock, settled, graceMs } = this.#parts
    if (await this.#agrees(request, shown, load)) return true
    await clock.wait(graceMs, this.#closing.signal)
    if (!(await settled())) return undefined
    const [again] = await store.read([request])
    if (again?.state !== 'hit' || again.seen !== hit.seen) return true
    return this.#agrees(request, shown, load)
  }

  async #agrees(request: ReadRequest, shown: Payload, load: Load): Promise<boolean> {
    const [loaded] = await load([request])
    return loaded === undefined || encode(loaded.payload) === encode(shown)
  }
}
