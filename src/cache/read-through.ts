import type { Clock } from '../kernel/clock.ts'
import type { CacheStore, Found, Payload } from './cache-store.ts'
import { ConsistencyProbe } from './consistency-probe.ts'
import type { FigureCounter } from './figures.ts'
import { shownPayload } from './freshness.ts'
import { LaterReads } from './later-reads.ts'
import { OverdueLeases } from './lease.ts'
import type { Load, ReadRequest } from './load.ts'
import { type Led, Loads, type PayloadFlight } from './loads.ts'
import { Revalidation, type StaleEntry } from './revalidation.ts'

/** What a {@link ReadThrough} works with. */
export interface ReadThroughParts {
  readonly store: CacheStore
  readonly clock: Clock
  /** False while invalidations of this process, or what was left to be swept before it came, have not reached the store: nothing is read from it then. */
  readonly settled: () => boolean | Promise<boolean>
  /** Within this time every change of a row has expired its entry; in milliseconds. */
  readonly graceMs: number
  /** Other processes use the store too. */
  readonly shared?: boolean
}

/**
 * Reads entries through the cache. A read never gives what was current only before it began: a hit has its stamps checked in
 * the same round trip, a load is shared only with those who came before it began or who found its lease intact, and a
 * result is stored only under a lease that no invalidation has ended. Whatever fails in the store, the database answers.
 */
export class ReadThrough {
  readonly #parts: ReadThroughParts
  readonly #loads: Loads
  readonly #overdue = new OverdueLeases()
  readonly #revalidation: Revalidation
  readonly #probe: ConsistencyProbe

  constructor(parts: ReadThroughParts) {
    this.#parts = parts
    this.#loads = new Loads(parts)
    this.#revalidation = new Revalidation(parts.store)
    this.#probe = new ConsistencyProbe({ ...parts, graceMs: parts.graceMs + (parts.store.copiesMs ?? 0) })
  }

  /** What is loading one of these now is not kept, and nobody joins it any more. */
  fence(keys: ReadonlySet<string>): void {
    this.#loads.fence(keys)
    this.#revalidation.fence(keys)
  }

