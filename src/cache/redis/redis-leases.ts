import { randomUUID } from 'node:crypto'
import { hasErrorCode } from '../../errors.ts'
import type { RedisClient } from '../../redis/redis-client.ts'
import { serverRun } from '../../redis/server-run.ts'
import type { Fill, Lease, LeaseRequest } from '../cache-store.ts'
import type { EntryWriter } from './entry-writer.ts'
import { portionsOf } from './portions.ts'
import { stampIn } from './read-round.ts'
import { acquireScript, fillScript, openStampScript, renewScript } from './scripts.ts'

/** How long it may take to give leases back: nobody waits for that. */
const giveBackTimeoutMs = 1000

/** What {@link RedisLeases} work with. */
export interface RedisLeasesParts {
  /** Runs commands, which are answered within the timeout. */
  readonly run: <T>(what: string, command: (client: RedisClient) => Promise<T>, timeoutMs?: number) => Promise<T>
  /** The name in Redis of a key. */
  readonly key: (key: string) => string
  readonly writer: EntryWriter
}

/**
 * Takes leases in Redis, renews them, and fills or gives them back. A long list goes in portions, each with a timeout of its own: sent at once it would not be
 * answered within one.
 */
export class RedisLeases {
  readonly #parts: RedisLeasesParts

  constructor(parts: RedisLeasesParts) {
    this.#parts = parts
  }

  /** As {@link CacheStore.acquire}. */
  async acquire(requests: readonly LeaseRequest[], leaseMs: number): Promise<readonly (readonly string[] | undefined)[]> {
    const granted: (readonly string[] | undefined)[] = []
    try {
      for (const portion of portionsOf(requests)) granted.push(...(await this.#acquire(portion, leaseMs)))
      return granted
    } catch (error) {
      // They may be granted all the same, and would keep everyone from filling until they end.
      void this.#giveBack(requests)
      throw error
    }
  }

  /** As {@link CacheStore.renew}. */
  async renew(leases: readonly Lease[], leaseMs: number): Promise<void> {
    for (const portion of portionsOf(leases)) {
      await this.#parts.run('renewing leases of the cache', (client) =>
        Promise.all(portion.map(({ key, token }) => renewScript.run(client, [this.#parts.key(key)], [token, leaseMs]))),
      )
    }
  }

  /** As {@link CacheStore.fill}. @param database names the one that they were loaded from. */
  async fill(fills: readonly Fill[], database: string): Promise<readonly boolean[]> {
    const stored: boolean[] = []
    try {
      for (const portion of portionsOf(this.#parts.writer.writeEach(fills, database), ({ bytes }) => bytes)) {
        const answers = await this.#parts.run('filling the cache', (client) =>
          Promise.all(portion.map(({ fill, text }) => this.#end(client, fill, text, fill.ttlMs, fill.replaces))),
        )
        stored.push(...answers.map((answer, index) => Number(answer) === 1 && portion[index]?.tooLarge === false))
      }
      return stored
    } catch (error) {
      void this.#giveBack(fills)
      throw error
    }
  }

  async #acquire(requests: readonly LeaseRequest[], leaseMs: number): Promise<readonly (readonly string[] | undefined)[]> {
    const stampLives = new Map<string, number>()
    for (const { stamps, keepMs } of requests) {
      for (const stamp of stamps) stampLives.set(stamp, Math.max(keepMs, stampLives.get(stamp) ?? 0))
    }
    const [granted, stamps] = await this.#parts.run('leasing cache entries', (client) =>
      Promise.all([
        Promise.all(requests.map((r) => acquireScript.run(client, [this.#parts.key(r.key)], [r.token, r.seen ?? '', leaseMs]))),
        Promise.all(
          [...stampLives].map(async ([key, keepMs]) => {
            const value = await openStampScript.run(client, [this.#parts.key(key)], [randomUUID(), keepMs])
            return [key, stampIn(await serverRun(client), String(value))] as const
          }),
        ),
      ]),
    )
    const values = new Map(stamps)
    return requests.map((request, index) =>
      Number(granted[index]) === 1 ? request.stamps.map((stamp) => values.get(stamp) as string) : undefined,
    )
  }

  /** Never rejects: a lease that is not given back ends by itself. */
  async #giveBack(leases: readonly Lease[]): Promise<void> {
    for (const portion of portionsOf(leases)) {
      try {
        const give = (client: RedisClient) => Promise.all(portion.map((lease) => this.#end(client, lease, '')))
        await this.#parts.run('giving leases of the cache back', give, giveBackTimeoutMs)
      } catch (error) {
        if (!hasErrorCode(error, 'REDIS_COMMAND_FAILED')) return
      }
    }
  }

  /** Puts a text in the place of a lease, or of the entry that it replaces; without a text nothing. */
  #end(client: RedisClient, { key, token }: Lease, text: string, ttlMs = 1, replaces = ''): Promise<unknown> {
    return fillScript.run(client, [this.#parts.key(key)], [token, text, ttlMs, replaces])
  }
}
