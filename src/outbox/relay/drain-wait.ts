import { DataAccessError } from '../../errors.ts'
import { type Clock, longestSince, type Moment, momentOf } from '../../kernel/clock.ts'
import type { Logger } from '../../kernel/logger.ts'
import { type RelayStats, readRelays } from '../store/outbox-stats.ts'
import type { OutboxStore } from '../store/outbox-store.ts'
import type { RelayEngine } from './relay-engine.ts'

/** How often a drain looks at those that it waits for, in ms. */
const lookMs = 1000

/** What a {@link DrainWait} works with. */
export interface DrainWaitParts {
  readonly store: OutboxStore
  readonly engine: Pick<RelayEngine, 'id' | 'events' | 'bucketsRead'>
  readonly clock: Clock
  readonly logger: Logger
  readonly leaseMs: number
}

/** Looks after the wait of a drain for what other relays hold: after the length of a lease it says for whom, and sees whether they go on. */
export class DrainWait {
  readonly #parts: DrainWaitParts
  /** When the wait began. */
  #since: Moment | undefined
  #lookedAt: Moment | undefined
  /** Since when all that is due is with relays that are paused. */
  #stuckSince: Moment | undefined
  #told = false

  constructor(parts: DrainWaitParts) {
    this.#parts = parts
  }

  /** The drain waits for nobody. */
  ended(): void {
    this.#since = undefined
    this.#stuckSince = undefined
  }

  /** @throws DataAccessError `PUBLISHER_FAILED` when for the length of a lease what is due lay only with relays whose publisher is away. */
  async goesOn(): Promise<void> {
    const { store, clock, leaseMs } = this.#parts
    this.#since ??= momentOf(clock)
    if (longestSince(this.#lookedAt, clock) < lookMs) return
    const relays = await readRelays(store)
    const paused = relays.filter(({ paused }) => paused?.cause === 'publisher')
    this.#stuckSince = (await this.#liesOnlyWith(paused)) ? (this.#stuckSince ?? momentOf(clock)) : undefined
    this.#lookedAt = momentOf(clock)
    if (this.#stuckSince !== undefined && longestSince(this.#stuckSince, clock) >= leaseMs) throw allPaused(paused)
    if (longestSince(this.#since, clock) >= leaseMs && this.#stuckSince === undefined) this.#tell(relays)
  }

  async #liesOnlyWith(relays: readonly RelayStats[]): Promise<boolean> {
    const { store, engine } = this.#parts
    const held = relays.filter(({ id, buckets }) => id !== engine.id && buckets > 0)
    if (held.length === 0) return false
    const owners = held.map(() => '?').join(', ')
    const rows = await store.run<{ bucket: number }>(
      `select bucket from outbox_leases where owner in (${owners})`,
      held.map(({ id }) => id),
    )
    return !(await engine.events.dueOutside([...engine.bucketsRead, ...rows.map(({ bucket }) => bucket)]))
  }

  #tell(relays: readonly RelayStats[]): void {
    if (this.#told) return
    this.#told = true
    const others = relays.filter(({ id }) => id !== this.#parts.engine.id)
    this.#parts.logger.warn(
      `drain() waits for what is due with ${others.map(nameOf).join(', ') || 'relays that died, and cannot be taken over yet'}; stop() ends it`,
    )
  }
}

function nameOf({ name, id }: RelayStats): string {
  return `relay "${name}" (${id})`
}

function allPaused(relays: readonly RelayStats[]): DataAccessError {
  const shown = relays.map((relay) => `${nameOf(relay)}: ${relay.paused?.error}`)
  return new DataAccessError(
    'PUBLISHER_FAILED',
    `drain() gave up: what is still due lies with relays that are paused, since their publisher is away: ${shown.join('; ')}. Stop them, or bring back what they wait for, and drain again`,
    { context: { relays: relays.map(({ id }) => id) } },
  )
}
