import { randomUUID } from 'node:crypto'
import { inRootContext } from '../kernel/root-context.ts'
import { SingleFlight } from '../kernel/single-flight.ts'
import type { CacheStore, Hit } from './cache-store.ts'
import type { FigureCounter } from './figures.ts'
import { storedPayload } from './freshness.ts'
import { leaseMs } from './lease.ts'
import { type Load, type ReadRequest, timedLoad } from './load.ts'
import { withinMoment } from './within-moment.ts'

/** So many at most in one process, so that they leave the pool to those who wait; what is left out is begun by a later hit. */
const mostAtOnce = 8

/** Names the lease of those who read an entry anew while it is still served. */
const leaseKeyOf = (key: string) => `${key}~`

/**
 * Reads entries past their ttl anew, behind the backs of those who are still served them: once in a process, and once across
 * processes while the lease holds. The new entry takes the place of the old one only if that still stands: an invalidation has
 * deleted it, and then the next reader loads.
 */
export class Revalidation {
  readonly #store: CacheStore
  readonly #flights = new SingleFlight<void, undefined>()
  readonly #running = new Set<Promise<void>>()
  #closed = false

  constructor(store: CacheStore) {
    this.#store = store
  }

  /** What is read anew of these now is not kept. */
  fence(keys: ReadonlySet<string>): void {
    this.#flights.fence(keys)
  }

  /** Begins, unless it is under way here. Never throws. */
  begin(request: ReadRequest, stale: Hit, load: Load, figures: FigureCounter): void {
    if (this.#closed || this.#running.size >= mostAtOnce || this.#flights.latest(request.key) !== undefined) return
    const flight = this.#flights.open(request.key, request.stamps)
    const run = async () => {
      try {
        await this.#run(request, stale, load, figures, () => flight.fenced)
      } catch (error) {
        figures.revalidationFailed(request.key, error)
      }
      flight.resolve()
    }
    const running = inRootContext(run).finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  /** Begins nothing more, and resolves when nothing is under way, at the latest after a second. May be called twice. */
  async close(): Promise<void> {
    this.#closed = true
    await withinMoment(this.#running)
  }

  async #run(request: ReadRequest, stale: Hit, load: Load, figures: FigureCounter, fenced: () => boolean): Promise<void> {
    const { stamps, keepMs } = request
    // With the entry's stamps, so that they live as long as the entry that is to come.
    const lease = { key: leaseKeyOf(request.key), version: '', stamps, token: randomUUID(), seen: undefined, keepMs }
    // Kept after a success until it ends, at most for a ttl: who looked before the new entry was there is not to load again.
    const ms = Math.min(leaseMs(figures.recentLoadMs), request.keepMs - request.staleMs)
    const [granted] = await this.#store.acquire([lease], ms)
    if (granted === undefined) return
    try {
      const [loaded] = await timedLoad([request], load, figures)
      if (loaded === undefined || loaded.ttlMs === 0) return
      const fill = {
        ...{ key: request.key, version: request.version, stamps: stale.stamps, token: randomUUID(), replaces: stale.seen },
        ...storedPayload(request, loaded),
      }
      const [stored] = fenced() ? [false] : await this.#store.fill([fill])
      if (stored !== true) figures.fillsRefused(1)
    } catch (error) {
      // Given back: whoever is served the old entry next may try.
      await this.#store.fill([{ ...lease, payload: undefined, ttlMs: 1 }]).catch(() => undefined)
      throw error
    }
  }
}
