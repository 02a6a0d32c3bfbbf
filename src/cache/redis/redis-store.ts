import { consoleLogger, type Logger } from '../../kernel/logger.ts'
import type { RedisClient } from '../../redis/redis-client.ts'
import type { RedisConnection } from '../../redis/redis-connection.ts'
import { serverRun } from '../../redis/server-run.ts'
import type { CacheStore, EntryRequest, Fill, Found, Lease, LeaseRequest } from '../cache-store.ts'
import { EntryWriter } from './entry-writer.ts'
import { type BusMessage, busChannel } from './invalidation-bus.ts'
import { withRemedy } from './missing-rights.ts'
import { portionsOf } from './portions.ts'
import { ReadRound } from './read-round.ts'
import { RedisLeases } from './redis-leases.ts'

/** How long a commit waits for its invalidation. Reads wait less: they have the database to turn to. */
const invalidationTimeoutMs = 100

/** With so many keys of single reads a round is sent: Redis answers it while the next is gathered here, and prepares the next while this is read. */
const fullRound = 32

/** So many that are read together are one round: to send a command takes longer than to have Redis look thirty keys up. */
const largestRound = 128

/** How long the question about health may take: a first connection to a Redis that is well may take longer than a read waits. */
const pingTimeoutMs = 1000

/** Reads that are made together, and the one answer to them. */
interface OpenRound {
  readonly round: ReadRound
  readonly answered: Promise<void>
  /** Sends it, unless it was sent before. */
  readonly send: () => void
}

interface FoundWithLife {
  readonly answer: Found
  readonly leftMs: number
}

/** What a {@link RedisStore} works with. */
export interface RedisStoreParts {
  readonly redis: RedisConnection
  /** Begins every key. */
  readonly prefix: string
  /** Names this process on the bus. */
  readonly self: string
  /** Tells one database from another: see `CacheSurroundings`. */
  readonly database?: () => Promise<string>
  /** How much an entry may take to be kept, in bytes. */
  readonly maxBytes?: number | undefined
  readonly logger?: Logger
}

/**
 * Keeps entries in Redis, for all processes that use the same prefix. An entry tells of which database it is, so that databases which share a
 * prefix end each other's entries and never get them.
 */
export class RedisStore implements CacheStore {
  readonly name = 'redis'
  readonly #redis: RedisConnection
  readonly #prefix: string
  readonly #self: string
  readonly #identify: () => Promise<string>
  readonly #logger: Logger
  readonly #leases: RedisLeases
  #database: string | undefined
  #asked: Promise<string> | undefined
  #warned = false
  #open: OpenRound | undefined

  constructor({ redis, prefix, self, database = async () => '', logger = consoleLogger, maxBytes }: RedisStoreParts) {
    this.#redis = redis
    this.#prefix = prefix
    this.#self = self
    this.#identify = database
    this.#logger = logger
    const writer = new EntryWriter(logger, maxBytes)
    this.#leases = new RedisLeases({ run: (...command) => this.#run(...command), key: this.#key, writer })
  }

  async read(requests: readonly EntryRequest[]): Promise<readonly Found[]> {
    if (requests.length === 0) return []
    if (requests.length > largestRound) {
      const parts: Promise<readonly Found[]>[] = []
      for (let at = 0; at < requests.length; at += largestRound) parts.push(this.read(requests.slice(at, at + largestRound)))
      return (await Promise.all(parts)).flat()
    }
    this.#database ??= await this.#ask()
    this.#open ??= this.#openRound(this.#database)
    const { round, answered, send } = this.#open
    const place = round.add(requests)
    if (round.keys.length >= fullRound) send()
    await answered
    return requests.map((request, index) => round.answer(request, place + index))
  }

