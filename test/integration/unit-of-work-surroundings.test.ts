import { type EntityManager, TransactionPropagation } from '@mikro-orm/core'
import { afterEach, describe, expect, it } from 'vitest'
import { dialects } from '../support/databases.ts'
import { closeNotes, openNotes, storedNotes } from '../support/notes-access.ts'
import { Note, NoteTagged } from '../support/notes-module.ts'

const nothing = { rows: [], events: [] }

afterEach(closeNotes)

describe.each(dialects)('a hook after the commit on %s', (dialect) => {
  it('may run a unit on the em that its own unit has joined, before that resolves', async () => {
    const data = await openNotes(dialect)
    const em = data.fork()
    const seen: string[] = []
    await data.unitOfWork(
      async (unit) => {
        unit.record(NoteTagged, unit.em.create(Note, { id: 'a', title: 'first' }), 'first')
        unit.afterCommit(async () => {
          await data.unitOfWork(
            async (later) => {
              // The entities of the unit that has committed are known to the em by now.
              seen.push(...[...later.em.getUnitOfWork().getIdentityMap()].map((entity) => (entity as Note).title))
              later.record(NoteTagged, later.em.create(Note, { id: 'b', title: 'second' }), 'second')
            },
            { em },
          )
          seen.push('hook')
        })
        unit.afterCommit(() => void seen.push('next hook'))
      },
      { em },
    )
    expect(seen).toEqual(['first', 'hook', 'next hook'])
    expect(await storedNotes(data)).toEqual({ rows: ['first', 'second'], events: ['first', 'second'] })
  })

  it('lets a unit that waits for the same em begin, and resolves after its own hooks', async () => {
    const data = await openNotes(dialect)
    const em = data.fork()
    const seen: string[] = []
    const begun = Promise.withResolvers<void>()
    const first = data.unitOfWork(
      async ({ afterCommit }) => afterCommit(() => begun.promise.then(() => void seen.push('hook'))),
      { em },
    )
    const second = data.unitOfWork(async () => begun.resolve(), { em })
    await first.then(() => void seen.push('first'))
    await second
    expect(seen).toEqual(['hook', 'first'])
  })
})

describe('the transaction that a unit of work joins', () => {
  it('on postgresql: the new one of the application that was begun inside a unit', async () => {
    const data = await openNotes('postgresql')
    await data.unitOfWork(async ({ em, record }) => {
      record(NoteTagged, 'a', 'outer')
      const own = em.transactional(
        async () => {
          await data.unitOfWork(async (inner) => {
            inner.record(NoteTagged, inner.em.create(Note, { id: 'b', title: 'rolled back' }), 'rolled back')
          })
          throw new Error('no')
        },
        { propagation: TransactionPropagation.REQUIRES_NEW },
      )
      await expect(own).rejects.toThrow('no')
    })
    expect(await storedNotes(data)).toEqual({ rows: [], events: ['outer'] })
  })

  it('on postgresql: none in what runs without one, by NOT_SUPPORTED', async () => {
    const data = await openNotes('postgresql')
    const outer = data.unitOfWork(async ({ em, record }) => {
      record(NoteTagged, em.create(Note, { id: 'a', title: 'rolled back' }), 'rolled back')
      await em.transactional(
        async (beside) => {
          beside.create(Note, { id: 'b', title: 'beside' })
          await beside.flush()
          expect(await data.orm.em.count(Note)).toBe(1)
          await data.unitOfWork(async (inner) => {
            inner.record(NoteTagged, inner.em.create(Note, { id: 'c', title: 'its own' }), 'its own')
          })
        },
        { propagation: TransactionPropagation.NOT_SUPPORTED },
      )
      throw new Error('no')
    })
    await expect(outer).rejects.toThrow('no')
    expect(await storedNotes(data)).toEqual({ rows: ['beside', 'its own'], events: ['its own'] })
  })

  describe.each([TransactionPropagation.REQUIRES_NEW, TransactionPropagation.NOT_SUPPORTED])('beside %s', (propagation) => {
    it.each(['commits', 'is rolled back'] as const)('on postgresql: its own, which %s as a whole', async (end) => {
      const data = await openNotes('postgresql')
      const outer = data.unitOfWork(async ({ em, record }) => {
        const [begun, written] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
        const aside = em.transactional(
          async (own) => {
            own.create(Note, { id: 'a', title: 'aside' })
            begun.resolve()
            await written.promise
          },
          { propagation },
        )
        await begun.promise
        record(NoteTagged, em.create(Note, { id: 'b', title: 'flushed' }), 'flushed')
        await em.flush()
        await em.insert(Note, { id: 'c', title: 'inserted' })
        await data.unitOfWork(
          async (inner) => inner.record(NoteTagged, inner.em.create(Note, { id: 'd', title: 'nested' }), 'nested'),
          { em },
        )
        written.resolve()
        await aside
        if (end === 'is rolled back') throw new Error('no')
      })
      if (end === 'commits') await outer
      else await expect(outer).rejects.toThrow('no')
      const kept = { rows: ['aside', 'flushed', 'inserted', 'nested'], events: ['flushed', 'nested'] }
      expect(await storedNotes(data)).toEqual(end === 'commits' ? kept : { rows: ['aside'], events: [] })
    })
  })

  it.each(dialects)('on %s: a savepoint of the application in a unit, whose entities it shares', async (dialect) => {
    const data = await openNotes(dialect)
    const attempts: number[] = []
    await data.unitOfWork(async ({ em, attempt }) => {
      if (attempt === 1) throw data.orm.driver.convertException(Object.assign(new Error('conflict'), { code: '40001' }))
      await em.transactional(async (own) => {
        const note = own.create(Note, { id: 'a', title: 'theirs' })
        await data.unitOfWork(async (inner) => {
          attempts.push(inner.attempt)
          expect(await inner.em.findOneOrFail(Note, 'a')).toBe(note)
          note.title = 'ours'
          inner.record(NoteTagged, note, 'ours')
          // The outer one would be rolled back with the savepoint.
          const outer = data.unitOfWork(async () => {}, { em })
          await expect(outer).rejects.toMatchObject({ code: 'TRANSACTION_FORK' })
        })
      })
      const lost = em.transactional(async () => {
        await data.unitOfWork(async (inner) => {
          inner.record(NoteTagged, inner.em.create(Note, { id: 'b', title: 'lost' }), 'lost')
        })
        throw new Error('no')
      })
      await expect(lost).rejects.toThrow('no')
      expect(em.getUnitOfWork().getById(Note, 'b')).toBeUndefined()
    })
    expect(attempts).toEqual([2])
    expect(await storedNotes(data)).toEqual({ rows: ['ours'], events: ['ours'] })
  })

  it.each(dialects)('on %s: that of its own ORM, also inside the unit of another one', async (dialect) => {
    const data = await openNotes(dialect)
    const other = await openNotes(dialect)
    const own = data.orm.em.fork().transactional(async () => {
      await other.unitOfWork(async ({ record }) => {
        record(NoteTagged, 'other', 'other')
        await data.unitOfWork(async (inner) => {
          inner.record(NoteTagged, inner.em.create(Note, { id: 'a', title: 'rolled back' }), 'rolled back')
        })
      })
      throw new Error('no')
    })
    await expect(own).rejects.toThrow('no')
    expect(await storedNotes(data)).toEqual(nothing)
    expect(await storedNotes(other)).toEqual({ rows: [], events: ['other'] })
  })
})

