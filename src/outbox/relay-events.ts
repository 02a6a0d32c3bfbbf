import type { Logger } from '../kernel/logger.ts'
import type { OutboxEvent } from './publisher.ts'
import type { DeadLetterReason } from './retry-policy.ts'

/** What a relay tells its listeners. */
export interface RelayEvents {
  /** These events were acknowledged by the publisher and are marked. */
  published: { readonly events: readonly OutboxEvent[] }
  /** An event failed and will be tried again in `delayMs`. */
  retried: {
    readonly eventId: string
    readonly type: string
    readonly attempts: number
    readonly delayMs: number
    readonly error: Error
  }
  /** An event left the outbox unpublished. */
  deadLettered: {
    readonly eventId: string
    readonly type: string
    readonly attempts: number
    readonly reason: DeadLetterReason
    readonly blocksKey: boolean
    readonly error: Error
  }
  /** The publisher or the database is away; nothing is published until `resumed`. */
  paused: { readonly cause: 'publisher' | 'database'; readonly error: Error }
  resumed: { readonly cause: 'publisher' | 'database' }
  /** Another relay took these buckets over; it may publish again what this one had in hand. */
  leaseLost: { readonly buckets: readonly number[] }
}

/** The name of something that a relay tells. */
export type RelayEventName = keyof RelayEvents

/** Holds the listeners of a relay. One that throws or rejects is logged and disturbs nobody. */
export class RelayListeners {
  readonly #listeners = new Map<RelayEventName, Set<(event: never) => void>>()
  readonly #logger: Logger

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** Adds a listener; the function returned removes it. */
  on<Name extends RelayEventName>(name: Name, listener: (event: RelayEvents[Name]) => void): () => void {
    const set = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, set)
    set.add(listener)
    return () => set.delete(listener)
  }

  tell<Name extends RelayEventName>(name: Name, event: RelayEvents[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        // Also an async function may stand where nothing is returned.
        const returned = (listener as (event: RelayEvents[Name]) => unknown)(event)
        if (returned instanceof Promise) returned.catch((error: unknown) => this.#failed(name, error))
      } catch (error) {
        this.#failed(name, error)
      }
    }
  }

  #failed(name: RelayEventName, error: unknown): void {
    this.#logger.error(`A listener of the relay's event ${name} threw`, { error })
  }
}
