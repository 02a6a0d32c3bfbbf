import { randomUUID } from 'node:crypto'
import type { Clock } from '../kernel/clock.ts'
import { type Flight, SingleFlight } from '../kernel/single-flight.ts'
import type { CacheStore, Found, Payload } from './cache-store.ts'
import type { FigureCounter } from './figures.ts'
import { storedPayload } from './freshness.ts'
import { failureMs, leaseMs, OwnFailures } from './lease.ts'
import { longestLoadMs, renewLeases } from './lease-renewal.ts'
import { type Load, type Loaded, type ReadRequest, timedLoad } from './load.ts'
import { withinMoment } from './within-moment.ts'

/** What proves that a load's result is still current: its lease and the stamps as they were before it began. */
export interface LeaseProof {
  readonly token: string
  readonly stamps: readonly string[]
}
/** A flight gives a payload, or nothing if somebody else holds the lease: then look again. */
export type PayloadFlight = Flight<Payload | undefined, LeaseProof>
/** An entry that somebody here is to load. */
export interface Led {
  readonly request: ReadRequest
  readonly flight: PayloadFlight
  readonly seen: string | undefined
}

/** Where nothing proves a running load current, callers wait for it at most so long, then load once more. */
const overlapWaitMs = 50

/**
 * The loads of one process: under a lease of the store, so that the result may be kept, or without one, when the store does not
 * help.
 */
export class Loads {
  readonly #store: CacheStore
  readonly #clock: Clock
  readonly #flights = new SingleFlight<Payload | undefined, LeaseProof>()
  readonly #running = new Set<Promise<void>>()
  readonly #failures: OwnFailures | undefined

  /** @param shared tells that other processes use the store too. */
  constructor({
    store,
    clock,
    shared = false,
  }: { readonly store: CacheStore; readonly clock: Clock; readonly shared?: boolean }) {
    this.#store = store
    this.#clock = clock
    this.#failures = shared ? new OwnFailures(clock) : undefined
  }

  /** What is loading one of these now is not kept, and nobody joins it any more. */
  fence(keys: ReadonlySet<string>): void {
    this.#flights.fence(keys)
  }

  /** The flight of a key that readers meet first. */
  latest(key: string): PayloadFlight | undefined {
    return this.#flights.latest(key)
  }

  /** Opens a flight; whoever does so must lead it. */
  open({ key, stamps }: ReadRequest): PayloadFlight {
    return this.#flights.open(key, stamps)
  }

