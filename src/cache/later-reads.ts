import type { Clock } from '../kernel/clock.ts'
import type { Found, Payload } from './cache-store.ts'
import type { FigureCounter } from './figures.ts'
import { shownPayload } from './freshness.ts'
import { firstPollMs, leaseWaitMs, longestPollMs, longestWaitMs, type OverdueLeases } from './lease.ts'
import type { Load, ReadRequest } from './load.ts'
import type { Led, Loads, PayloadFlight } from './loads.ts'

/** What {@link LaterReads} of one call work with. */
export interface LaterReadsParts {
  readonly clock: Clock
  readonly loads: Loads
  readonly overdue: OverdueLeases
  /** What the store has for these; `undefined` while it does not help. */
  readonly look: (requests: readonly ReadRequest[]) => Promise<readonly Found[] | undefined>
  readonly load: Load
  readonly figures: FigureCounter
}

/** An entry for which somebody else holds the lease, or is to have it. */
interface Awaited {
  readonly request: ReadRequest
  readonly resolve: (payload: Payload | Promise<Payload>) => void
  readonly reject: (reason: unknown) => void
  /** The lease that was found last. */
  token: string | undefined
  /** Since when that one is waited for. */
  since: number
}

/**
 * The entries of one call that others are loading. They are looked for together until their holders have filled them or given
 * them up; what is still missing at the end is read by one load, however much it is, and not kept. The end comes after one wait,
 * however many leases invalidations have ended meanwhile; a load that has failed makes it begin anew.
 */
export class LaterReads {
  readonly #parts: LaterReadsParts
  readonly #awaited = new Set<Awaited>()
  #looking = false
  /** When the call began to wait, and since when the present wait counts: what comes later waits for the rest of it. */
  #begunAt = Number.NaN
  #since: number | undefined
  /** When the last look began: an answer may come late, and tells nothing of the time since. */
  #lookedAt = Number.NEGATIVE_INFINITY

  constructor(parts: LaterReadsParts) {
    this.#parts = parts
  }

  /** The payload that the holder of the lease fills in, or what the database has if he does not. */
  read(request: ReadRequest, token: string | undefined): Promise<Payload> {
    return new Promise((resolve, reject) => {
      this.#awaited.add({ request, resolve, reject, token, since: this.#parts.clock.now() })
      if (this.#looking) return
      this.#looking = true
      // Those whose leases are refused together come in together, before the first look.
      process.nextTick(() => void this.#run())
    })
  }

  /** The payload of a flight; if somebody else turns out to hold the lease, what he fills in. */
  async after({ result }: PayloadFlight, request: ReadRequest): Promise<Payload> {
    const payload = await result
    return payload === undefined ? this.read(request, undefined) : payload
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { loads, load, figures } = this.#parts
    let looked: Promise<boolean>
    do {
      looked = this.#lookOut()
      await Promise.allSettled([looked])
      // Who came in as the last look ended has not waited yet.
    } while ((await looked.catch(() => false)) && this.#worthAWait())
    const left = [...this.#awaited]
    this.#awaited.clear()
    this.#looking = false
    if (left.length === 0) return
    try {
      await looked // whatever went wrong, those who wait must hear of it
      const requests = left.map(({ request }) => request)
      const payloads = await loads.readUnleased(requests, load, figures)
      for (const [index, { resolve }] of left.entries()) resolve(payloads[index])
    } catch (error) {
      for (const { reject } of left) reject(error)
    }
  }

  /** Looks until nothing is left that is worth the wait; tells whether the store has helped. */
  async #lookOut(): Promise<boolean> {
    const { clock, look } = this.#parts
    if (this.#since === undefined) this.#since = this.#begunAt = clock.now()
    for (let pauseMs = firstPollMs; this.#worthAWait(); pauseMs = Math.min(pauseMs * 2, longestPollMs)) {
      await clock.wait(pauseMs)
      this.#lookedAt = clock.now()
      const asked = [...this.#awaited]
      const found = await look(asked.map(({ request }) => request))
      if (found === undefined) return false
      this.#take(asked, found, clock.now())
    }
    return true
  }

  /** The caller gets all at once, so one that is worth the wait holds the others, which are then read with it. */
  #worthAWait(): boolean {
    if (this.#hasWaited()) return false
    for (const { token } of this.#awaited) if (token === undefined || !this.#parts.overdue.has(token)) return true
    return false
  }

  #hasWaited(): boolean {
    return this.#since === undefined || this.#lookedAt >= this.#since + leaseWaitMs
  }

  /** Begins the wait anew for an entry whose load has failed: who holds its lease now has just begun. */
  #waitAnew({ token }: Awaited, entry: Found, now: number): void {
    if (entry.state === 'hit' || entry.afterFailure !== true) return
    if (entry.state === 'leased' && entry.token === token) return
    if (now < this.#begunAt + longestWaitMs) this.#since = now
  }

  /** Leaves one to wait; a lease that it has waited for in vain is overdue. */
  #leave(awaited: Awaited, token: string | undefined, now: number): void {
    if (token === undefined || (awaited.token !== undefined && awaited.token !== token)) awaited.since = now
    awaited.token = token
    if (token !== undefined && this.#hasWaited() && awaited.since <= (this.#since as number)) this.#parts.overdue.add(token)
  }

  /** Leaves those that are leased still, or are left to others. */
  #take(asked: readonly Awaited[], found: readonly Found[], now: number): void {
    const { loads, load, figures } = this.#parts
    const led: Led[] = []
    for (const [index, awaited] of asked.entries()) {
      const entry = found[index] as Found
      const { request } = awaited
      this.#waitAnew(awaited, entry, now)
      const shared = entry.state === 'hit' ? undefined : loads.joinable(request.key, entry)
      if (shared === undefined && (entry.state === 'leased' || loads.standsBack(request.key, entry))) {
        this.#leave(awaited, entry.state === 'leased' ? entry.token : undefined, now)
        continue
      }
      this.#awaited.delete(awaited)
      if (entry.state === 'hit') {
        awaited.resolve(shownPayload(request, entry.payload).payload)
        continue
      }
      const flight = shared ?? loads.open(request)
      if (shared === undefined) led.push({ request, flight, seen: entry.state === 'absent' ? entry.seen : undefined })
      awaited.resolve(this.after(flight, request))
    }
    if (led.length > 0) loads.lead(led, load, figures)
  }
}
