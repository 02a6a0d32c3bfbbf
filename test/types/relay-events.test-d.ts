import { expectTypeOf } from 'vitest'
import type { DeadLetterReason, OutboxEvent, Relay, RelayEventName, RelayEvents } from '../../src/outbox/index.ts'

// Checked by `tsc`; never run.
export function types(relay: Relay): void {
  // Each event has its own shape, known from its name alone.
  relay.on('published', ({ events }) => expectTypeOf(events).toEqualTypeOf<readonly OutboxEvent[]>())
  relay.on('retried', ({ eventId, attempts, delayMs, error }) => {
    expectTypeOf(eventId).toEqualTypeOf<string>()
    expectTypeOf([attempts, delayMs]).toEqualTypeOf<number[]>()
    expectTypeOf(error).toEqualTypeOf<Error>()
  })
  relay.on('deadLettered', ({ reason, blocksKey }) => {
    expectTypeOf(reason).toEqualTypeOf<DeadLetterReason>()
    expectTypeOf(blocksKey).toEqualTypeOf<boolean>()
  })
  relay.on('paused', ({ cause, error }) => {
    expectTypeOf(cause).toEqualTypeOf<'publisher' | 'database'>()
    expectTypeOf(error).toEqualTypeOf<Error>()
  })
  relay.on('resumed', (event) => expectTypeOf(event).toEqualTypeOf<RelayEvents['resumed']>())
  relay.on('leaseLost', ({ buckets }) => expectTypeOf(buckets).toEqualTypeOf<readonly number[]>())

  // Ending it is what the call returns.
  expectTypeOf(relay.on('resumed', () => {})).toEqualTypeOf<() => void>()
  expectTypeOf<RelayEventName>().toEqualTypeOf<'published' | 'retried' | 'deadLettered' | 'paused' | 'resumed' | 'leaseLost'>()

  // @ts-expect-error there is no such event
  relay.on('sent', () => {})
  // @ts-expect-error a resumed relay has no error
  relay.on('resumed', ({ error }) => error)
}
