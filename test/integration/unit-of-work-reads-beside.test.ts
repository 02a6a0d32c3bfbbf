import type { EntityManager } from '@mikro-orm/core'
import type { SqlEntityManager } from '@mikro-orm/sql'
import { describe, expect, it } from 'vitest'
import { dialects } from '../support/databases.ts'
import { Author, Book, Tag } from '../support/library-entities.ts'
import { libraryGround } from '../support/library-ground.ts'

type Work = (em: EntityManager) => Promise<unknown>

const ways: Record<string, Work> = {
  'a relation, and what is in it': async (em) => {
    await (await em.findOneOrFail(Author, 'a0')).books.loadItems()
    await em.find(Book, { title: 'b0' })
  },
  'a list with its relations, and another': async (em) => {
    await em.populate(await em.find(Author, {}), ['books', 'pages', 'best', 'bio'])
    await em.find(Book, {}, { populate: ['tags', 'lines'] })
  },
  'a count and what the nested unit has edited': async (em) => {
    await em.findAll(Author, { populate: ['books'] })
    await em.count(Book)
    await em.findOne(Author, { name: 'nested' })
  },
}

describe.each(dialects)('reads beside a unit of work, on %s', (dialect) => {
  const ground = libraryGround(dialect)
  /** Edits what the other side knows, and waits until that has read. */
  const beside = async (author: Author, nested: EntityManager, read: Promise<unknown>) => {
    author.name = 'nested'
    await read
    await nested.flush()
  }
  const nameOf = async (id: string) => (await ground.data.fork().findOneOrFail(Author, id)).name

  it.each(Object.keys(ways))('of its outer unit write nothing: %s', async (way) => {
    await ground.data.unitOfWork(async ({ em }) => {
      const author = await em.findOneOrFail(Author, 'a0')
      const [open, read] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const nested = ground.data.unitOfWork((unit) => {
        open.resolve()
        return beside(author, unit.em, read.promise)
      })
      await open.promise
      await ways[way]?.(em)
      read.resolve()
      await nested
    })
    expect(await nameOf('a0')).toBe('nested')
  })

  // On SQLite they would wait for the one connection.
  it.each(dialect === 'postgresql' ? Object.keys(ways) : [])('of the em that it has joined write nothing: %s', async (way) => {
    const em = ground.data.fork()
    const author = await em.findOneOrFail(Author, 'a0')
    const [open, read] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const unit = ground.data.unitOfWork(
      (inner) => {
        open.resolve()
        return beside(author, inner.em, read.promise)
      },
      { em },
    )
    await open.promise
    await ways[way]?.(em)
    read.resolve()
    await unit
    expect(await nameOf('a0')).toBe('nested')
  })

  it('of an outer unit are refused with what it has made: that would be written, and could be rolled back', async () => {
    const outer = ground.data.unitOfWork(async ({ em }) => {
      const [open, read] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const nested = ground.data.unitOfWork(async () => {
        open.resolve()
        await read.promise
      })
      await open.promise
      em.create(Tag, { id: 'new', label: 'new' })
      await em.find(Tag, {}).finally(() => read.resolve())
      await nested
    })
    await expect(outer).rejects.toMatchObject({ code: 'TRANSACTION_FORK' })
  })
})

describe('a connection that is lost in nested units', () => {
  const ground = libraryGround('postgresql')

  it('is what each of them is told, and the outer unit too, also when their errors are caught', async () => {
    const codes: unknown[] = []
    const outer = ground.data.unitOfWork(async () => {
      for (const id of ['t1', 't2', 't3']) {
        const nested = ground.data.unitOfWork(async ({ em }) => {
          em.create(Tag, { id, label: 'x' })
          await em.flush()
          if (id === 't2') await (em as SqlEntityManager).execute('select pg_terminate_backend(pg_backend_pid())')
        })
        await nested.catch(({ code }) => codes.push(code))
      }
    })
    await expect(outer).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
    expect(codes).toEqual(['DATABASE_UNREACHABLE', 'DATABASE_UNREACHABLE'])
    expect(await ground.data.fork().count(Tag)).toBe(0)
  })
})