  /**
   * Like {@link read}, with the milliseconds that each entry has left, in the same round trip. A long list goes in portions: thousands of questions
   * after lives, sent at once, are not answered within the timeout.
   */
  async readWithLife(requests: readonly EntryRequest[]): Promise<readonly FoundWithLife[]> {
    const found: FoundWithLife[] = []
    for (const portion of portionsOf(requests)) found.push(...(await this.#readWithLife(portion)))
    return found
  }

  async #readWithLife(requests: readonly EntryRequest[]): Promise<readonly FoundWithLife[]> {
    // The read must not wait for it while the question after the lives goes out.
    this.#database ??= await this.#ask()
    const read = this.read(requests)
    // Asked after the value: of a lease that was just filled it would be the life of the lease.
    const lives = new Promise<void>((resolve) => process.nextTick(resolve)).then(() =>
      this.#run('reading the cache', (client) => Promise.all(requests.map(({ key }) => client.pttl(this.#key(key))))),
    )
    const [answers, left] = await Promise.all([read, lives])
    return answers.map((answer, index) => ({ answer, leftMs: left[index] ?? 0 }))
  }

  acquire(requests: readonly LeaseRequest[], leaseMs: number): Promise<readonly (readonly string[] | undefined)[]> {
    return this.#leases.acquire(requests, leaseMs)
  }

  renew(leases: readonly Lease[], leaseMs: number): Promise<void> {
    return this.#leases.renew(leases, leaseMs)
  }

  async fill(fills: readonly Fill[]): Promise<readonly boolean[]> {
    this.#database ??= await this.#ask()
    return this.#leases.fill(fills, this.#database)
  }

  async invalidate(keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return
    const message = JSON.stringify({ from: this.#self, keys } satisfies BusMessage)
    await this.#run(
      'invalidating cache entries',
      async (client) => {
        const deleted = deleteAll(client, keys.map(this.#key))
        // Who hears of it and asks Redis must find them gone: one connection keeps the order, those to a cluster do not.
        if (client.isCluster) await deleted
        await Promise.all([deleted, client.publish(busChannel(this.#prefix), message)])
      },
      invalidationTimeoutMs,
    )
  }

  ping(): Promise<number> {
    return this.#redis.ping(pingTimeoutMs)
  }

  close(): Promise<void> {
    return this.#redis.close()
  }

  /** Asked once, however many wait for the answer; again after a failure. */
  #ask(): Promise<string> {
    this.#asked ??= this.#identify().catch((error: unknown) => {
      this.#asked = undefined
      throw error
    })
    return this.#asked
  }

  /** Gathers what is read until the running code has come to its end, or enough, for one command: it costs less than one for each. */
  #openRound(database: string): OpenRound {
    const round = new ReadRound(this.#prefix, database, () => this.#warnOfAnother())
    const { promise: answered, resolve, reject } = Promise.withResolvers<void>()
    const send = () => {
      if (this.#open?.round !== round) return
      this.#open = undefined
      const asked = this.#run('reading the cache', async (client) => {
        void serverRun(client)
        round.answered(await getAll(client, round.keys), await serverRun(client))
      })
      asked.then(resolve, reject)
    }
    process.nextTick(send)
    return { round, answered, send }
  }

  #warnOfAnother(): void {
    if (this.#warned) return
    this.#warned = true
    const what = `Another database, or another role of this one, is cached under the prefix "${this.#prefix}" of the same Redis`
    const cure = 'give each database a prefix of its own: redisCache({ prefix }), and all processes of one the same role'
    this.#logger.warn(`${what}, which costs both of them most hits; ${cure}`)
  }

  async #run<T>(what: string, command: (client: RedisClient) => Promise<T>, timeoutMs?: number): Promise<T> {
    try {
      return await this.#redis.run(what, command, timeoutMs)
    } catch (error) {
      throw withRemedy(error, this.#prefix)
    }
  }

  readonly #key = (key: string): string => this.#prefix + key
}

// Keys of one command must lie on one node of a cluster; commands of one tick travel together anyway.
function getAll(client: RedisClient, keys: string[]): Promise<readonly (string | null)[]> {
  return client.isCluster ? Promise.all(keys.map((key) => client.get(key))) : client.mget(keys)
}

async function deleteAll(client: RedisClient, keys: string[]): Promise<void> {
  await (client.isCluster ? Promise.all(keys.map((key) => client.unlink(key))) : client.unlink(keys))
}
