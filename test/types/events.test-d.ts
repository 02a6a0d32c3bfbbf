import { expectTypeOf } from 'vitest'
import { z } from 'zod'
import { AIRScoreCalculated } from '../../src/assessment/air-score-calculated.ts'
import { defineEvent } from '../../src/outbox/event/define-event.ts'
import type { DecodedEvent, OutboxEvent, PublishFunction } from '../../src/outbox/publishing/publisher.ts'

const Dated = defineEvent({
  type: 'Dated',
  aggregate: 'Note',
  payload: z.object({ at: z.coerce.date(), note: z.string().optional() }),
})
const Anything = defineEvent({ type: 'Anything', aggregate: 'Note', payload: z.unknown() })

// Checked by `tsc`; never run.
export function types(event: OutboxEvent): void {
  expectTypeOf(event.payload).toBeUnknown()
  if (AIRScoreCalculated.is(event)) {
    expectTypeOf(event.payload).toEqualTypeOf<{ userId: string; airScoreId: string; airScoreValue: number; occupation: string }>()
  } else if (Dated.is(event)) {
    // What the schema gives, not what it takes.
    expectTypeOf(event.payload.at).toEqualTypeOf<Date>()
    expectTypeOf(event.payload.note).toEqualTypeOf<string | undefined>()
    expectTypeOf(event).toExtend<DecodedEvent<{ at: Date }>>()
    // @ts-expect-error there is no such property
    event.payload.airScoreValue
  } else if (Anything.is(event)) {
    expectTypeOf(event.payload).toBeUnknown()
  } else {
    expectTypeOf(event).toEqualTypeOf<OutboxEvent>()
  }
}

/** One by one: in a list, one that returns nothing would stand for all. */
export function publishers(give: (publisher: PublishFunction) => void): void {
  give(({ type }) => console.log(type))
  give(async ({ type }) => void (await fetch(type)))
  give(async () => ({ status: 'published' }))
  give(() => ({ status: 'permanent', error: 'no' }))
  // @ts-expect-error an answer of 500 resolves too
  give(({ type }) => fetch(type))
  // @ts-expect-error a number is no outcome
  give(async () => 5)
  // @ts-expect-error nor is one that is misspelt
  give(() => ({ status: 'publishd' }))
}
