import { defineEntity, type EntityManager, p } from '@mikro-orm/core'
import type { SqlEntityManager } from '@mikro-orm/sql'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { cachePolicy } from '../../src/cache/policy.ts'
import { type CachedAccess, openCachedAccess } from '../support/cached-access.ts'
import { dialects } from '../support/databases.ts'

const PageSchema = defineEntity({
  name: 'Page',
  tableName: 'pages',
  properties: { id: p.integer().primary(), text: p.text() },
})
class Page extends PageSchema.class {}
PageSchema.setClass(Page)

let access: CachedAccess
afterEach(() => access.close())

/** What an update returns. It writes as its rows are read. */
function updated(em: EntityManager): AsyncGenerator<unknown> {
  return (em as SqlEntityManager).qb(Page).update({ text: 'new' }).where({ text: 'old' }).returning('*').stream() as never
}

describe.each(dialects)('a stream of what an update returns, on %s', (dialect) => {
  beforeEach(async () => {
    access = await openCachedAccess(dialect, 'redis', { entities: [Page], caches: [cachePolicy(Page)] })
    for (let id = 1; id < 4; id++) await access.add([Page, { id, text: 'old' }])
    expect(await seen()).toEqual(['old', 'old', 'old'])
  })
  const seen = async () => (await access.data.cached(Page).getMany([1, 2, 3])).map((page) => page?.text)
  const stored = async () => (await access.data.fork().find(Page, {}, { orderBy: { id: 1 } })).map(({ text }) => text)

  test.each(['a unit', 'a nested unit', 'a transaction'])('expires what it wrote also when %s ended it', async (where) => {
    const { data } = access
    const leave = async (em: EntityManager) => expect((await updated(em).next()).value).toMatchObject({ text: 'new' })
    if (where === 'a unit') await data.unitOfWork(({ em }) => leave(em))
    else if (where === 'a nested unit') await data.unitOfWork(() => data.unitOfWork(({ em }) => leave(em)))
    else await data.fork().transactional(leave)
    expect((await stored()).filter((text) => text === 'new').length).toBeGreaterThan(0)
    expect(await seen()).toEqual(await stored())
  })

  test('expires what it wrote outside of transactions with its first row, however many there are', async () => {
    const { data } = access
    await data.unitOfWork(async ({ em }) => {
      // The driver asks for a hundred rows at a time.
      for (let id = 4; id <= 250; id++) em.create(Page, { id, text: 'old' })
    })
    const rows = updated(data.fork())
    expect((await rows.next()).value).toMatchObject({ text: 'new' })
    expect(await seen()).toEqual(['new', 'new', 'new'])
    let others = 0
    for await (const _ of rows) others++
    expect(others).toBe(249)
    expect((await stored()).every((text) => text === 'new')).toBe(true)
  })

  test('expires nothing when its transaction is rolled back', async () => {
    const { data } = access
    const { hits } = data.cached(Page).stats()
    const failing = data.unitOfWork(async ({ em }) => {
      await updated(em).next()
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(await seen()).toEqual(['old', 'old', 'old'])
    expect(data.cached(Page).stats().hits).toBe(hits + 3)
  })
})
