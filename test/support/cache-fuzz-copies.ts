import type { CacheStore } from '../../src/cache/cache-store.ts'
import { NearEntries } from '../../src/cache/redis/near-entries.ts'
import type { RedisStore } from '../../src/cache/redis/redis-store.ts'
import { TieredStore } from '../../src/cache/redis/tiered-store.ts'
import type { Clock } from '../../src/kernel/clock.ts'

/** The longest life of a copy, in milliseconds. */
export const copiesMs = 300

/** The copies in one process, and its end of a bus: steps say what it hears of other processes, and when. */
export class FuzzCopies {
  readonly store: CacheStore
  readonly #near = new NearEntries({ maxEntries: 1000, maxBytes: 1_000_000 })
  readonly #inbox: (readonly string[])[] = []
  #deaf = false
  #missed = false

  constructor(far: Pick<RedisStore, keyof RedisStore>, clock: Clock) {
    // The worst of buses: it never knows that it is deaf, so that nothing but their age ends the copies then.
    const bus = { sound: () => true, close: async () => {} }
    this.store = new TieredStore({ far: far as RedisStore, near: this.#near, bus, ttlMs: copiesMs, clock })
  }

  /** True when all that others have expired is known here. */
  get upToDate(): boolean {
    return !this.#missed && this.#inbox.length === 0
  }

  /** Another process has expired these keys. */
  tell(keys: readonly string[]): void {
    if (this.#deaf) this.#missed = true
    else this.#inbox.push(keys)
  }

  /** Hears one message. */
  hear(): void {
    const keys = this.#inbox.shift()
    if (keys !== undefined) this.#near.expire(keys)
  }

  /** Loses its connection to the bus, or has it again. */
  lose(begins: boolean): void {
    this.#deaf = begins
    if (this.#inbox.length > 0) this.#missed = true
    this.#inbox.length = 0
    if (begins) return
    this.#near.clear()
    this.#missed = false
  }
}
