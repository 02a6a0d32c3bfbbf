import { randomUUID } from 'node:crypto'
import type { EntityManager, EventSubscriber, MikroORM, Options } from '@mikro-orm/core'
import { MikroORM as PostgresqlOrm } from '@mikro-orm/postgresql'
import { MikroORM as SqliteOrm } from '@mikro-orm/sqlite'
import type { Redis } from 'ioredis'
import { inject } from 'vitest'
import type { CacheStore } from '../../src/cache/cache-store.ts'
import { MemoryStore } from '../../src/cache/memory/memory-store.ts'
import { redisCache, type TierOptions } from '../../src/cache/redis/redis-cache.ts'
import { cacheTables } from '../../src/cache/tables.ts'
import { TransactionSubscriber } from '../../src/database/transaction-subscriber.ts'
import type { Clock } from '../../src/kernel/clock.ts'
import { type Logger, silentLogger } from '../../src/kernel/logger.ts'
import { type Cache, type OpenCacheOptions, openCache } from '../../src/repository/cached-reads.ts'
import {
  AccountSchema,
  accountPolicy,
  MediumSchema,
  mediumPolicy,
  PaidPlanSchema,
  PhotoSchema,
  PlanSchema,
  planPolicy,
  StaySchema,
  stayPolicy,
  VisitSchema,
  visitPolicy,
} from './account-entities.ts'
import {
  Author,
  AuthorSchema,
  authorPolicy,
  Book,
  BookSchema,
  bookPolicy,
  booksOf,
  countBooks,
  latestBook,
} from './cache-entities.ts'
import { dialects, openTestDatabase, type TestDialect } from './databases.ts'

/** Under which the processes of a ground sweep for each other. */
export const sweepSpace = 'test'

export const storeNames = ['memory', 'redis'] as const
export type StoreName = (typeof storeNames)[number]

/** Each dialect with each store. */
export const cacheCombinations = dialects.flatMap((dialect) => storeNames.map((store) => ({ dialect, store })))

/** A database with cached reads, and the means to look behind them. */
export interface CacheGround {
  readonly orm: MikroORM
  readonly cache: Cache
  readonly store: CacheStore
  /** Begins the keys of this ground in Redis. */
  readonly prefix: string
  /** The SQL statements run since the last call. */
  takeQueries(): string[]
  fork(): EntityManager
  /** Makes and commits an author. */
  author(values?: Partial<{ id: string; email: string; name: string }>): Promise<Author>
  book(author: Author, edition: number): Promise<Book>
  /** Opens another cache on the same database and store, as another process would. */
  openOther(): Promise<CacheGround>
  close(): Promise<void>
}

export interface CacheGroundOptions {
  readonly redisUrl?: string
  readonly redisClient?: Redis
  /** How long to wait for Redis; so long by default that no slow machine makes a miss of a hit. */
  readonly timeoutMs?: number
  /** Beside those of `cache-entities.ts`. */
  readonly entities?: NonNullable<Options['entities']>
  readonly subscribers?: readonly EventSubscriber[]
  /** In place of those of `cache-entities.ts`. */
  readonly caches?: OpenCacheOptions['caches']
  /** Moves the cache and the memory store; not Redis, which has a clock of its own. */
  readonly clock?: Clock
  /** How often a process with Redis looks for what another one did not expire; so rarely by default that no slow machine makes a miss of a hit. */
  readonly sweepMs?: number
  /** Keeps copies of what is in Redis in each process. */
  readonly tier?: TierOptions
  readonly logger?: Logger
  /** Puts something in front of the store of each process. */
  readonly around?: (store: CacheStore) => CacheStore
}

