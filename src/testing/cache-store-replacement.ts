import assert from 'node:assert/strict'
import { type CacheStoreCase, storeCase } from './cache-store-case.ts'
import { absent, fill, filled, hit, leased, look, replace, request, standing } from './cache-store-steps.ts'

/** Entries that take the place of others, which are still served. */
export const replacementCases: readonly CacheStoreCase[] = [
  storeCase('an entry may be replaced without a lease while it stands, and only once', async (store) => {
    const entry = request(1)
    await filled(store, entry, 'old')
    const old = await standing(store, entry)
    assert.equal(await replace(store, entry, old, 'new'), true)
    assert.deepEqual(await look(store, entry), hit('new'))
    assert.equal(await replace(store, entry, old, 'late'), false)
    assert.deepEqual(await look(store, entry), hit('new'))
  }),
  storeCase('an entry that was invalidated, leased or filled anew is not replaced', async (store) => {
    const entry = request()
    await filled(store, entry, 'old')
    const old = await standing(store, entry)
    await store.invalidate([entry.key])
    assert.equal(await replace(store, entry, old, 'late'), false)
    assert.deepEqual(await look(store, entry), absent)
    const proof = await leased(store, entry)
    assert.equal(await replace(store, entry, old, 'late'), false)
    await fill(store, entry, proof, 'new')
    assert.equal(await replace(store, entry, old, 'late'), false)
    assert.deepEqual(await look(store, entry), hit('new'))
  }),
  storeCase('a stamp invalidated before an entry is replaced makes the new one absent', async (store) => {
    const entry = request(1)
    await filled(store, entry, 'old')
    const old = await standing(store, entry)
    await store.invalidate(entry.stamps)
    await replace(store, entry, old, 'late')
    assert.equal((await look(store, entry)).state, 'absent')
  }),
  storeCase('an entry that is a hit is leased to whoever names its mark', async (store) => {
    const entry = request(1)
    await filled(store, entry, 'old')
    const { seen } = await standing(store, entry)
    const proof = await leased(store, entry, seen)
    assert.equal((await look(store, entry)).state, 'leased')
    await fill(store, entry, proof, 'new')
    assert.deepEqual(await look(store, entry), hit('new'))
  }),
]
