import { expect, test } from 'vitest'
import { silentLogger } from '../../../src/kernel/logger.ts'
import { BatchMarker, type BatchMarkerParts } from '../../../src/outbox/relay/batch-marker.ts'
import type { EventInHand } from '../../../src/outbox/relay/event-in-hand.ts'
import { EventReader, type EventReaderParts } from '../../../src/outbox/relay/event-reader.ts'
import type { FetchRequest } from '../../../src/outbox/store/event-store.ts'
import { RelayMarks } from '../../../src/outbox/store/relay-marks.ts'
import type { StoredEvent } from '../../../src/outbox/store/stored-event.ts'
import type { Watermark } from '../../../src/outbox/store/watermark.ts'
import { storedEvent } from '../../support/stored-event.ts'

const event = (sequence: bigint) => storedEvent({ sequence })

/** A reader of a database whose sequence stands at 10, at a time that stands still: it looks at the sequence once. */
function openReader() {
  const state = { pending: [] as StoredEvent[], away: false }
  const fetch = async ({ shares }: FetchRequest) => {
    if (state.away) throw new Error('Connection terminated unexpectedly')
    return state.pending.filter(({ sequence }) => sequence > (shares[0]?.after ?? 0n))
  }
  const events = {
    fetch,
    fetchNoting: async (request: FetchRequest) => ({ rows: await fetch(request), note: undefined }),
    fetchByIds: async (ids: readonly string[]) => state.pending.filter(({ id }) => ids.includes(id)),
    fetchEarlier: async () => [],
    sampleSequence: async (watermark: Watermark) => {
      watermark.trust(10n)
      return false
    },
  }
  const parts = {
    marks: new RelayMarks('relay'),
    events,
    progress: { passOverMarks: async () => {}, redrivesSince: async () => 0 },
    settlements: { blockedKeys: async () => [] },
    settings: { batchSize: 100 },
    definitions: {},
    clock: { now: () => 1, wait: async () => {} },
    logger: silentLogger,
    leases: { buckets: [0], epochOf: () => 1, safe: () => true },
  } as unknown as EventReaderParts
  return { reader: new EventReader(parts), parts, state }
}

/** A marker beside that reader, whose first try fails. */
function openMarker(reader: EventReader, { marks, leases, clock }: EventReaderParts): BatchMarker {
  let tries = 0
  const write = async () => {
    tries += 1
    if (tries === 1) throw new Error('Connection terminated unexpectedly')
    return { kept: [], refused: [] }
  }
  return new BatchMarker({
    settler: { write, tell: () => {} },
    database: { began: () => {}, ended: () => {} },
    reader,
    marks,
    leases,
    clock,
    onEnd: () => {},
  } as unknown as BatchMarkerParts)
}

type Opened = ReturnType<typeof openReader>

test.each([
  ['a step', async ({ reader }: Opened) => reader.forget()],
  [
    'what is read ahead',
    async ({ reader, state }: Opened) => {
      state.away = true
      reader.readAhead([])
      await reader.ahead()
    },
  ],
  [
    'what is read beside a head that is due',
    async ({ reader, state }: Opened, hands: readonly EventInHand[]) => {
      reader.park(hands)
      state.away = true
      await reader.next()
    },
  ],
  [
    'the try of a mark',
    async ({ reader, parts }: Opened, hands: readonly EventInHand[]) => {
      const marker = openMarker(reader, parts)
      const settled = hands.map((hand) => ({ hand, settlement: { kind: 'published' as const } }))
      marker.begin(settled, new AbortController().signal)
      await marker.marked()
    },
  ],
])('behind an error of the database in %s lower sequence numbers than before are read again', async (_, fail) => {
  const opened = openReader()
  const { reader, state } = opened
  state.pending = [event(10n)]
  await fail(opened, (await reader.next()).hands)

  // A copy has taken over that lacks the last events, and draws their numbers again.
  Object.assign(state, { away: false, pending: [] })
  await reader.next()
  state.pending = [event(3n)]
  expect((await reader.next()).hands).toHaveLength(1)
})
