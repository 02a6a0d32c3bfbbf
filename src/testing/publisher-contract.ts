import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { EventRecord } from '../outbox/publishing/event-record.ts'
import { type OutboxEvent, type Outcome, outcomeOfError, type Publisher } from '../outbox/publishing/publisher.ts'

/** An event as it arrived on the other side of the broker. */
export interface DeliveredEvent {
  /** The event's id, to find it by among what was published. */
  readonly id: string
  /** The event's type. */
  readonly type: string
  /** The aggregate's id as text. */
  readonly aggregateId: string
  /** The payload, parsed from its JSON. */
  readonly payload: unknown
  /** All of the event's headers, and no others. */
  readonly headers: Readonly<Record<string, string>>
  /** As a bigint: a number would lose its last digits. */
  readonly sequence: bigint
}

/** What a case of {@link publisherContract} runs with. */
export interface PublisherContext {
  /** The one that is tried, opened anew for this case. */
  readonly publisher: Publisher
  /** Resolves once so many events have arrived on the other side, to all that have, in their order. */
  delivered(count: number): Promise<readonly DeliveredEvent[]>
  /** Takes the broker away and brings it back; absent when there is no broker that could go. */
  readonly outage?: { begin(): Promise<void>; end(): Promise<void> }
}

/** One promise of the `Publisher` port. */
export interface PublisherCase {
  /** The promise as a sentence, unique among the cases. */
  readonly name: string
  /** The case runs only with a context that can take the broker away; a runner that skips it says so. */
  readonly needsOutage?: true
  /** Rejects if the publisher breaks the promise. */
  run(context: PublisherContext): Promise<void>
}

/** The promises of a publisher, as cases for any test runner: run each with a publisher of yours, opened anew. */
export function publisherContract(): readonly PublisherCase[] {
  return cases
}

/** Longer than any publisher may take to notice an abort or an outage, in ms. */
const patienceMs = 5000

let lastSequence = 9_007_199_254_740_993n // beyond what a JSON number carries

/** An event as a relay would give it at its first try, with a random id. Without a key it gets one of its own; `null`: no order. */
export function contractEvent(orderingKey: string | null = randomUUID(), payload: unknown = { n: 1 }): OutboxEvent {
  return new EventRecord({
    id: randomUUID(),
    type: 'ContractChecked',
    aggregateType: 'Contract',
    aggregateId: orderingKey ?? 'none',
    payload,
    payloadJson: JSON.stringify(payload),
    decoded: false,
    orderingKey,
    sequence: lastSequence++,
    schemaVersion: 1,
    headers: { tenant: 'zürich', traceparent: '00-1' },
    createdAt: new Date(),
    attempt: 1,
  })
}

