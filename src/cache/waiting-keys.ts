import { inRootContext } from '../kernel/root-context.ts'
import type { CacheStore } from './cache-store.ts'
import { mostRemembered } from './invalidation-log.ts'
import { atMostKeys } from './key.ts'

/** How long what the store did not acknowledge once more is left alone: readers come faster than a store comes back. */
const retryMs = 50

/** What the store of this process did not acknowledge, and must know before this process reads from it again. */
export class WaitingKeys {
  readonly #store: CacheStore
  readonly #all: () => readonly string[]
  readonly #keys = new Set<string>()
  #sweeping = false

  /** @param all a few keys that expire everything: for when there are too many to remember. */
  constructor(store: CacheStore, all: () => readonly string[]) {
    this.#store = store
    this.#all = all
  }

  get size(): number {
    return this.#keys.size
  }

  add(keys: ReadonlySet<string>): void {
    for (const key of keys) this.#keys.add(key)
    if (this.#keys.size <= mostRemembered) return
    const few = atMostKeys(this.#keys, mostRemembered)
    this.#keys.clear()
    for (const key of few.size <= mostRemembered ? few : this.#all()) this.#keys.add(key)
  }

  /** Tells whether the store knows them all. If not, tells it meanwhile; nobody waits for that. */
  settled(): boolean {
    if (this.#sweeping) return false
    if (this.#keys.size === 0) return true
    void this.#sweep()
    return false
  }

  /** Never rejects: what the store does not acknowledge waits for the next sweep. */
  async #sweep(): Promise<void> {
    this.#sweeping = true
    const keys = new Set(this.#keys)
    // Taken out first: a key that a commit adds again meanwhile must stay for the next sweep.
    this.#keys.clear()
    try {
      await this.#store.invalidate([...keys])
    } catch {
      this.add(keys)
      await new Promise((resolve) => inRootContext(() => setTimeout(resolve, retryMs)).unref())
    }
    this.#sweeping = false
  }
}
