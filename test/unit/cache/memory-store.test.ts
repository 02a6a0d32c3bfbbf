import { randomUUID } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { MemoryStore } from '../../../src/cache/memory/memory-store.ts'
import { fill, filled, hit, leased, look, request } from '../../../src/testing/cache-store-steps.ts'

describe('a memory store that is full', () => {
  let store: MemoryStore
  const all = { stamps: [`all:${randomUUID()}`] }
  const row = () => ({ ...request(), ...all })
  const stampOf = async () => (await leased(store, row())).stamps[0]
  beforeEach(() => {
    store = new MemoryStore({ maxEntries: 3 })
  })

  test('keeps what is read, and the stamp that it hangs on', async () => {
    const read = row()
    await filled(store, read, 'read')
    for (let others = 0; others < 10; others++) {
      await filled(store, request(2), 'other')
      expect(await look(store, read)).toEqual(hit('read'))
    }
  })

  test('keeps the stamp of a load after the entries that had it are gone', async () => {
    await filled(store, row(), 'one')
    const loading = row()
    const proof = await leased(store, loading)
    await filled(store, request(1), 'other')
    await look(store, loading)
    await filled(store, request(1), 'other')
    await fill(store, loading, proof, 'loaded')
    expect(await look(store, loading)).toEqual(hit('loaded'))
  })

  test('ends an entry by its stamp, however many have come and gone between', async () => {
    const [first, second] = [row(), row()]
    await filled(store, first, 'first')
    await filled(store, second, 'second')
    for (let others = 0; others < 2; others++) {
      await look(store, second)
      await filled(store, request(1), 'other')
    }
    await store.invalidate(all.stamps)
    expect((await look(store, second)).state).toBe('absent')
    await filled(store, first, 'first anew')
    expect(await look(store, first)).toEqual(hit('first anew'))
    expect((await look(store, second)).state).toBe('absent')
  })

  test('forgets a stamp with the last that hung on it', async () => {
    const before = await stampOf()
    expect(await stampOf()).toBe(before)
    for (let others = 0; others < 3; others++) await filled(store, request(1), 'other')
    expect(await stampOf()).not.toBe(before)
  })
})

test('a memory store that is closed keeps nothing more, nor what was being loaded', async () => {
  const store = new MemoryStore({ maxEntries: 3 })
  const [kept, loading] = [request(), request()]
  await filled(store, kept, 'kept')
  const proof = await leased(store, loading)
  await store.close()
  await store.fill([{ ...loading, ...proof, payload: 'loaded', ttlMs: 60_000 }])
  for (const each of [kept, loading]) expect((await look(store, each)).state).toBe('absent')
  await expect(leased(store, kept)).rejects.toMatchObject({ code: 'CLOSED' })
})
