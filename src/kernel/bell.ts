import type { Clock } from './clock.ts'

/** Ends a wait early. A ring that nobody waits for is kept for the next wait, so none is lost. */
export class Bell {
  readonly #clock: Clock
  #rung = false
  #answer: (() => void) | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  ring(): void {
    this.#rung = true
    this.#answer?.()
  }

  /** Waits until the bell rings, at most `ms`, or until the signal aborts; tells whether it rang. */
  async wait(ms: number, signal: AbortSignal): Promise<boolean> {
    if (!this.#rung && !signal.aborted) {
      const answered = new AbortController()
      this.#answer = () => answered.abort()
      await this.#clock.wait(ms, AbortSignal.any([signal, answered.signal])).catch(() => {})
      this.#answer = undefined
    }
    const rang = this.#rung
    this.#rung = false
    return rang
  }
}
