import { randomUUID } from 'node:crypto'
import type { Clock } from '../kernel/clock.ts'
import { type Flight, SingleFlight } from '../kernel/single-flight.ts'
import type { CacheStore, EntryRequest, Found, Payload } from './cache-store.ts'
import type { FigureCounter } from './figures.ts'
import { firstPollMs, leaseMs, leaseWaitMs, OverdueLeases } from './lease.ts'

/** An entry to read, with the longest life that its fill may ask for, in milliseconds. */
export interface ReadRequest extends EntryRequest {
  readonly keepMs: number
}

/** What a load found for one entry. */
export interface Loaded {
  readonly payload: Payload
  /** Milliseconds to keep it, or 0 to hand it out without keeping it. */
  readonly ttlMs: number
}

/** Reads entries from the database, one {@link Loaded} for each request, in their order. */
export type Load = (requests: readonly ReadRequest[]) => Promise<readonly Loaded[]>

/** What proves that a load's result is still current: its lease and the stamps as they were before it began. */
interface LeaseProof {
  readonly token: string
  readonly stamps: readonly string[]
}
/** A flight gives a payload, or nothing if somebody else holds the lease: then look again. */
type PayloadFlight = Flight<Payload | undefined, LeaseProof>
interface Led {
  readonly request: ReadRequest
  readonly flight: PayloadFlight
  readonly seen: string | undefined
}

/** Without a store nothing proves a running load current: callers wait for it at most so long, then load once more. */
const unleasedWaitMs = 50

/** What a {@link ReadThrough} works with. */
export interface ReadThroughParts {
  readonly store: CacheStore
  readonly clock: Clock
  /** Resolves to false while invalidations of this process have not reached the store: nothing is read from it then. */
  readonly settled: () => boolean | Promise<boolean>
}

/**
 * Reads entries through the cache. A read never gives what was current only before it began: a hit has its stamps checked in
 * the same round trip, a load is shared only with those who came before it began or who found its lease intact, and a
 * result is stored only under a lease that no invalidation has ended. Whatever fails in the store, the database answers.
 */
export class ReadThrough {
  readonly #parts: ReadThroughParts
  readonly #flights = new SingleFlight<Payload | undefined, LeaseProof>()
  readonly #overdue = new OverdueLeases()

  constructor(parts: ReadThroughParts) {
    this.#parts = parts
  }

  /** What is loading one of these now is not kept, and nobody joins it any more. */
  fence(keys: ReadonlySet<string>): void {
    this.#flights.fence(keys)
  }

  /** The payload of an entry that is at hand in this process, or `undefined` if {@link read} must tell. */
  readNow(request: EntryRequest, figures: FigureCounter): Payload | undefined {
    const { store, settled } = this.#parts
    if (store.readNow === undefined || settled() !== true) return undefined
    const startedAt = figures.samplesNow() ? performance.now() : undefined
    const payload = store.readNow(request)
    if (payload === undefined) return undefined
    if (startedAt !== undefined) figures.sampled(performance.now() - startedAt)
    figures.answeredNow(payload)
    return payload
  }

  /** The payloads of the entries, in order; what is missing is loaded by one call of `load`. Rejects as `load` does. */
  async read(requests: readonly ReadRequest[], load: Load, figures: FigureCounter): Promise<Payload[]> {
    const found = await this.#look(requests, figures)
    const hits = found?.flatMap((entry) => (entry.state === 'hit' ? [entry.payload] : [])) ?? []
    figures.answered(hits, requests.length - hits.length)
    if (found === undefined) return this.#readUnleased(requests, load, figures)
    if (hits.length === requests.length) return hits
    const led: Led[] = []
    const payloads = requests.map((request, index) => {
      const entry = found[index] as Found
      if (entry.state === 'hit') return entry.payload
      const again = (payload: Payload | undefined) =>
        payload === undefined ? this.#readLater(request, load, figures, undefined) : payload
      const shared = this.#joinable(request.key, entry)
      if (shared !== undefined) return shared.result.then(again)
      if (entry.state === 'leased') return this.#readLater(request, load, figures, entry.token)
      const flight = this.#flights.open(request.key, request.stamps)
      led.push({ request, flight, seen: entry.seen })
      return flight.result.then(again)
    })
    if (led.length > 0) void this.#lead(led, load, figures)
    return Promise.all(payloads)
  }