async function publish(publisher: Publisher, events: readonly OutboxEvent[], signal = new AbortController().signal) {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${publisher.name} did not answer within ${patienceMs} ms`)), patienceMs)
  })
  try {
    // Frozen, as a relay gives it: what sorts it in place must not pass.
    const answer = publisher
      .publish(Object.freeze([...events]), { signal })
      .catch((error: unknown) => events.map(() => outcomeOfError(error)))
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Publishes through a broker that has just come back. */
async function untilPublished(publisher: Publisher, event: OutboxEvent): Promise<void> {
  const giveUpAt = Date.now() + 2 * patienceMs
  for (;;) {
    const [outcome] = await publish(publisher, [event])
    if (outcome?.status === 'published') return
    assert.equal(outcome?.status, 'unavailable')
    assert.ok(Date.now() < giveUpAt, 'it stayed unavailable after the broker had come back')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function assertPublished(outcomes: readonly Outcome[], count: number): void {
  assert.deepEqual(outcomes, Array(count).fill({ status: 'published' }))
}

const cases: readonly PublisherCase[] = [
  {
    name: 'it has a name of 1 to 100 characters that does not change',
    run: async ({ publisher }) => {
      const { name } = publisher
      assert.ok(name.length >= 1 && name.length <= 100)
      await publish(publisher, [contractEvent()])
      assert.equal(publisher.name, name)
    },
  },
  {
    name: 'it is made ready without its broker, any number of times, and publishes then',
    needsOutage: true,
    run: async ({ publisher, outage, delivered }) => {
      await outage?.begin()
      await publisher.prepare?.()
      await outage?.end()
      await publisher.prepare?.()
      await untilPublished(publisher, contractEvent())
      assert.equal((await delivered(1)).length, 1)
    },
  },
  {
    name: 'no events are no outcomes',
    run: async ({ publisher }) => assert.deepEqual(await publish(publisher, []), []),
  },
  {
    name: 'what it calls published has arrived, unchanged',
    run: async ({ publisher, delivered }) => {
      const event = contractEvent('k', { text: 'ünïcode "quoted"\n', deep: [{ none: null }, 1.5, -0.25, true] })
      assertPublished(await publish(publisher, [event]), 1)
      const [got] = await delivered(1)
      const { id, type, aggregateId, payload, headers, sequence } = event
      assert.deepEqual(got, { id, type, aggregateId, payload, headers, sequence })
    },
  },
  {
    name: 'a wave of 500 events has 500 outcomes, and all arrive',
    run: async ({ publisher, delivered }) => {
      const events = Array.from({ length: 500 }, () => contractEvent())
      assertPublished(await publish(publisher, events), 500)
      const got = await delivered(500)
      assert.deepEqual(new Set(got.map(({ id }) => id)), new Set(events.map(({ id }) => id)))
    },
  },
  {
    name: 'events of one key arrive in the order of the calls',
    run: async ({ publisher, delivered }) => {
      const events = Array.from({ length: 20 }, (_, n) => contractEvent('one', { n }))
      for (const event of events) assertPublished(await publish(publisher, [event, contractEvent(null)]), 2)
      const got = (await delivered(40)).filter(({ aggregateId }) => aggregateId === 'one')
      assert.deepEqual(
        got.map(({ payload }) => payload),
        events.map(({ payload }) => payload),
      )
    },
  },
  {
    name: 'an event that comes again is published, with the same id if it arrives again',
    run: async ({ publisher, delivered }) => {
      const event = contractEvent('again')
      assertPublished(await publish(publisher, [event]), 1)
      assertPublished(await publish(publisher, [{ ...event, attempt: 2 }]), 1)
      assert.deepEqual(new Set((await delivered(1)).map(({ id }) => id)), new Set([event.id]))
    },
  },
  {
    name: 'an event with a date that cannot be written stops no other, and is no outage',
    run: async ({ publisher, delivered }) => {
      const [odd, good] = [{ ...contractEvent(), createdAt: new Date(Number.NaN) }, contractEvent()]
      const outcomes = await publish(publisher, [odd, good])
      assert.notEqual(outcomes[0]?.status, 'unavailable')
      assert.deepEqual(outcomes[1], { status: 'published' })
      assert.ok((await delivered(1)).some(({ id }) => id === good.id))
    },
  },
  {
    name: 'a signal that has aborted ends the call without an answer of published',
    run: async ({ publisher }) => {
      const [outcome] = await publish(publisher, [contractEvent()], AbortSignal.abort(new Error('stopped')))
      assert.notEqual(outcome?.status, 'published')
    },
  },
  {
    name: 'while the broker is away every event is unavailable, within a bounded time, and none is blamed',
    needsOutage: true,
    run: async ({ publisher, outage }) => {
      assertPublished(await publish(publisher, [contractEvent()]), 1)
      await outage?.begin()
      const outcomes = await publish(publisher, [contractEvent(), contractEvent()])
      assert.deepEqual(
        outcomes.map(({ status }) => status),
        ['unavailable', 'unavailable'],
      )
      await outage?.end()
    },
  },
  {
    name: 'when the broker is back it publishes again, without being made anew',
    needsOutage: true,
    run: async ({ publisher, outage, delivered }) => {
      assertPublished(await publish(publisher, [contractEvent()]), 1)
      await outage?.begin()
      await publish(publisher, [contractEvent()])
      await outage?.end()
      await untilPublished(publisher, contractEvent())
      assert.ok((await delivered(1)).length >= 1)
    },
  },
  {
    name: 'it can be closed twice',
    run: async ({ publisher }) => {
      await publish(publisher, [contractEvent()])
      await publisher.close?.()
      await publisher.close?.()
    },
  },
]
