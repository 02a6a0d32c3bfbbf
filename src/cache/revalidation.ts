import { randomUUID } from 'node:crypto'
import { inRootContext } from '../kernel/root-context.ts'
import { type Flight, SingleFlight } from '../kernel/single-flight.ts'
import type { CacheStore, Hit, LeaseRequest } from './cache-store.ts'
import type { FigureCounter } from './figures.ts'
import { storedPayload } from './freshness.ts'
import { revalidationKey } from './key.ts'
import { leaseMs } from './lease.ts'
import { renewLeases } from './lease-renewal.ts'
import { type Load, type ReadRequest, timedLoad } from './load.ts'
import { withinMoment } from './within-moment.ts'

/** So many loads at most in one process, so that they leave the pool to those who wait; what is left out is begun by a later hit. */
const mostAtOnce = 8

/**
 * How long an entry is left alone whose load has failed, here and in other processes: a database in trouble is not to be asked with every hit. Not the same
 * for all, who would come back together.
 */
const pauseMs = () => 750 + Math.random() * 500

/** An entry past its ttl, as it was served. */
export interface StaleEntry {
  readonly request: ReadRequest
  readonly hit: Hit
}

interface Renewal extends StaleEntry {
  readonly flight: Flight<void, undefined>
}

/**
 * Reads entries past their ttl anew, behind the backs of those who are still served them: once in a process, and once across
 * processes while the lease holds; those that were served together by one load. A new entry takes the place of the old one only
 * if that still stands: an invalidation has deleted it, and then the next reader loads.
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

  /** Begins with those that are not under way here. Never throws. */
  begin(stale: readonly StaleEntry[], load: Load, figures: FigureCounter): void {
    if (this.#closed || this.#running.size >= mostAtOnce) return
    const renewals: Renewal[] = []
    for (const { request, hit } of stale) {
      if (this.#flights.latest(request.key) !== undefined) continue
      renewals.push({ request, hit, flight: this.#flights.open(request.key, request.stamps) })
    }
    if (renewals.length === 0) return
    const run = async () => {
      const failed = await this.#run(renewals, load, figures)
      const end = () => {
        for (const { flight } of renewals) flight.resolve()
      }
      if (failed) setTimeout(end, pauseMs()).unref()
      else end()
    }
    const running = inRootContext(run).finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  /** Begins nothing more, and resolves when nothing is under way, at the latest after a second. May be called twice. */
  async close(): Promise<void> {
    this.#closed = true
    await withinMoment(this.#running)
  }

  /** Tells whether it failed. Never rejects. */
  async #run(renewals: readonly Renewal[], load: Load, figures: FigureCounter): Promise<boolean> {
    // With the entries' stamps, so that they live as long as the entries that are to come.
    const leases = renewals.map(({ request: { key, stamps, keepMs } }) => ({
      ...{ key: revalidationKey(key), version: '', stamps, token: randomUUID(), seen: undefined, keepMs },
    }))
    // Kept after a success until it ends, at most for a ttl: who looked before the new entry was there is not to load again.
    const ttlMs = Math.min(...renewals.map(({ request }) => request.keepMs - request.staleMs))
    let own = renewals
    try {
      const lastsMs = Math.min(leaseMs(figures.recentLoadMs), ttlMs)
      const granted = await this.#store.acquire(leases, lastsMs)
      own = renewals.filter((_, index) => granted[index] !== undefined)
      const held = leases.filter((_, index) => granted[index] !== undefined)
      if (own.length === 0) return false
      const endRenewal = renewLeases(this.#store, held, lastsMs, (error) => figures.storeFailed(error))
      await this.#withPause(held, () => this.#renew(own, load, figures).finally(endRenewal))
      return false
    } catch (error) {
      for (const { request } of own) figures.revalidationFailed(request.key, error)
      return true
    }
  }

  /** Leaves something in the place of the leases when it fails: nobody is granted one until that ends. */
  async #withPause(held: readonly LeaseRequest[], renew: () => Promise<void>): Promise<void> {
    try {
      await renew()
    } catch (error) {
      const pauses = held.map((lease) => ({ ...lease, payload: null, ttlMs: Math.round(pauseMs()) }))
      await this.#store.fill(pauses).catch(() => undefined)
      throw error
    }
  }

  async #renew(own: readonly Renewal[], load: Load, figures: FigureCounter): Promise<void> {
    const requests = own.map(({ request }) => request)
    const loaded = await timedLoad(requests, load, figures)
    const kept = own.flatMap((renewal, index) => {
      const found = loaded[index]
      return found === undefined || found.ttlMs === 0 ? [] : [{ ...renewal, found }]
    })
    const current = kept.filter(({ flight }) => !flight.fenced)
    const fills = current.map(({ request, hit, found }) => ({
      ...{ key: request.key, version: request.version, stamps: hit.stamps, token: randomUUID(), replaces: hit.seen },
      ...storedPayload(request, found),
    }))
    const stored = fills.length === 0 ? [] : await this.#store.fill(fills)
    figures.fillsRefused(kept.length - stored.filter(Boolean).length)
  }
}
