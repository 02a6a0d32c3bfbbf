import type { Clock } from './clock.ts'

/** Why a timer ended; given, since without a reason each abort would make an error with a stack. */
const ended = 'ended'

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
      const over = new AbortController()
      await new Promise<void>((resolve) => {
        this.#answer = resolve
        this.#clock.wait(ms, AbortSignal.any([signal, over.signal])).then(resolve, resolve)
      })
      this.#answer = undefined
      // Whoever waits goes on first: to end a timer takes longer than to ring.
      setImmediate(() => over.abort(ended))
    }
    const rang = this.#rung
    this.#rung = false
    return rang
  }
}
