import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DomainEvent } from '../../src/outbox/event/domain-event.ts'
import { dialects } from '../support/databases.ts'
import { Note, NoteTagged, NoteWritten } from '../support/notes-module.ts'
import { unitGround } from '../support/unit-ground.ts'

describe.each(dialects)('a unit of work on %s', (dialect) => {
  const ground = unitGround(dialect)
  const { titles, events, payloads } = ground

  it('commits rows and events together and returns what the work returns', async () => {
    const result = await ground.data.unitOfWork(async ({ em, record, attempt }) => {
      const note = em.create(Note, { id: 'a', title: 'first' })
      const event = record(NoteWritten, note, { title: note.title }, { headers: { tenant: 't1' } })
      expect(attempt).toBe(1)
      return event
    })
    expect(await titles()).toEqual(['first'])
    const [stored] = await events()
    expect(stored).toMatchObject({
      id: result.id,
      eventType: 'NoteWritten',
      aggregateType: 'Note',
      aggregateId: 'a',
      payload: { title: 'first' },
      status: 'pending',
      publishedAt: null,
      orderingKey: 'Note:a',
      schemaVersion: 1,
      headers: { tenant: 't1' },
      availableAt: null,
      attempts: 0,
      lastError: null,
    })
    expect(stored?.createdAt).toEqual(result.createdAt)
  })

  it('keeps neither rows nor events when the work throws', async () => {
    const failure = new Error('no')
    const unit = ground.data.unitOfWork(async ({ em, record }) => {
      record(NoteWritten, em.create(Note, { id: 'a', title: 'first' }), { title: 'first' })
      await em.flush()
      throw failure
    })
    await expect(unit).rejects.toBe(failure)
    expect(await titles()).toEqual([])
    expect(await events()).toEqual([])
  })

  it('keeps no event when the last flush fails', async () => {
    await ground.data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'first' }))
    const unit = ground.data.unitOfWork(async ({ em, record }) => {
      record(NoteWritten, em.create(Note, { id: 'b', title: 'first' }), { title: 'first' })
    })
    await expect(unit).rejects.toThrow(/unique/i)
    expect(await events()).toEqual([])
  })

  it('stores an event recorded without any entity change', async () => {
    await ground.data.unitOfWork(async ({ record }) => void record(NoteWritten, 'a', { title: 'alone' }))
    expect(await payloads()).toEqual([{ title: 'alone' }])
  })

  it('numbers events in the order in which they were recorded', async () => {
    await ground.data.unitOfWork(async ({ record }) => {
      for (let index = 0; index < 50; index++) record(NoteTagged, `n${index % 3}`, index)
    })
    expect(await payloads()).toEqual(Array.from({ length: 50 }, (_, index) => index))
  })

  it('does not commit after a refused payload, even if the refusal is caught', async () => {
    const unit = ground.data.unitOfWork(async ({ em, record }) => {
      const note = em.create(Note, { id: 'a', title: 'first' })
      record(NoteWritten, note, { title: 'good' })
      try {
        record(NoteWritten, note, { title: '' })
      } catch {}
    })
    await expect(unit).rejects.toMatchObject({ code: 'EVENT_PAYLOAD_REFUSED', message: expect.stringContaining('payload.title') })
    expect(await titles()).toEqual([])
    expect(await events()).toEqual([])
  })

  it('refuses a payload that contains itself', async () => {
    const cycle: { self?: unknown } = {}
    cycle.self = cycle
    const unit = ground.data.unitOfWork(async ({ record }) => void record(NoteTagged, 'a', cycle))
    await expect(unit).rejects.toMatchObject({ code: 'EVENT_PAYLOAD_NOT_JSON', message: expect.stringContaining('payload.self') })
  })

  const awkward = "it's \\ \u0000 ? ?? \ud800 “quoted” $1 :name \n"
  it('stores any JSON payload exactly', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue(), { minLength: 1, maxLength: 5 }), async (values) => {
        const ids = await ground.data.unitOfWork(async ({ record }) => values.map((value) => record(NoteTagged, 'a', value).id))
        const rows = await ground.data
          .fork()
          .getConnection()
          .execute('select id, cast(payload as text) as payload from domain_events')
        const stored = new Map(rows.map((row: { id: string; payload: string }) => [row.id, row.payload]))
        expect(ids.map((id) => stored.get(id))).toEqual(values.map((value) => JSON.stringify(value)))
      }),
      // Long literals are written in another way than short ones.
      { numRuns: 60, examples: [[[awkward, 1e2, 0.1, 1e21]], [[awkward.repeat(20)]]] },
    )
  })

  it('stores 20,000 events of one transaction', async () => {
    await ground.data.unitOfWork(async ({ record }) => {
      for (let index = 0; index < 20_000; index++) record(NoteTagged, `n${index}`, index)
    })
    expect(await ground.data.fork().count(DomainEvent)).toBe(20_000)
  })
})
