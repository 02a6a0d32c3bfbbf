import { Listeners } from '../../kernel/listeners.ts'
import type { Logger } from '../../kernel/logger.ts'
import type { OutboxEvent } from '../publishing/publisher.ts'
import type { DeadLetterReason } from '../publishing/retry-policy.ts'

/** What a relay tells its listeners. `attempts` are the tries of the event that failed, this one included. */
export interface RelayEvents {
  /** These events were acknowledged by the publisher and are marked. */
  published: { readonly events: readonly OutboxEvent[] }
  /** An event failed and will be tried again in `delayMs` milliseconds. */
  retried: {
    readonly eventId: string
    readonly type: string
    readonly attempts: number
    readonly delayMs: number
    readonly error: Error
  }
  /** An event left the outbox unpublished; `blocksKey` tells whether the later ones of its key wait for it. */
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
  /** What was away is back, or nothing waits for it any more; `cause` is that of its `paused`. */
  resumed: { readonly cause: 'publisher' | 'database' }
  /** Another relay took these buckets over, by their numbers 0 … 63; it may publish again what this one had in hand. */
  leaseLost: { readonly buckets: readonly number[] }
}

/** The name of something that a relay tells. */
export type RelayEventName = keyof RelayEvents

/** The listeners of a relay. */
export type RelayListeners = Listeners<RelayEvents>

const names = { published: true, retried: true, deadLettered: true, paused: true, resumed: true, leaseLost: true } as const

export function relayListeners(logger: Logger): RelayListeners {
  return new Listeners<RelayEvents>('relay', names, logger)
}
