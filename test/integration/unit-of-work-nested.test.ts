import { type EventSubscriber, RequestContext } from '@mikro-orm/core'
import { describe, expect, it } from 'vitest'
import { dialects } from '../support/databases.ts'
import { Note, NoteTagged, NoteWritten } from '../support/notes-module.ts'
import { unitGround } from '../support/unit-ground.ts'

describe.each(dialects)('a unit of work on %s beside others', (dialect) => {
  const ground = unitGround(dialect)
  const { titles, events, payloads } = ground

  it('rolls a nested unit back with its own events and hooks, and no others', async () => {
    const hooks: string[] = []
    await ground.data.unitOfWork(async ({ em, record, afterCommit }) => {
      em.create(Note, { id: 'a', title: 'outer' })
      record(NoteTagged, 'a', 'before')
      afterCommit(() => void hooks.push('outer'))
      await ground.data
        .unitOfWork(async (inner) => {
          inner.em.create(Note, { id: 'b', title: 'inner' })
          inner.record(NoteTagged, 'b', 'rolled back')
          inner.afterCommit(() => void hooks.push('inner'))
          await inner.em.flush()
          throw new Error('only the savepoint')
        })
        .catch(() => {})
      await ground.data.unitOfWork(async (inner) => {
        inner.em.create(Note, { id: 'c', title: 'kept' })
        inner.record(NoteTagged, 'c', 'kept')
        inner.afterCommit(() => void hooks.push('kept'))
      })
      record(NoteTagged, 'a', 'after')
      expect(hooks).toEqual([])
    })
    expect(await titles()).toEqual(['kept', 'outer'])
    expect(await payloads()).toEqual(['before', 'kept', 'after'])
    expect(hooks).toEqual(['outer', 'kept'])
  })

  it('gives the outer unit its entities back after a nested unit has rolled back', async () => {
    await ground.data.unitOfWork(async ({ em }) => {
      for (const id of ['a', 'b', 'c', 'd']) em.create(Note, { id, title: `title ${id}` })
    })
    await ground.data.unitOfWork(async ({ em }) => {
      const [a, b, c, d] = await Promise.all(['a', 'b', 'c', 'd'].map((id) => em.findOneOrFail(Note, id)))
      if (!(a && b && c && d)) throw new Error('unreachable')
      a.count = 1
      const nested = ground.data.unitOfWork(async (inner) => {
        a.count = 2
        b.count = 2
        inner.em.remove(c)
        await inner.em.flush()
        d.count = 2 // Never flushed.
        inner.em.create(Note, { id: 'e', title: 'never' })
        throw new Error('only the savepoint')
      })
      await expect(nested).rejects.toThrow('only the savepoint')
      expect([a.count, b.count, c.count, d.count]).toEqual([1, 0, 0, 0])
      b.count = 2
      c.count = 3
      expect(em.getUnitOfWork().getById(Note, 'c')).toBe(c)
    })
    const counts = (await ground.data.fork().findAll(Note, { orderBy: { id: 'asc' } })).map((note) => note.count)
    expect(counts).toEqual([1, 2, 3, 0])
  })

  it('lets the outer unit commit after a refusal in a nested unit that it caught', async () => {
    await ground.data.unitOfWork(async ({ record }) => {
      record(NoteTagged, 'a', 'outer')
      const nested = ground.data.unitOfWork(async (inner) => void inner.record(NoteWritten, 'b', { title: '' }))
      await expect(nested).rejects.toMatchObject({ code: 'EVENT_PAYLOAD_REFUSED' })
    })
    expect(await payloads()).toEqual(['outer'])
  })

  it('runs nested units that were started at once one after the other', async () => {
    const order: string[] = []
    await ground.data.unitOfWork(async ({ record }) => {
      const nested = (name: string, fail: boolean) =>
        ground.data.unitOfWork(async (inner) => {
          order.push(`${name} begins`)
          inner.em.create(Note, { id: name, title: name })
          inner.record(NoteTagged, name, name)
          await inner.em.flush()
          order.push(`${name} ends`)
          if (fail) throw new Error(name)
        })
      const all = Promise.allSettled([nested('a', true), nested('b', false), nested('c', true)])
      record(NoteTagged, 'outer', 'outer')
      await all
    })
    expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
    expect(await titles()).toEqual(['b'])
    expect((await payloads()).sort()).toEqual(['b', 'outer'])
  })

  it('keeps what an outer unit records while a savepoint of it is open and rolls back', async () => {
    await ground.data.unitOfWork(async ({ record }) => {
      await ground.data
        .unitOfWork(async (inner) => {
          await inner.em.flush()
          record(NoteTagged, 'a', 'outer')
          throw new Error('only the savepoint')
        })
        .catch(() => {})
    })
    expect(await payloads()).toEqual(['outer'])
  })

  it('joins the em of a request and saves the edits already made in it', async () => {
    await ground.data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'old' }))
    await RequestContext.create(ground.data.orm.em, async () => {
      const note = await ground.data.orm.em.findOneOrFail(Note, 'a')
      note.title = 'edited'
      await ground.data.unitOfWork(async ({ record }) => void record(NoteWritten, note, { title: note.title }), {
        em: ground.data.orm.em,
      })
      expect(ground.data.orm.em.getUnitOfWork().getIdentityMap().values()).toContain(note)
    })
    expect(await titles()).toEqual(['edited'])
    expect(await payloads()).toEqual([{ title: 'edited' }])
  })

  it('is a savepoint inside a transaction of the application', async () => {
    const outcome = ground.data.fork().transactional(async (em) => {
      em.create(Note, { id: 'a', title: 'theirs' })
      await ground.data.unitOfWork(async (unit) => {
        unit.em.create(Note, { id: 'b', title: 'ours' })
        unit.record(NoteTagged, 'b', 'ours')
      })
      throw new Error('theirs fails')
    })
    await expect(outcome).rejects.toThrow('theirs fails')
    expect(await titles()).toEqual([])
    expect(await events()).toEqual([])
    await ground.data.fork().transactional(async () => {
      await ground.data.unitOfWork(async ({ record }) => void record(NoteTagged, 'b', 'ours'))
    })
    expect(await payloads()).toEqual(['ours'])
  })

  it('lets no throwing hook undo the commit, keep other hooks from running, or reject', async () => {
    const seen: string[] = []
    await ground.data.unitOfWork(async ({ em, afterCommit }) => {
      em.create(Note, { id: 'a', title: 'first' })
      afterCommit(() => {
        throw new Error('a hook')
      })
      afterCommit(async () => void seen.push(...(await titles())))
    })
    expect(seen).toEqual(['first'])
    expect(ground.logger.errors).toHaveLength(1)
  })

  it('lets a hook start a unit of work of its own', async () => {
    await ground.data.unitOfWork(async ({ record, afterCommit }) => {
      record(NoteTagged, 'a', 'first')
      afterCommit(() => ground.data.unitOfWork(async (unit) => void unit.record(NoteTagged, 'a', 'second')))
    })
    expect(await payloads()).toEqual(['first', 'second'])
  })

  it('refuses record and afterCommit once the unit has ended', async () => {
    const late = await ground.data.unitOfWork(async ({ record, afterCommit }) => ({ record, afterCommit }))
    expect(() => late.record(NoteTagged, 'a', 1)).toThrow(expect.objectContaining({ code: 'RECORD_OUTSIDE_UNIT' }))
    expect(() => late.afterCommit(() => {})).toThrow(expect.objectContaining({ code: 'RECORD_OUTSIDE_UNIT' }))
  })

  it('resolves although a subscriber of the application throws after the commit, and runs its hooks', async () => {
    const angry: EventSubscriber = {
      afterTransactionCommit: async () => {
        throw new Error('a subscriber of theirs')
      },
    }
    ground.data.orm.em.getEventManager().registerSubscriber(angry)
    const seen: string[] = []
    const result = await ground.data.unitOfWork(async ({ em, record, afterCommit }) => {
      record(NoteTagged, em.create(Note, { id: 'a', title: 'first' }), 1)
      afterCommit(() => void seen.push('hook'))
      return 'done'
    })
    expect(result).toBe('done')
    expect(seen).toEqual(['hook'])
    expect(await titles()).toEqual(['first'])
    expect(ground.logger.errors).toHaveLength(1)
  })

  it('rolls everything back when a subscriber of the application throws before the commit', async () => {
    ground.data.orm.em.getEventManager().registerSubscriber({
      beforeTransactionCommit: async () => {
        throw new Error('theirs')
      },
    })
    const unit = ground.data.unitOfWork(
      async ({ em, record }) => void record(NoteTagged, em.create(Note, { id: 'a', title: 'x' }), 1),
    )
    await expect(unit).rejects.toThrow('theirs')
    expect(await titles()).toEqual([])
    expect(await events()).toEqual([])
  })

  it('refuses isolation for a savepoint', async () => {
    const unit = ground.data.unitOfWork(() => ground.data.unitOfWork(async () => {}, { isolation: 'serializable' }))
    await expect(unit).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })

  it('refuses the em of an outer unit while a savepoint of it is open', async () => {
    const unit = ground.data.unitOfWork(({ em }) => ground.data.unitOfWork(() => ground.data.unitOfWork(async () => {}, { em })))
    await expect(unit).rejects.toMatchObject({ code: 'TRANSACTION_FORK' })
  })
})