  /** The flight whose result a caller may share that found this in the store after it came. */
  joinable(key: string, found: Found): PayloadFlight | undefined {
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

  /** Tells whether what was found is left to other processes for a moment: a load of it has just failed here. */
  standsBack(key: string, found: Found): boolean {
    return found.state === 'absent' && found.afterFailure === true && this.#failures?.has(key) === true
  }

  /** Takes the leases, loads what they were granted for, and fills. Ends every flight; never throws. */
  lead(led: readonly Led[], load: Load, figures: FigureCounter): void {
    this.#track(this.#lead(led, load, figures))
  }

  /**
   * The same for what somebody loads who began too early: his lease is ended, so that what he read is not kept. Those who are
   * loading here get a moment to end; who comes meanwhile shares what has not begun.
   */
  leadOver(led: readonly Led[], running: readonly PayloadFlight[], load: Load, figures: FigureCounter): void {
    this.#track(this.#leadOver(led, running, load, figures))
  }

  /** Resolves when nothing is under way, at the latest after a second. */
  close(): Promise<void> {
    return withinMoment(this.#running)
  }

  #track(leading: Promise<void>): void {
    const running = leading.finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  async #leadOver(led: readonly Led[], running: readonly PayloadFlight[], load: Load, figures: FigureCounter): Promise<void> {
    await this.#ended(running)
    try {
      await this.#store.invalidate(led.map(({ request }) => request.key))
    } catch (error) {
      figures.storeFailed(error)
      return this.#loadUnleased(led, load, figures)
    }
    return this.#lead(led, load, figures)
  }

  /** Resolves when these have ended, at the latest after a moment. */
  async #ended(running: readonly PayloadFlight[]): Promise<void> {
    if (running.length === 0) return
    await Promise.race([Promise.allSettled(running.map(({ result }) => result)), this.#clock.wait(overlapWaitMs)])
  }

  async #lead(led: readonly Led[], load: Load, figures: FigureCounter): Promise<void> {
    const lastsMs = leaseMs(figures.recentLoadMs)
    // With stamps that outlive the longest load, and then the entry: without them nothing proves that it is current.
    const stampsMs = longestLoadMs + lastsMs
    const leases = led.map(({ request, seen }) => {
      return { ...request, token: randomUUID(), seen, keepMs: request.keepMs + stampsMs }
    })
    let granted: readonly (readonly string[] | undefined)[]
    try {
      granted = await this.#store.acquire(leases, lastsMs)
    } catch (error) {
      figures.storeFailed(error)
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
    const held = own.map(({ request: { key }, proof: { token } }) => ({ key, token }))
    const endRenewal = renewLeases(this.#store, held, lastsMs, (error) => figures.storeFailed(error))
    try {
      const requests = own.map(({ request }) => request)
      const loaded = await timedLoad(requests, load, figures).finally(endRenewal)
      // On its way before it is handed out: who comes next finds it, or its lease and this flight.
      const filled = this.#fill(own, loaded, figures)
      for (const [index, { flight }] of own.entries()) {
        flight.lingers = filled
        flight.resolve(loaded[index]?.payload)
      }
      await filled
    } catch (error) {
      for (const { request, flight } of own) {
        this.#failures?.add(request.key)
        flight.reject(error)
      }
      await this.#fill(own, undefined, figures)
    }
  }

  /** Stores what was loaded, and gives back the leases of what is not to be kept; without `loaded` the load failed. Never rejects. */
  async #fill(
    own: readonly { readonly request: ReadRequest; readonly flight: PayloadFlight; readonly proof: LeaseProof }[],
    loaded: readonly Loaded[] | undefined,
    figures: FigureCounter,
  ): Promise<void> {
    const fills = own.map(({ request, flight, proof }, index) => {
      const { key, version } = request
      if (loaded === undefined) return { key, version, ...proof, payload: undefined, failed: true, ttlMs: failureMs }
      const { payload, ttlMs } = loaded[index] ?? { payload: undefined, ttlMs: 0 }
      const kept = ttlMs > 0 && !flight.fenced ? storedPayload(request, { payload, ttlMs }) : { payload: undefined, ttlMs: 1 }
      return { key, version, ...proof, ...kept }
    })
    const fenced = own.filter(({ flight }, index) => flight.fenced && (loaded?.[index]?.ttlMs ?? 0) > 0).length
    try {
      const stored = await this.#store.fill(fills)
      figures.fillsRefused(fenced + fills.filter(({ payload }, index) => payload !== undefined && !stored[index]).length)
    } catch (error) {
      figures.storeFailed(error)
    }
  }

  /** Reads from the database while the store does not help: callers share what has not begun, wait a moment for what has, and nothing is kept. */
  readUnleased(requests: readonly ReadRequest[], load: Load, figures: FigureCounter): Promise<Payload[]> {
    const led: Led[] = []
    const running: PayloadFlight[] = []
    const results = requests.map((request) => {
      const latest = this.#flights.latest(request.key)
      if (latest?.begun === false) return latest.result
      const flight = this.open(request)
      led.push({ request, flight, seen: undefined })
      if (latest !== undefined) running.push(latest)
      return flight.result
    })
    if (led.length > 0) void this.#ended(running).then(() => this.#loadUnleased(led, load, figures))
    return this.orUnleased(requests, results, load, figures)
  }

  /** What flights of these give. Those for which somebody else holds the lease give nothing: they are read together, without a lease. */
  async orUnleased(
    requests: readonly ReadRequest[],
    results: readonly Promise<Payload | undefined>[],
    load: Load,
    figures: FigureCounter,
  ): Promise<Payload[]> {
    const payloads = await Promise.all(results)
    const refused = requests.filter((_, index) => payloads[index] === undefined)
    if (refused.length === 0) return payloads
    const read = (await this.readUnleased(refused, load, figures)).values()
    return payloads.map((payload) => (payload === undefined ? read.next().value : payload))
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
