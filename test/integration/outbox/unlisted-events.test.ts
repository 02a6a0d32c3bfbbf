import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createDataAccess, type DataAccess } from '../../../src/data-access.ts'
import { type DomainEventDefinition, defineEvent } from '../../../src/outbox/event/define-event.ts'
import { DomainEvent } from '../../../src/outbox/event/domain-event.ts'
import type { OutboxEvent } from '../../../src/outbox/publishing/publisher.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { MemoryLogger } from '../../support/memory-logger.ts'
import { Note, notes } from '../../support/notes-module.ts'

const define = (version: number) =>
  defineEvent({
    type: 'NoteDated',
    aggregate: 'Note',
    payload: z.object({ at: z.coerce.date(), version: z.literal(version) }),
    version,
  })
const [first, second] = [define(1), define(2)]
const payload = { at: new Date(0), version: 1 as const }

describe.each(dialects)('events that a module lists, or not, on %s', (dialect) => {
  let database: TestDatabase
  const opened: DataAccess[] = []

  beforeEach(async () => {
    database = await openTestDatabase(dialect)
  })
  afterEach(async () => {
    for (const data of opened.splice(0)) await data.close()
    await database.close()
  })

  /** One process that lists these events. */
  async function open(...events: DomainEventDefinition[]) {
    const logger = new MemoryLogger()
    const data = await createDataAccess({ modules: [notes, { name: 'dates', events }], database: { url: database.url }, logger })
    opened.push(data)
    await data.migrate()
    return { data, logger }
  }

  test('what no module lists is refused, and its unit rolled back, even if the refusal is caught', async () => {
    const { data } = await open()
    const unit = data.unitOfWork(async ({ em, record }) => {
      const note = em.create(Note, { id: 'a', title: 'a' })
      try {
        record(first, note.id, payload)
      } catch {}
    })
    await expect(unit).rejects.toMatchObject({
      code: 'EVENT_UNKNOWN',
      message: expect.stringMatching(/"NoteDated" of version 1 was not recorded: no module .* lists it.* add it to the `events`/),
    })
    expect(await data.fork().count(Note)).toBe(0)
    expect(await data.fork().count(DomainEvent)).toBe(0)
  })

  test('another definition of a listed type and version is refused; so is listing both', async () => {
    const { data } = await open(first)
    const unit = data.unitOfWork(async ({ record }) => void record(define(1), 'a', payload))
    await expect(unit).rejects.toMatchObject({ code: 'EVENT_UNKNOWN', message: expect.stringContaining('another definition') })
    await expect(open(first, define(1))).rejects.toMatchObject({ code: 'EVENT_DEFINITION_INVALID' })
  })

  test('each version of an event is read by its own definition', async () => {
    const { data, logger } = await open(first, second)
    await data.unitOfWork(async ({ record }) => {
      record(first, 'a', payload)
      record(second, 'a', { ...payload, version: 2 })
    })
    const seen: unknown[] = []
    const publisher = (event: OutboxEvent) => {
      if (first.is(event)) seen.push([1, event.payload.at])
      else if (second.is(event)) seen.push([2, event.payload.at])
    }
    await data.outbox.relay({ publisher }).drain()
    expect(seen).toEqual([
      [1, new Date(0)],
      [2, new Date(0)],
    ])
    expect(logger.warnings).toEqual([])
  })

  test('a relay that knows less than the writer publishes plain JSON, in order, and says so once', async () => {
    const writer = await open(first, second)
    await writer.data.unitOfWork(async ({ record }) => {
      for (let n = 0; n < 3; n++) record(second, 'a', { ...payload, version: 2 })
      record(first, 'a', payload)
    })
    const { data, logger } = await open(first)
    const seen: OutboxEvent[] = []
    await data.outbox.relay({ publisher: (event) => void seen.push(event) }).drain()
    expect(seen.map(({ schemaVersion, decoded, payload }) => [schemaVersion, decoded, payload])).toEqual([
      ...Array(3).fill([2, false, { at: new Date(0).toISOString(), version: 2 }]),
      [1, true, payload],
    ])
    expect(seen.map((event) => first.is(event))).toEqual([false, false, false, true])
    const told = expect.objectContaining({ message: expect.stringContaining('"NoteDated" of version 2') })
    expect(logger.warnings).toEqual([told])
  })

  test('a publisher that asks for an event its relay does not list fails, and the event waits for one that does', async () => {
    const { data: writer } = await open(first)
    await writer.unitOfWork(async ({ record }) => void record(first, 'a', payload))
    const { data } = await open()
    const seen: Date[] = []
    const publisher = function dates(event: OutboxEvent) {
      if (first.is(event)) seen.push(event.payload.at)
    }
    const retry = { baseMs: 500, maxMs: 500 }
    expect(await data.outbox.relay({ publisher, retry }).drain()).toMatchObject({ published: 0, deadLettered: 0 })
    await expect.poll(async () => (await writer.outbox.relay({ publisher }).drain()).published, { timeout: 10_000 }).toBe(1)
    expect(seen).toEqual([new Date(0)])
  })
})
