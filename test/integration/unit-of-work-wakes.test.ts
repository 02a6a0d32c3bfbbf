import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { runSql } from '../../src/database/sql.ts'
import { DataAccessExtension } from '../../src/extension.ts'
import { dialects } from '../support/databases.ts'
import { closeNotes, openNotes } from '../support/notes-access.ts'
import { Note, NoteTagged } from '../support/notes-module.ts'

afterEach(closeNotes)

describe.each(dialects)('a unit of work on %s', (dialect) => {
  it('stores its events and wakes the relays at its commit, once, and not where a savepoint of it is released', async () => {
    const data = await openNotes(dialect)
    let rings = 0
    onTestFinished(DataAccessExtension.of(data.orm).wake.subscribe(() => void rings++))
    await data.unitOfWork(async ({ em, record }) => {
      record(NoteTagged, 'a', 'outer')
      await data.unitOfWork(async (nested) => {
        nested.em.create(Note, { id: 'a', title: 'a' })
        nested.record(NoteTagged, 'a', 'kept')
      })
      await em.transactional(async (inner) => void inner.create(Note, { id: 'b', title: 'b' }))
      expect(await runSql(em, 'select id from domain_events')).toEqual([])
      expect(rings).toBe(0)
    })
    expect(await runSql(data.fork(), 'select id from domain_events')).toHaveLength(2)
    expect(rings).toBe(1)
  })
})
