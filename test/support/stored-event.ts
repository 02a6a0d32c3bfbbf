import type { StoredEvent } from '../../src/outbox/store/stored-event.ts'

/** An event as a fetch reads it, ordinary but for these values. */
export function storedEvent(values: Partial<StoredEvent> & Pick<StoredEvent, 'sequence'>): StoredEvent {
  return {
    id: `id-${values.sequence}`,
    type: 'T',
    aggregateType: 'A',
    aggregateId: '1',
    payloadJson: '1',
    headersJson: '{}',
    orderingKey: 'a',
    bucket: 0,
    schemaVersion: 1,
    attempts: 0,
    createdAt: new Date(0),
    waitMs: 0,
    suspect: false,
    ...values,
  }
}
