import { expect, test } from 'vitest'
import type { LeaseRequest } from '../../../src/cache/cache-store.ts'
import { EntryWriter } from '../../../src/cache/redis/entry-writer.ts'
import { RedisLeases } from '../../../src/cache/redis/redis-leases.ts'
import { silentLogger } from '../../../src/kernel/logger.ts'

interface Sent {
  readonly what: string
  readonly key: string
  readonly args: readonly unknown[]
}

/** Leases in a Redis that grants everything, and is away for the commands of one turn. */
function open({ awayAt }: { readonly awayAt?: number } = {}) {
  const turns: { readonly what: string; readonly sent: Sent[] }[] = []
  const send = (_script: string, _keys: number, key: string, ...args: unknown[]) => {
    const turn = turns.at(-1)
    turn?.sent.push({ what: turn.what, key, args })
    return Promise.resolve(1)
  }
  const client = { eval: send, evalsha: send, info: async () => '' }
  const run = async (what: string, command: (client: never) => Promise<unknown>) => {
    turns.push({ what, sent: [] })
    const away = turns.length === awayAt
    const answer = await command(client as never)
    if (away) throw new Error('Redis is away')
    return answer
  }
  const writer = new EntryWriter(silentLogger)
  return { turns, leases: new RedisLeases({ run: run as never, key: (key) => `test:${key}`, writer }) }
}

function requests(length: number): LeaseRequest[] {
  return Array.from({ length }, (_, id) => ({
    ...{ key: `E:${id}`, stamps: ['E#*'], version: '1', token: `token ${id}`, seen: undefined, keepMs: 1000 },
  }))
}
const fillsOf = (length: number, payload: unknown) =>
  requests(length).map(({ key, version, token }) => ({ key, version, token, stamps: ['s'], payload, ttlMs: 1000 }))

test('the leases of a long list are taken and filled in portions, each with a timeout of its own', async () => {
  const { leases, turns } = open()
  expect(await leases.acquire(requests(300), 1000)).toHaveLength(300)
  expect(await leases.fill(fillsOf(300, 'row'), 'db')).toEqual(Array.from({ length: 300 }, () => true))
  expect(turns.map(({ what }) => what)).toEqual([
    ...Array.from({ length: 3 }, () => 'leasing cache entries'),
    ...Array.from({ length: 3 }, () => 'filling the cache'),
  ])
  for (const { sent } of turns) expect(sent.length).toBeLessThanOrEqual(129) // and the stamp that they have in common
})

test('of large payloads about a million bytes go together', async () => {
  const { leases, turns } = open()
  await leases.fill(fillsOf(5, 'x'.repeat(400_000)), 'db')
  expect(turns.map(({ sent }) => sent.length)).toEqual([2, 2, 1])
})

test('leases that Redis may have granted without an answer are given back', async () => {
  const { leases, turns } = open({ awayAt: 2 })
  await expect(leases.acquire(requests(300), 1000)).rejects.toThrow('Redis is away')
  const back = () => turns.flatMap(({ sent }) => sent).filter(({ what }) => what === 'giving leases of the cache back')
  await expect.poll(() => back().map(({ key }) => key)).toEqual(requests(300).map(({ key }) => `test:${key}`))
  expect(back()[0]).toMatchObject({ args: ['token 0', '', 1, ''] })
  expect(turns.filter(({ what }) => what === 'leasing cache entries')).toHaveLength(2)
})

test('so are those whose fill was not answered', async () => {
  const { leases, turns } = open({ awayAt: 1 })
  await expect(leases.fill(fillsOf(300, 'row'), 'db')).rejects.toThrow('Redis is away')
  const back = () => turns.flatMap(({ sent }) => sent).filter(({ what }) => what === 'giving leases of the cache back')
  await expect.poll(() => back().length).toBe(300)
})
