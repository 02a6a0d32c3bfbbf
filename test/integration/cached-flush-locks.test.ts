import { setTimeout as delay } from 'node:timers/promises'
import { DriverException, type EntityManager } from '@mikro-orm/core'
import { afterEach, describe, expect, test } from 'vitest'
import type { CacheStore } from '../../src/cache/cache-store.ts'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { runSql } from '../../src/database/sql.ts'
import { Author, authorPolicy, Book, bookPolicy, booksOf } from '../support/cache-entities.ts'
import { type CacheGround, openCacheGround } from '../support/cache-ground.ts'
import { dialects } from '../support/databases.ts'

/** Queries depend on authors and books by values, so a flush reads these before it changes them. */
const named = cachedQuery({
  name: 'named',
  dependsOn: (params: { name: string }) => [dep(Author, { name: params.name })],
  run: (em, { name }) => em.find(Author, { name }),
})
const caches = [authorPolicy, bookPolicy, booksOf, named] as never

let ground: CacheGround
afterEach(() => ground.close())

const outcome = (work: Promise<unknown>) => work.then(() => 'ok', String)
const open = (em: EntityManager, work: (inside: EntityManager) => Promise<void>) => {
  const gate = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  const ended = em.transactional(async (inside) => {
    await work(inside)
    begun.resolve()
    await gate.promise
  })
  const end = () => {
    gate.resolve()
    return ended
  }
  return { begun: begun.promise, end }
}

describe.each(dialects)('a flush on %s that reads what rows had', (dialect) => {
  test('and cannot, rejects as its write would, and gives its connection back', { timeout: 60_000 }, async () => {
    ground = await openCacheGround(dialect, 'memory', { caches })
    const { id } = await ground.author()
    if (dialect === 'postgresql') {
      const [row] = await runSql<{ name: string }>(ground.fork(), 'select current_database() as name')
      await runSql(ground.fork(), `alter database ${row?.name} set lock_timeout = '50ms'`)
    }
    const other = await ground.openOther()
    const holder = open(ground.fork(), (em) => em.nativeUpdate(Author, { id }, { rating: 1 }).then(() => {}))
    await holder.begun
    // More than a pool has connections.
    for (let turn = 0; turn < (dialect === 'postgresql' ? 12 : 1); turn++) {
      const em = other.fork()
      const author = await em.findOneOrFail(Author, id)
      author.rating = 5 + turn
      await expect(em.flush()).rejects.toBeInstanceOf(DriverException)
    }
    await holder.end()
    expect((await other.fork().findOneOrFail(Author, id)).rating).toBe(1)
  })

  test('changes several rows at once without a word to those that refer to them', async () => {
    const expired: string[] = []
    const listening = (store: CacheStore) => {
      const invalidate = store.invalidate.bind(store)
      store.invalidate = (keys) => {
        expired.push(...keys)
        return invalidate(keys)
      }
      return store
    }
    ground = await openCacheGround(dialect, 'memory', { caches, around: listening })
    const authors = [await ground.author(), await ground.author()]
    const em = ground.fork()
    for (const author of await em.find(Author, {})) author.rating = 3
    expired.length = 0
    await em.flush()
    expect(expired.filter((key) => key.startsWith('Author:'))).toHaveLength(authors.length)
    expect(expired.filter((key) => key.endsWith('#*'))).toEqual([])
  })
})

describe('flushes on PostgreSQL that read what rows had', () => {
  test('lock a row that they delete, or whose keys they change, as that does', { timeout: 30_000 }, async () => {
    ground = await openCacheGround('postgresql', 'memory', { caches })
    for (const change of ['delete', 'email'] as const) {
      const { id } = await ground.author()
      // Holds a weak lock on the author, by the new book, and then wants a stronger one.
      const child = ground.fork().transactional(async (em) => {
        em.create(Book, { author: id, title: 'a', edition: 1 } as never)
        await em.flush()
        await delay(300)
        const author = await em.findOneOrFail(Author, id)
        author.rating = 7
      })
      const children = outcome(child)
      await delay(100)
      const em = ground.fork()
      const author = await em.findOneOrFail(Author, id)
      if (change === 'email') author.email = `${id}@elsewhere.dev`
      else em.remove(author)
      expect([await outcome(em.flush()), await children]).toEqual(['ok', 'ok'])
    }
  })

  test('lock parents before children, as a delete that goes on to them does', { timeout: 60_000 }, async () => {
    ground = await openCacheGround('postgresql', 'memory', { caches })
    const outcomes: string[] = []
    for (let turn = 0; turn < 30; turn++) {
      const author = await ground.author()
      const book = await ground.book(author, 1)
      const [one, other] = [ground.fork(), ground.fork()]
      const parent = await one.findOneOrFail(Author, author.id)
      const child = await one.findOneOrFail(Book, book.id)
      parent.rating = 1
      child.title = 'changed'
      other.remove(await other.findOneOrFail(Author, author.id))
      outcomes.push(...(await Promise.all([outcome(one.flush()), outcome(delay(turn % 4).then(() => other.flush()))])))
    }
    expect(outcomes.filter((each) => each.includes('deadlock'))).toEqual([])
  })

  test.each(['changed a parent that no query watches', 'inserted another child of the parent'])(
    'lock a child only after they have %s',
    { timeout: 60_000 },
    async (what) => {
      const inserts = what.startsWith('inserted')
      ground = await openCacheGround('postgresql', 'memory', { caches: [authorPolicy, bookPolicy, booksOf] as never })
      const author = await ground.author()
      const book = await ground.book(author, 1)
      const [em, other] = [ground.fork(), ground.fork()]
      const child = await em.findOneOrFail(Book, book.id)
      child.title = 'changed'
      if (inserts) em.create(Book, { author: author.id, title: 'new', edition: 2 } as never)
      else (await em.findOneOrFail(Author, author.id)).rating = 3
      const wait = () => delay(400)
      em.getEventManager().registerSubscriber({
        getSubscribedEntities: () => (inserts ? [Book] : [Author]),
        ...{ beforeCreate: wait, beforeUpdate: wait },
      })
      other.remove(await other.findOneOrFail(Author, author.id))
      const flushed = outcome(em.flush())
      await delay(100)
      // Holds the parent, and then waits for whoever holds the child.
      expect(await outcome(other.flush())).toBe('ok')
      expect(await flushed).not.toContain('deadlock')
    },
  )

  test('in a transaction that nobody saw begin tell of what they cannot write down, and lose nothing in silence', async () => {
    ground = await openCacheGround('postgresql', 'redis', { caches })
    const { id } = await ground.author({ name: 'before' })
    const role = `role_${id.replaceAll('-', '')}`
    const admin = ground.fork()
    await runSql(admin, `create role ${role}`)
    await runSql(admin, `grant all on authors, books to ${role}`)
    const connection = ground.orm.em.getConnection('write')
    const transaction = await connection.begin({})
    const em = ground.fork()
    em.setTransactionContext(transaction)
    await runSql(em, `set local role ${role}`)
    const author = await em.findOneOrFail(Author, id)
    author.name = 'after'
    await expect(em.flush()).rejects.toThrow('cache_invalidations')
    await connection.rollback(transaction)
    await runSql(admin, `drop owned by ${role}`)
    await runSql(admin, `drop role ${role}`)
  })
})
