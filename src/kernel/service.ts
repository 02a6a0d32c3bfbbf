import type { Clock } from './clock.ts'
import { inRootContext } from './root-context.ts'

/** How a running service is told to end: finish what is begun, or, at the deadline, drop it. */
export interface StopSignals {
  /** Aborts as soon as somebody asks for the stop: begin nothing new. */
  readonly stopping: AbortSignal
  /** Aborts when the time to finish is over: abandon what is begun. */
  readonly deadline: AbortSignal
}

/** Where a {@link Service} is in its life: `idle` before its first start, `stopping` while it finishes what is begun; from `stopped` it may be started again. */
export type ServiceState = 'idle' | 'running' | 'stopping' | 'stopped'

/** One run of a service, from its start to its end. */
interface Run {
  readonly stopping: AbortController
  readonly deadline: AbortController
  readonly ended: Promise<void>
  /** Somebody has called {@link Service.stop}: whoever does so again will not wait. */
  asked: boolean
}

/**
 * A background activity that starts and stops. Its body runs outside the async context of whoever starts it. Stopping is
 * safe at any time: before the start, twice, and while it ends by itself.
 */
export class Service {
  readonly #body: (signals: StopSignals) => Promise<void>
  readonly #clock: Clock
  #state: ServiceState = 'idle'
  #run: Run | undefined

  /** @param body runs until told to stop; what it throws rejects {@link ended} and the stop. */
  constructor(body: (signals: StopSignals) => Promise<void>, clock: Clock) {
    this.#body = body
    this.#clock = clock
  }

  get state(): ServiceState {
    return this.#state
  }

  /** Resolves when the present run is over, at once when there is none. */
  get ended(): Promise<void> {
    return this.#run?.ended ?? Promise.resolve()
  }

  /** Starts the body; does nothing while it runs. */
  start(): void {
    if (this.#state === 'running' || this.#state === 'stopping') return
    const stopping = new AbortController()
    const deadline = new AbortController()
    this.#state = 'running'
    const ended = inRootContext(() => this.#body({ stopping: stopping.signal, deadline: deadline.signal })).finally(() => {
      this.#state = 'stopped'
    })
    ended.catch(() => {}) // Whoever asks for the end gets the error; nobody has to.
    this.#run = { stopping, deadline, ended, asked: false }
  }

  /**
   * Asks the body to end and resolves when it has. After `deadlineMs` it is told to drop what it does; a second call while
   * the first still waits tells it so at once.
   */
  async stop(deadlineMs: number): Promise<void> {
    const run = this.#present
    if (run?.asked) run.deadline.abort()
    if (run !== undefined) run.asked = true
    await this.finish(deadlineMs)
  }

  /** As {@link stop}, for whoever ends everything: beside a stop it is no second call, and of two deadlines the earlier counts. */
  async finish(deadlineMs: number): Promise<void> {
    const run = this.#present
    if (run === undefined) return
    this.#state = 'stopping'
    run.stopping.abort()
    const timer = new AbortController()
    const expiry = this.#clock.wait(deadlineMs, timer.signal).then(
      () => run.deadline.abort(),
      () => {},
    )
    try {
      await run.ended
    } finally {
      timer.abort()
      await expiry
    }
  }

  get #present(): Run | undefined {
    return this.#state === 'running' || this.#state === 'stopping' ? this.#run : undefined
  }
}
