import type { EntityManager } from '@mikro-orm/core'
import { afterEach, describe, expect, it } from 'vitest'
import type { DataAccess } from '../../src/data-access.ts'
import type { Work } from '../../src/unit-of-work/unit-of-work.ts'
import { dialects } from '../support/databases.ts'
import { closeNotes, openNotes, storedNotes } from '../support/notes-access.ts'
import { Note, NoteTagged } from '../support/notes-module.ts'

/** Forks with subscribers of their own: those that the application registered later do not see them, and ours do. */
const fresh = (data: DataAccess): EntityManager => data.orm.em.fork({ freshEventManager: true })

const ways: Readonly<Record<string, (data: DataAccess, work: Work<void>) => Promise<void>>> = {
  'joins it by its em': (data, work) => data.unitOfWork(work, { em: fresh(data) }),
  'runs in its transaction': (data, work) => fresh(data).transactional(() => data.unitOfWork(work)),
  'joins its transaction by its em': (data, work) => fresh(data).transactional((em) => data.unitOfWork(work, { em })),
  'joins a fork of it': (data, work) => data.unitOfWork(work, { em: fresh(data).fork({ freshEventManager: true }) }),
}

afterEach(closeNotes)

describe.each(dialects)('a fork with an event manager of its own on %s', (dialect) => {
  describe.each(Object.entries(ways))('and a unit that %s', (_, run) => {
    it('loses no event, and no hook', async () => {
      const data = await openNotes(dialect)
      const hooks: string[] = []
      await run(data, async ({ em, record, afterCommit }) => {
        record(NoteTagged, em.create(Note, { id: 'a', title: 'kept' }), 'kept')
        afterCommit(() => void hooks.push('after'))
        await data.unitOfWork(async (inner) => void inner.record(NoteTagged, 'a', 'nested'))
      })
      expect(await storedNotes(data)).toEqual({ rows: ['kept'], events: ['kept', 'nested'] })
      expect(hooks).toEqual(['after'])
      const published: unknown[] = []
      await data.outbox.relay({ publisher: ({ payload }) => void published.push(payload) }).drain()
      expect(published).toEqual(['kept', 'nested'])
    })

    it('keeps none when it is rolled back', async () => {
      const data = await openNotes(dialect)
      const failure = new Error('no')
      const unit = run(data, async ({ em, record, afterCommit }) => {
        record(NoteTagged, em.create(Note, { id: 'a', title: 'lost' }), 'lost')
        afterCommit(() => expect.unreachable())
        await em.flush()
        throw failure
      })
      await expect(unit).rejects.toBe(failure)
      expect(await storedNotes(data)).toEqual({ rows: [], events: [] })
    })
  })
})