  /** Resolves when nothing runs any more behind the backs of readers. */
  async close(): Promise<void> {
    await Promise.all([this.#loads.close(), this.#revalidation.close(), this.#probe.close()])
  }

  /** The payload of an entry that is at hand in this process, or `undefined` if {@link read} must tell. */
  readNow(request: ReadRequest, figures: FigureCounter): Payload | undefined {
    const { store, settled } = this.#parts
    if (store.readNow === undefined || settled() !== true) return undefined
    // What is more than a plain hit is up to read().
    if (request.staleMs > 0 || (request.probe > 0 && Math.random() < request.probe)) return undefined
    const startedAt = figures.samplesNow() ? performance.now() : undefined
    const payload = store.readNow(request)
    if (payload === undefined) return undefined
    if (startedAt !== undefined) figures.sampled(performance.now() - startedAt)
    figures.answeredNow(payload)
    return payload
  }

  /**
   * The payloads of the entries, in order; what is missing is loaded by one call of `load`. Rejects as `load` does.
   *
   * @param fresh reads all from the database, in loads that begin after this call.
   */
  async read(requests: readonly ReadRequest[], load: Load, figures: FigureCounter, fresh = false): Promise<Payload[]> {
    // A copy tells nothing of the entry that is to be replaced.
    if (fresh) this.#parts.store.dropCopies?.(requests.map(({ key }) => key))
    const found = await this.#look(requests, figures)
    if (found === undefined || fresh) figures.answered([], requests.length)
    if (found === undefined) return this.#loads.readUnleased(requests, load, figures)
    return fresh ? this.#readFresh(requests, found, load, figures) : this.#readFound(requests, found, load, figures)
  }

  #readFound(
    requests: readonly ReadRequest[],
    found: readonly Found[],
    load: Load,
    figures: FigureCounter,
  ): Payload[] | Promise<Payload[]> {
    const plain = plainHits(requests, found)
    if (plain !== undefined) {
      figures.answered(plain, 0, countAtHand(found))
      return plain
    }
    const hits: Payload[] = []
    const led: Led[] = []
    const stale: StaleEntry[] = []
    const later = this.#later(load, figures)
    const payloads = requests.map((request, index) => {
      const entry = found[index] as Found
      if (entry.state === 'hit') {
        const shown = shownPayload(request, entry.payload)
        hits.push(shown.payload)
        if (shown.stale) stale.push({ request, hit: entry })
        else if (request.probe > 0 && Math.random() < request.probe) {
          this.#probe.begin(request, entry, shown.payload, load, figures)
        }
        return shown.payload
      }
      const shared = this.#loads.joinable(request.key, entry)
      if (shared === undefined && entry.state === 'leased') return later.read(request, entry.token)
      if (shared === undefined && this.#loads.standsBack(request.key, entry)) return later.read(request, undefined)
      const flight = shared ?? this.#loads.open(request)
      if (shared === undefined) led.push({ request, flight, seen: entry.state === 'absent' ? entry.seen : undefined })
      return later.after(flight, request)
    })
    figures.answered(hits, requests.length - hits.length, countAtHand(found), stale.length)
    if (stale.length > 0) this.#revalidation.begin(stale, load, figures)
    if (led.length > 0) this.#loads.lead(led, load, figures)
    return Promise.all(payloads)
  }

  /**
   * Reads what was found from the database all the same. Who is loading it already began too early: his lease is ended, or he would
   * put what is older in the place of this.
   */
  #readFresh(requests: readonly ReadRequest[], found: readonly Found[], load: Load, figures: FigureCounter): Promise<Payload[]> {
    const led: Led[] = []
    const over: Led[] = []
    const running: PayloadFlight[] = []
    const payloads = requests.map((request, index) => {
      const entry = found[index] as Found
      const latest = this.#loads.latest(request.key)
      if (latest?.begun === false) return latest.result
      const flight = this.#loads.open(request)
      if (entry.state !== 'leased') led.push({ request, flight, seen: entry.seen })
      else {
        over.push({ request, flight, seen: undefined })
        if (latest !== undefined) running.push(latest)
      }
      return flight.result
    })
    if (led.length > 0) this.#loads.lead(led, load, figures)
    if (over.length > 0) this.#loads.leadOver(over, running, load, figures)
    return this.#loads.orUnleased(requests, payloads, load, figures)
  }

  #later(load: Load, figures: FigureCounter): LaterReads {
    const look = (requests: readonly ReadRequest[]) => this.#look(requests, figures)
    return new LaterReads({ clock: this.#parts.clock, loads: this.#loads, overdue: this.#overdue, look, load, figures })
  }

  async #look(requests: readonly ReadRequest[], figures: FigureCounter): Promise<readonly Found[] | undefined> {
    const settled = this.#parts.settled()
    if (settled !== true && !(await settled)) return undefined
    try {
      const startedAt = performance.now()
      const { store } = this.#parts
      const found = await store.read(requests)
      if (found.length !== requests.length) {
        throw new TypeError(`The cache store ${store.name} answered ${found.length} of ${requests.length} requests`)
      }
      figures.looked(performance.now() - startedAt, requests.length)
      return found
    } catch (error) {
      figures.storeFailed(error)
      return undefined
    }
  }
}

function countAtHand(found: readonly Found[]): number {
  let atHand = 0
  for (const entry of found) if (entry.state === 'hit' && entry.atHand === true) atHand += 1
  return atHand
}

/** The payloads, if all were found and nothing is to be done but to give them. */
function plainHits(requests: readonly ReadRequest[], found: readonly Found[]): Payload[] | undefined {
  const payloads: Payload[] = []
  for (const [index, { staleMs, probe }] of requests.entries()) {
    const entry = found[index] as Found
    if (entry.state !== 'hit' || staleMs > 0 || probe > 0) return undefined
    payloads.push(entry.payload)
  }
  return payloads
}