export async function openCacheGround(
  dialect: TestDialect,
  store: StoreName,
  options: CacheGroundOptions = {},
): Promise<CacheGround> {
  const database = await openTestDatabase(dialect)
  const prefix = `test-${randomUUID().slice(0, 8)}:`
  const { redisUrl = inject('redisUrl'), redisClient, timeoutMs = 5000, around = (inner: CacheStore) => inner } = options
  const memory = new MemoryStore({ maxEntries: 10_000, ...clockOf(options) })
  const openStore = () =>
    store === 'memory'
      ? memory
      : redisCache({
          ...(redisClient === undefined ? { url: redisUrl } : { client: redisClient }),
          ...(options.tier === undefined ? {} : { tier: options.tier }),
          ...{ prefix, timeoutMs },
        }).open({ logger: silentLogger })
  const grounds: CacheGround[] = []
  const connected = async (begin: (orm: MikroORM) => Promise<void>, openOther: () => Promise<CacheGround>) =>
    open(dialect, database.url, around(openStore()), options, begin, openOther)
  const ground = await connected(
    (orm) => orm.schema.create(),
    async () => {
      const other = await connected(
        async () => undefined,
        () => Promise.reject(new Error('open it from the first')),
      )
      grounds.push(other)
      return other
    },
  )
  return {
    ...ground,
    prefix,
    close: async () => {
      for (const each of [...grounds, ground]) await each.close()
      await database.close()
    },
  }
}

function clockOf({ clock }: CacheGroundOptions): { readonly clock?: Clock } {
  return clock === undefined ? {} : { clock }
}

const usualCaches = [
  authorPolicy,
  bookPolicy,
  accountPolicy,
  planPolicy,
  mediumPolicy,
  visitPolicy,
  stayPolicy,
  latestBook,
  booksOf,
  countBooks,
]

async function open(
  dialect: TestDialect,
  url: string,
  store: CacheStore,
  options: CacheGroundOptions,
  /** Runs before there is a cache: its first look for what others left finds the tables, and nothing else in its way. */
  begin: (orm: MikroORM) => Promise<void>,
  openOther: () => Promise<CacheGround>,
): Promise<CacheGround> {
  const queries: string[] = []
  const looked = Promise.withResolvers<void>()
  const subscriber = new TransactionSubscriber([], (error) => {
    throw error
  })
  const shared: Partial<Options> = {
    entities: [
      AuthorSchema,
      BookSchema,
      AccountSchema,
      PlanSchema,
      PaidPlanSchema,
      MediumSchema,
      PhotoSchema,
      VisitSchema,
      StaySchema,
      ...(options.entities ?? []),
      ...cacheTables.entities,
    ],
    subscribers: subscriber.around(options.subscribers ?? []),
    ensureDatabase: false,
    debug: ['query'],
    colors: false,
    // Sweeps come when they come, with transactions and pragmas around them.
    logger: (message) => {
      if (message.includes('from cache_invalidations')) looked.resolve()
      if (/\b(select|insert|update|delete)\b/.test(message) && !message.includes('cache_invalidations')) queries.push(message)
    },
  }
  const orm: MikroORM = await (dialect === 'sqlite'
    ? SqliteOrm.init({ ...shared, dbName: url.replace(/^sqlite:/, ''), driverOptions: { timeout: 5000 } } as never)
    : PostgresqlOrm.init({ ...shared, clientUrl: url } as never))
  await begin(orm)
  const { caches = usualCaches, sweepMs = 60_000, logger = silentLogger } = options
  const sweep = store.name === 'redis' ? { space: sweepSpace, everyMs: sweepMs } : undefined
  const scopeOf = (em: EntityManager) => subscriber.scopeOf(em)
  const cache = openCache({ orm, store, scopeOf, sweep, caches, logger, ...clockOf(options) })
  if (cache.participant !== undefined) subscriber.join(cache.participant)
  // Or it may yet expire what the test commits next, a second time.
  if (sweep !== undefined) await looked.promise
  const fork = () => orm.em.fork()
  return {
    orm,
    cache,
    store,
    prefix: '',
    openOther,
    fork,
    takeQueries: () => queries.splice(0),
    author: async (values = {}) => {
      const em = fork()
      const author = em.create(Author, { email: `${randomUUID()}@example.dev`, name: 'Alex', ...values } as never)
      await em.flush()
      return author
    },
    book: async (author, edition) => {
      const em = fork()
      const book = em.create(Book, { author: author.id, title: `Edition ${edition}`, edition })
      await em.flush()
      return book
    },
    close: async () => {
      await cache.close()
      await orm.close()
    },
  }
}