  /** Looks until the holder of the lease has filled the entry or given it up, and at the end loads without keeping. */
  async #readLater(request: ReadRequest, load: Load, figures: FigureCounter, token: string | undefined): Promise<Payload> {
    const { clock } = this.#parts
    const deadline = clock.now() + leaseWaitMs
    let waitedFor = token
    for (let pauseMs = firstPollMs; clock.now() < deadline; pauseMs = Math.min(pauseMs * 2, 32)) {
      if (waitedFor !== undefined && this.#overdue.has(waitedFor)) break
      await clock.wait(pauseMs)
      const found = (await this.#look([request], figures))?.[0]
      if (found === undefined) break
      if (found.state === 'hit') return found.payload
      const shared = this.#joinable(request.key, found)
      if (shared === undefined && found.state === 'leased') {
        if (clock.now() >= deadline && found.token === waitedFor) this.#overdue.add(found.token)
        waitedFor ??= found.token
        continue
      }
      const flight = shared ?? this.#flights.open(request.key, request.stamps)
      if (shared === undefined) {
        void this.#lead([{ request, flight, seen: found.state === 'absent' ? found.seen : undefined }], load, figures)
      }
      const payload = await flight.result
      if (payload !== undefined) return payload
    }
    return (await this.#readUnleased([request], load, figures))[0]
  }

  async #look(requests: readonly ReadRequest[], figures: FigureCounter): Promise<readonly Found[] | undefined> {
    try {
      // Not awaited when it is settled already: every turn of the event loop counts on a hit.
      const settled = this.#parts.settled()
      if (settled !== true && !(await settled)) return undefined
      const startedAt = performance.now()
      const found = await this.#parts.store.read(requests)
      figures.looked(performance.now() - startedAt, requests.length)
      return found
    } catch {
      figures.errors += 1
      return undefined
    }
  }

  /** The flight whose result a caller may share that found this in the store after it came. */
  #joinable(key: string, found: Found): PayloadFlight | undefined {
    const flight = this.#flights.latest(key)
    if (flight === undefined || !flight.begun) return flight
    const { proof } = flight
    const current =
      proof !== undefined &&
      found.state === 'leased' &&
      found.token === proof.token &&
      found.stamps.every((stamp, index) => stamp === proof.stamps[index])
    return current ? flight : undefined
  }

  /** Takes the leases, loads what they were granted for, and fills. Ends every flight; never rejects. */
  async #lead(led: readonly Led[], load: Load, figures: FigureCounter): Promise<void> {
    const { store } = this.#parts
    const leases = led.map(({ request, seen }) => ({ ...request, token: randomUUID(), seen }))
    let granted: readonly (readonly string[] | undefined)[]
    try {
      granted = await store.acquire(leases, leaseMs(figures.recentLoadMs))
    } catch {
      figures.errors += 1
      return this.#loadUnleased(led, load, figures)
    }
    const own = led.flatMap(({ request, flight }, index) => {
      const stamps = granted[index]
      if (stamps !== undefined) return [{ request, flight, proof: { token: leases[index]?.token as string, stamps } }]
      flight.resolve(undefined)
      return []
    })
    if (own.length === 0) return
    for (const { flight, proof } of own) flight.begin(proof)
    try {
      const loaded = await timedLoad(
        own.map(({ request }) => request),
        load,
        figures,
      )
      // Stored before it is handed out: who comes next finds it.
      await this.#fill(own, loaded, figures)
      for (const [index, { flight }] of own.entries()) flight.resolve(loaded[index]?.payload)
    } catch (error) {
      await this.#fill(own, [], figures)
      for (const { flight } of own) flight.reject(error)
    }
  }

  /** Stores what was loaded, and gives back the leases of what is not to be kept. Never rejects. */
  async #fill(
    own: readonly { readonly request: ReadRequest; readonly flight: PayloadFlight; readonly proof: LeaseProof }[],
    loaded: readonly Loaded[],
    figures: FigureCounter,
  ): Promise<void> {
    const fills = own.map(({ request: { key, version }, flight, proof }, index) => {
      const { payload, ttlMs } = loaded[index] ?? { payload: undefined, ttlMs: 0 }
      const keep = ttlMs > 0 && !flight.fenced
      return { key, version, ...proof, payload: keep ? payload : undefined, ttlMs: Math.max(1, ttlMs) }
    })
    const fenced = own.filter(({ flight }, index) => flight.fenced && (loaded[index]?.ttlMs ?? 0) > 0).length
    try {
      const stored = await this.#parts.store.fill(fills)
      figures.refusedFills += fenced + fills.filter(({ payload }, index) => payload !== undefined && !stored[index]).length
    } catch {
      figures.errors += 1
    }
  }

  /** Reads from the database while the store does not help: callers share what has not begun, and nothing is kept. */
  #readUnleased(requests: readonly ReadRequest[], load: Load, figures: FigureCounter): Promise<Payload[]> {
    const led: Led[] = []
    const payloads = requests.map((request) => {
      const latest = this.#flights.latest(request.key)
      const flight = latest?.begun === false ? latest : this.#flights.open(request.key, request.stamps)
      if (flight !== latest) led.push({ request, flight, seen: undefined })
      const again = (payload: Payload | undefined) =>
        payload === undefined ? this.#readUnleased([request], load, figures).then((found) => found[0]) : payload
      return { flight, latest, result: flight.result.then(again) }
    })
    if (led.length > 0) {
      const running = payloads.flatMap(({ flight, latest }) => (latest === undefined || latest === flight ? [] : [latest.result]))
      const free =
        running.length === 0 ? undefined : Promise.race([Promise.allSettled(running), this.#parts.clock.wait(unleasedWaitMs)])
      void (free ?? Promise.resolve()).then(() => this.#loadUnleased(led, load, figures))
    }
    return Promise.all(payloads.map(({ result }) => result))
  }

  /** Never rejects. */
  async #loadUnleased(led: readonly Led[], load: Load, figures: FigureCounter): Promise<void> {
    for (const { flight } of led) flight.begin()
    try {
      const loaded = await timedLoad(
        led.map(({ request }) => request),
        load,
        figures,
      )
      for (const [index, { flight }] of led.entries()) flight.resolve(loaded[index]?.payload)
    } catch (error) {
      for (const { flight } of led) flight.reject(error)
    }
  }
}

async function timedLoad(requests: readonly ReadRequest[], load: Load, figures: FigureCounter): Promise<readonly Loaded[]> {
  const startedAt = performance.now()
  try {
    return await load(requests)
  } finally {
    figures.loaded(performance.now() - startedAt, requests.length)
  }
}
