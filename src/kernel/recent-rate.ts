import type { Clock } from './clock.ts'

/** Over how many seconds a rate is averaged. */
const seconds = 10

/** How often something happens: an average over the last ten seconds, or since the beginning when that is shorter. */
export class RecentRate {
  readonly #clock: Clock
  readonly #begunAt: number
  /** The count of each of the last seconds, by its number. */
  readonly #counts = new Map<number, number>()

  constructor(clock: Clock) {
    this.#clock = clock
    this.#begunAt = clock.now()
  }

  add(count: number): void {
    const second = this.#forget()
    this.#counts.set(second, (this.#counts.get(second) ?? 0) + count)
  }

  /** To a tenth. */
  get perSecond(): number {
    const oldest = this.#forget() - seconds + 1
    let sum = 0
    for (const count of this.#counts.values()) sum += count
    // Less than a second tells nothing yet.
    const over = Math.max(1, (this.#clock.now() - Math.max(this.#begunAt, oldest * 1000)) / 1000)
    return Math.round((sum / over) * 10) / 10
  }

  /** Drops what is too long ago; resolves to the number of the present second. */
  #forget(): number {
    const now = Math.floor(this.#clock.now() / 1000)
    for (const second of this.#counts.keys()) {
      if (second > now - seconds) break
      this.#counts.delete(second)
    }
    return now
  }
}
