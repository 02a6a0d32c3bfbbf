import {
  type OutboxEvent,
  type Outcome,
  outcomeOfError,
  type PublishContext,
  type Publisher,
} from '../outbox/publishing/publisher.ts'

/** Keeps what it is given, for tests: what was published, and failures on demand. */
export class MemoryPublisher implements Publisher {
  /** `memory` unless it was given another. */
  readonly name: string
  /** What was published, in order, repetitions included. */
  readonly published: OutboxEvent[] = []
  readonly #fail: (event: OutboxEvent) => unknown

  /**
   * @param fail gives the error of an event that shall not be published, marked by `permanent`, `retryable` or `unavailable` or else
   * `retryable`; `undefined` for one that shall be. Default: all are published.
   */
  constructor(fail: (event: OutboxEvent) => unknown = () => undefined, name = 'memory') {
    this.name = name
    this.#fail = fail
  }

  /** Keeps the events at once, in their order, but for those that shall fail. @throws the signal's reason when it has aborted, and keeps none. */
  async publish(events: readonly OutboxEvent[], { signal }: PublishContext): Promise<readonly Outcome[]> {
    signal.throwIfAborted()
    return events.map((event) => {
      const error = this.#fail(event)
      if (error !== undefined) return outcomeOfError(error)
      this.published.push(event)
      return { status: 'published' }
    })
  }

  /** The payloads of what was published, in order. */
  get payloads(): unknown[] {
    return this.published.map((event) => event.payload)
  }
}
