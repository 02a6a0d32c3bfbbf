import { isRedisReply } from './redis-reply.ts'

/** No answer came: not an error of Redis, but ours. */
export class Silence extends Error {}

/** A timer that fires later than this tells that the process was busy, and heard nobody meanwhile. */
const busyMs = 5

/**
 * The one bound of all that a command waits for. It begins with the first wait: to write a command down takes no time of Redis. Nor does what
 * the process computes as the time ends, which is given back once.
 */
export class Deadline {
  readonly #timeoutMs: number
  #timer: NodeJS.Timeout | undefined
  #dueAt = 0
  #prolonged = false
  #reject: ((silence: Silence) => void) | undefined

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs
  }

  /**
   * What it waits for now, or a {@link Silence} when the time is over.
   *
   * @param heard is called when Redis answers, also when that is too late.
   */
  bound<T>(awaited: Promise<T>, heard: () => void = () => undefined): Promise<T> {
    if (this.#timer === undefined) this.#begin(this.#timeoutMs)
    return new Promise((resolve, reject) => {
      this.#reject = reject
      awaited.then(
        (answer) => {
          heard()
          resolve(answer)
        },
        (error: unknown) => {
          if (isRedisReply(error)) heard()
          reject(error)
        },
      )
    })
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#reject = undefined
  }

  #begin(ms: number): void {
    this.#dueAt = performance.now() + ms
    this.#timer = setTimeout(() => this.#due(), ms)
  }

  #due(): void {
    const lateMs = performance.now() - this.#dueAt
    // Timers are looked at before what has arrived: an answer that lies there has come in time.
    setImmediate(() => {
      if (this.#reject === undefined) return
      if (lateMs < busyMs || this.#prolonged) return this.#reject(new Silence(`gave no answer within ${this.#timeoutMs} ms`))
      this.#prolonged = true
      this.#begin(Math.min(lateMs, this.#timeoutMs))
    })
  }
}
