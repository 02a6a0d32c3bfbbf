import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises'
import type { CacheStore } from '../../src/cache/cache-store.ts'
import { InvalidationLog } from '../../src/cache/invalidation-log.ts'
import { InvalidationSweep } from '../../src/cache/invalidation-sweep.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import type { RedisStore } from '../../src/cache/redis/redis-store.ts'
import { runSql } from '../../src/database/sql.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { ManualClock } from '../../src/testing/manual-clock.ts'
import { Author, Book, booksOf, countBooks, latestBook } from './cache-entities.ts'
import { FuzzCopies } from './cache-fuzz-copies.ts'
import { type CacheGround, openCacheGround, type StoreName, sweepSpace } from './cache-ground.ts'
import { Gates } from './gates.ts'
import type { Moment } from './history.ts'

export const fuzzAuthors = cachePolicy(Author, { ttl: 60_000, uniques: ['email'] })
/** Past their ttl at once, so that nearly every hit is read anew behind its reader's back. */
const fuzzBooks = cachePolicy(Book, { ttl: 1, serveStale: 60_000 })

/** A cache with its ORM, as a process of its own has it. */
export interface FuzzProcess {
  readonly ground: CacheGround
  readonly gates: Gates
  /** Where processes have some. */
  readonly copies: FuzzCopies | undefined
  /** Up to when it knows what was committed. */
  known: Moment
}

/** Several caches on one database and one store that stand still until they are told to go on. */
export class FuzzWorld {
  readonly clock = new ManualClock()
  readonly processes: FuzzProcess[] = []
  readonly #gates: Gates[] = []
  readonly #stores: CacheStore[] = []
  readonly #copies: FuzzCopies[] = []
  readonly #dead: FuzzProcess[] = []
  #first: CacheGround | undefined

  static async open(store: StoreName, processes: number, redisUrl: string, withCopies = false): Promise<FuzzWorld> {
    const world = new FuzzWorld()
    const around = (inner: CacheStore) => {
      const gates = new Gates()
      world.#gates.push(gates)
      world.#stores.push(inner)
      if (!withCopies) return gated(inner, gates)
      const copies: FuzzCopies = new FuzzCopies(
        gatedBelow(inner as RedisStore, gates, (keys) => world.#tell(keys, copies)),
        world.clock,
      )
      world.#copies.push(copies)
      return copies.store
    }
    const caches = [fuzzAuthors, fuzzBooks, booksOf, latestBook, countBooks]
    // Swept only when a step says so.
    world.#first = await openCacheGround('sqlite', store, { caches, clock: world.clock, around, redisUrl, sweepMs: 600_000 })
    while (world.processes.length < processes) world.processes.push(world.#watched(await world.#first.openOther()))
    return world
  }

  /** The one that never crashes and has no gates: to look at the database with. */
  get ground(): CacheGround {
    return this.#first as CacheGround
  }

  /** The store of all, without gates. */
  get store(): CacheStore {
    return this.#stores[0] as CacheStore
  }

  close(): Promise<void> {
    return this.ground.close()
  }

  /** Kills a process where it stands, and starts another in its place, which knows what all know. */
  async replace(index: number, known: Moment): Promise<void> {
    const dead = this.processes[index] as FuzzProcess
    dead.gates.drop()
    this.#dead.push(dead)
    this.processes[index] = { ...this.#watched(await this.ground.openOther()), known }
  }

  /** Frees what the dead have left. */
  async bury(): Promise<void> {
    for (const { ground } of this.#dead.splice(0)) await ground.close()
  }

  /** Does what the processes of a real system do together within their interval. */
  async sweep(): Promise<void> {
    const sweep = new InvalidationSweep({
      log: new InvalidationLog(this.ground.orm, sweepSpace),
      expire: async (keys) => {
        await this.store.invalidate([...keys])
        this.#tell([...keys])
      },
      everyMs: 2,
      logger: silentLogger,
    })
    sweep.start()
    while ((await runSql(this.ground.fork(), 'select id from cache_invalidations')).length > 0) await delay(1)
    await sweep.stop()
  }

  /** Resolves when all that is under way waits for a step. */
  async settled(): Promise<void> {
    for (let quiet = 0; quiet < 5; quiet++) {
      await turn()
      if (this.#gates.some(({ busy }) => busy)) quiet = 0
    }
  }

  #watched(ground: CacheGround): FuzzProcess {
    const gates = this.#gates.at(-1) as Gates
    const driver = ground.orm.em.getDriver()
    const { find, count } = driver
    driver.find = ((...args: Parameters<typeof find>) => gates.pass('load', () => find.apply(driver, args))) as typeof find
    driver.count = ((...args: Parameters<typeof count>) => gates.pass('load', () => count.apply(driver, args))) as typeof count
    return { ground, gates, copies: this.#copies.at(-1), known: new Map() }
  }

  #tell(keys: readonly string[], by?: FuzzCopies): void {
    for (const copies of this.#copies) if (copies !== by) copies.tell(keys)
  }
}

function gated(inner: CacheStore, gates: Gates): Omit<CacheStore, 'name'> & { readonly name: 'redis' } {
  return {
    name: inner.name as 'redis',
    read: (requests) => gates.pass('read', () => inner.read(requests)),
    acquire: (requests, leaseMs) => gates.pass('acquire', () => inner.acquire(requests, leaseMs)),
    renew: (leases, leaseMs) => inner.renew(leases, leaseMs),
    fill: (fills) => gates.pass('fill', () => inner.fill(fills)),
    invalidate: (keys) => gates.pass('invalidate', () => inner.invalidate(keys)),
    ping: () => inner.ping(),
    close: () => inner.close(),
  }
}

/** Between the copies of a process and Redis. */
function gatedBelow(
  inner: RedisStore,
  gates: Gates,
  told: (keys: readonly string[]) => void,
): Pick<RedisStore, keyof RedisStore> {
  return {
    ...gated(inner, gates),
    readWithLife: (requests) => gates.pass('read', () => inner.readWithLife(requests)),
    invalidate: (keys) =>
      gates.pass('invalidate', async () => {
        await inner.invalidate(keys)
        told(keys)
      }),
  }
}