describe.each(dialects)('a savepoint of the application in a unit of work on %s', (dialect) => {
  it('takes no edit along that was made before it, when it is rolled back', async () => {
    const data = await openNotes(dialect)
    await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'old' }))
    await data.unitOfWork(async ({ em, record }) => {
      const note = await em.findOneOrFail(Note, 'a')
      note.title = 'new'
      record(NoteTagged, em.create(Note, { id: 'b', title: 'added' }), 'kept')
      const own = em.transactional(async (inner) => {
        inner.create(Note, { id: 'c', title: 'gone' })
        await inner.flush()
        // MikroORM would take what it wrote in here for saved.
        await expect(
          inner.transactional(async (innermost) => {
            await innermost.flush()
            throw new Error('no')
          }),
        ).rejects.toThrow('no')
        inner.create(Note, { id: 'd', title: 'gone too' })
        throw new Error('nor this')
      })
      await expect(own).rejects.toThrow('nor this')
    })
    expect(await storedNotes(data)).toEqual({ rows: ['new', 'added'], events: ['kept'] })
  })

  it('saves nothing when the edits made before it cannot be saved', async () => {
    const data = await openNotes(dialect)
    await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'taken' }))
    const unit = data.unitOfWork(async ({ em, record }) => {
      record(NoteTagged, em.create(Note, { id: 'b', title: 'taken' }), 'lost')
      await em.transactional(async () => {}).catch(() => {})
    })
    await expect(unit).rejects.toThrow()
    expect(await storedNotes(data)).toEqual({ rows: ['taken'], events: [] })
  })
})

describe.each(dialects)('the em that a unit of work on %s has joined', (dialect) => {
  it('writes nothing beside the unit while that runs, and writes again afterwards', async () => {
    const data = await openNotes(dialect)
    const em = data.fork()
    const begun = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    const unit = data.unitOfWork(
      async ({ record }) => {
        record(NoteTagged, 'a', 'lost')
        begun.resolve()
        await gate.promise
        throw new Error('no')
      },
      { em },
    )
    unit.catch(() => {})
    await begun.promise
    em.create(Note, { id: 'a', title: 'beside' })
    await expect(em.flush()).rejects.toMatchObject({ code: 'TRANSACTION_FORK' })
    gate.resolve()
    await expect(unit).rejects.toThrow('no')
    expect(await storedNotes(data)).toEqual(nothing)
    em.clear()
    em.create(Note, { id: 'b', title: 'afterwards' })
    await em.flush()
    await data.unitOfWork(
      async ({ afterCommit }) =>
        afterCommit(async () => {
          em.create(Note, { id: 'c', title: 'in a hook' })
          await em.flush()
        }),
      { em },
    )
    expect((await storedNotes(data)).rows).toEqual(['afterwards', 'in a hook'])
  })
})

describe.each(dialects)('a savepoint of a subscriber during the flush on %s', (dialect) => {
  it.each(['beforeCreate', 'afterCreate', 'onFlush'] as const)(
    'is opened in %s, whose edits are being written already',
    async (hook) => {
      const data = await openNotes(dialect)
      let opened = 0
      data.orm.em.getEventManager().registerSubscriber({
        [hook]: async ({ em }: { em: EntityManager }) => {
          if (opened++ === 0)
            await em.transactional((inner) => inner.getConnection().execute('select 1', [], 'all', inner.getTransactionContext()))
        },
      })
      await data.unitOfWork(async ({ em, record }) => {
        record(NoteTagged, em.create(Note, { id: 'a', title: 'kept' }), 'kept')
      })
      expect(opened).toBeGreaterThan(0)
      expect(await storedNotes(data)).toEqual({ rows: ['kept'], events: ['kept'] })
    },
  )
})
