import type { Clock } from '../kernel/clock.ts'

interface Waiter {
  readonly at: number
  readonly resolve: () => void
}

/** A clock that stands still until a test moves it; it begins at 0. */
export class ManualClock implements Clock {
  #now = 0
  readonly #waiters = new Set<Waiter>()

  /** The sum of what it was moved by, in milliseconds. */
  now(): number {
    return this.#now
  }

  /** How many waits are open now. */
  get waiting(): number {
    return this.#waiters.size
  }

  /** Resolves in the `advance()` that reaches `ms` from now, a wait of 0 in the next one; rejects with the signal's reason as soon as it aborts. */
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

  /** Moves time forward by so many milliseconds, ends the waits that are over in their order, and lets what waited for them run for a turn of the event loop. */
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
