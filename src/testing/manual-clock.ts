import type { Clock } from '../kernel/clock.ts'

interface Waiter {
  readonly at: number
  readonly resolve: () => void
}

/** A clock that stands still until a test moves it. */
export class ManualClock implements Clock {
  #now = 0
  readonly #waiters = new Set<Waiter>()

  now(): number {
    return this.#now
  }

  /** How many waits are open now. */
  get waiting(): number {
    return this.#waiters.size
  }

  wait(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const abort = () => {
        this.#waiters.delete(waiter)
        reject(signal?.reason)
      }
      const waiter: Waiter = {
        at: this.#now + ms,
        resolve: () => {
          signal?.removeEventListener('abort', abort)
          resolve()
        },
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#waiters.add(waiter)
    })
  }

  /** Moves time forward, ends the waits that are over in their order, and lets what waited for them run. */
  async advance(ms: number): Promise<void> {
    this.#now += ms
    const due = [...this.#waiters].filter((waiter) => waiter.at <= this.#now).sort((one, other) => one.at - other.at)
    for (const waiter of due) {
      this.#waiters.delete(waiter)
      waiter.resolve()
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
}
