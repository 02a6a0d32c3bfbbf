import { randomUUID } from 'node:crypto'
import type { EntityManager } from '@mikro-orm/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runSql } from '../../src/database/sql.ts'
import { inRootContext } from '../../src/kernel/root-context.ts'
import { Author, authorPolicy, Book } from '../support/cache-entities.ts'
import { cacheCombinations } from '../support/cache-ground.ts'
import { type CachedAccess, openCachedAccess } from '../support/cached-access.ts'

const undone = new Error('undone')
const mute = (error: unknown) => {
  if (error !== undone) throw error
}

// What a savepoint beside a write takes back is not what the write has done.
describe.each(cacheCombinations)(
  'a write beside a savepoint that is rolled back on $dialect with $store',
  ({ dialect, store }) => {
    let access: CachedAccess
    beforeAll(async () => {
      access = await openCachedAccess(dialect, store, { entities: [Author, Book], caches: [authorPolicy] })
    })
    afterAll(() => access.close())

    const nested = {
      unit: (_em: EntityManager, work: () => Promise<void>) => access.data.unitOfWork(work),
      transaction: (em: EntityManager, work: () => Promise<void>) => em.transactional(work, { clear: true }),
    }
    const cachedAuthor = async () => {
      const id = randomUUID()
      await access.add([Author, { id, email: id, name: 'old' }])
      expect((await access.data.cached(Author).get(id))?.name).toBe('old')
      return id
    }
    /** Of every order in which the two may reach the database some are refused; what commits must not be served as it was before. */
    const expectCurrent = async (id: string) => {
      const { name } = await access.data.fork().findOneOrFail(Author, id)
      expect((await access.data.cached(Author).get(id))?.name).toBe(name)
    }

    test.each([
      ['bulk write', 'unit'],
      ['bulk write', 'transaction'],
      ['flush', 'unit'],
      ['flush', 'transaction'],
    ] as const)('expires what it wrote: a %s beside a nested %s', async (what, inner) => {
      for (let delay = 0; delay < 40; delay++) {
        const id = await cachedAuthor()
        const unit = access.data.unitOfWork(async ({ em }) => {
          const author = await em.findOneOrFail(Author, id)
          const write = async () => {
            if (what === 'bulk write') return em.nativeUpdate(Author, { id }, { name: 'new' })
            author.name = 'new'
            return em.flush()
          }
          const fail = async () => {
            for (let turn = 0; turn < delay; turn++) await null
            await nested[inner](em, () => Promise.reject(undone)).catch(mute)
          }
          await Promise.all([write(), fail()])
        })
        await unit.catch(() => {})
        await expectCurrent(id)
      }
    })

    if (dialect === 'postgresql') {
      test.each(['unit', 'transaction'] as const)('what is expired by hand beside a nested %s', async (inner) => {
        const id = await cachedAuthor()
        await access.data.unitOfWork(async ({ em }) => {
          await runSql(em, `update authors set name = 'new' where id = ?`, [id])
          const gate = Promise.withResolvers<void>()
          const opened = Promise.withResolvers<void>()
          const ended = nested[inner](em, async () => {
            opened.resolve()
            await gate.promise
            throw undone
          }).catch(mute)
          await opened.promise
          await access.data.cached(Author).invalidate(id)
          gate.resolve()
          await ended
          // Fills the cache again, with what is there before the commit.
          expect((await inRootContext(() => access.data.cached(Author).get(id)))?.name).toBe('old')
        })
        expect((await access.data.cached(Author).get(id))?.name).toBe('new')
      })
    }
  },
)
