import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { EntryRequest } from '../cache/cache-store.ts'
import { type CacheStoreCase, storeCase } from './cache-store-case.ts'
import { failureCases } from './cache-store-failures.ts'
import { renewalCases } from './cache-store-renewal.ts'
import { replacementCases } from './cache-store-replacement.ts'
import { absent, fill, filled, hit, keepMs, lease, leased, leaseMs, look, lookAll, request, seenOf } from './cache-store-steps.ts'

/**
 * The promises of a cache store, as cases for any test runner: run each with stores of yours. Keys are random, so that the
 * cases do not meet each other.
 */
export function cacheStoreContract(): readonly CacheStoreCase[] {
  return [...cases, ...renewalCases, ...replacementCases, ...failureCases]
}

const cases: readonly CacheStoreCase[] = [
  storeCase('an entry is absent until it is filled, then a hit with its payload, in every store', async (store, { open }) => {
    const entry = request(2)
    assert.deepEqual(await look(store, entry), absent)
    await filled(store, entry, 'payload | with, "signs" and \n ünicode')
    assert.deepEqual(await look(await open(), entry), hit('payload | with, "signs" and \n ünicode'))
  }),
  storeCase('empty payloads are payloads', async (store) => {
    for (const payload of ['', null, 0, false, {}, []]) {
      const entry = request()
      await filled(store, entry, payload)
      assert.deepEqual(await look(store, entry), hit(payload))
    }
  }),
  storeCase('a payload comes back with its types, in every store', async (store, { open }) => {
    const entry = request()
    const payload = {
      at: new Date(1),
      count: 2n ** 70n,
      bytes: Buffer.from([0, 255]),
      list: [-0, Number.NaN, undefined],
      $: { tag: '$' },
    }
    await filled(store, entry, payload)
    assert.deepEqual(await look(await open(), entry), hit(payload))
  }),
  storeCase('what is read without a wait is a hit, or left to the other read', async (store) => {
    const entry = request(1)
    assert.equal(store.readNow?.(entry), undefined)
    const proof = await leased(store, entry)
    assert.equal(store.readNow?.(entry), undefined)
    await fill(store, entry, proof, 'payload')
    assert.ok([undefined, 'payload'].includes(store.readNow?.(entry) as undefined))
    assert.equal(store.readNow?.({ ...entry, version: 'v2' }), undefined)
    await store.invalidate(entry.stamps)
    assert.equal(store.readNow?.(entry), undefined)
  }),
  storeCase('entries are answered in the order of the requests, doubles too', async (store) => {
    const [one, two] = [request(1), request()]
    await filled(store, one, 'one')
    await filled(store, two, 'two')
    assert.deepEqual(await lookAll(store, [two, one, request(), two]), [hit('two'), hit('one'), absent, hit('two')])
  }),
  storeCase('many entries are answered in the order of the requests, whoever else reads at once', async (store) => {
    const entries = Array.from({ length: 150 }, (_, index) => request(index % 3))
    const kept = entries.map((entry, index) => (index % 4 === 0 ? undefined : { entry, payload: index }))
    for (const each of kept) if (each !== undefined) await filled(store, each.entry, each.payload)
    const expected = kept.map((each) => (each === undefined ? absent : hit(each.payload)))
    const [all, reversed, ...single] = await Promise.all([
      lookAll(store, entries),
      lookAll(store, [...entries].reverse()),
      ...entries.map((entry) => look(store, entry)),
    ])
    assert.deepEqual(all, expected)
    assert.deepEqual(reversed, [...expected].reverse())
    assert.deepEqual(single, expected)
  }),
  storeCase('a lease is granted to one of two, and both stores show who holds it', async (store, { open }) => {
    const entry = request(1)
    const other = await open()
    const { token, stamps } = await leased(store, entry)
    assert.equal(await lease(other, entry), undefined)
    assert.deepEqual(await look(other, entry), { state: 'leased', token, stamps })
  }),
  storeCase('of a hundred who ask at once exactly one is granted the lease', async (store, { open }) => {
    const entry = request(1)
    const other = await open()
    const granted = await Promise.all(Array.from({ length: 100 }, (_, i) => lease(i % 2 === 0 ? store : other, entry)))
    assert.equal(granted.filter((each) => each !== undefined).length, 1)
  }),
  storeCase('a filled entry is not leased to somebody who did not see it', async (store) => {
    const entry = request()
    await filled(store, entry, 'kept')
    assert.equal(await lease(store, entry), undefined)
    assert.equal(await lease(store, entry, randomUUID()), undefined)
    assert.deepEqual(await look(store, entry), hit('kept'))
  }),
  storeCase('a lease given back lets the next one in and stores nothing', async (store) => {
    const entry = request()
    assert.equal(await fill(store, entry, await leased(store, entry)), true)
    assert.deepEqual(await look(store, entry), absent)
    await leased(store, entry)
  }),
  storeCase('a fill without a lease is refused', async (store) => {
    const entry = request()
    assert.equal(await fill(store, entry, { token: randomUUID(), stamps: [] }, 'never'), false)
    assert.deepEqual(await look(store, entry), absent)
  }),
  storeCase('a second fill with the same token is refused', async (store) => {
    const entry = request()
    const proof = await leased(store, entry)
    assert.equal(await fill(store, entry, proof, 'first'), true)
    assert.equal(await fill(store, entry, proof, 'second'), false)
    assert.deepEqual(await look(store, entry), hit('first'))
  }),
  storeCase('an invalidation during a load refuses its fill', async (store, { open }) => {
    const entry = request()
    const proof = await leased(store, entry)
    await (await open()).invalidate([entry.key])
    assert.equal(await fill(store, entry, proof, 'old'), false)
    assert.deepEqual(await look(store, entry), absent)
  }),
  storeCase('a loader that comes back late does not end the lease of the next one', async (store) => {
    const entry = request()
    const late = await leased(store, entry)
    await store.invalidate([entry.key])
    const next = await leased(store, entry)
    assert.equal(await fill(store, entry, late, 'old'), false)
    assert.equal(await fill(store, entry, late), false)
    assert.equal(await fill(store, entry, next, 'new'), true)
    assert.deepEqual(await look(store, entry), hit('new'))
  }),
  storeCase('two invalidations during one load leave nothing behind', async (store) => {
    const entry = request()
    const proof = await leased(store, entry)
    await store.invalidate([entry.key])
    await store.invalidate([entry.key])
    assert.equal(await fill(store, entry, proof, 'old'), false)
    await filled(store, entry, 'new')
    assert.deepEqual(await look(store, entry), hit('new'))
  }),
  storeCase('an invalidated entry is absent in every store', async (store, { open }) => {
    const entry = request()
    await filled(store, entry, 'old')
    const other = await open()
    await other.invalidate([entry.key, 'a key that was never there'])
    assert.deepEqual([await look(store, entry), await look(other, entry)], [absent, absent])
  }),
  storeCase('an invalidated stamp makes every entry that hangs on it absent, and no other', async (store) => {
    const first = request(2)
    const second: EntryRequest = { ...request(), stamps: first.stamps.slice(1) }
    const third: EntryRequest = { ...request(), stamps: first.stamps.slice(0, 1) }
    for (const entry of [first, second, third]) await filled(store, entry, 'kept')
    await store.invalidate([first.stamps[1] as string])
    assert.deepEqual([(await look(store, first)).state, (await look(store, second)).state], ['absent', 'absent'])
    assert.deepEqual(await look(store, third), hit('kept'))
  }),
  storeCase('a stamp invalidated during a load makes what it fills absent', async (store) => {
    const entry = request(1)
    const proof = await leased(store, entry)
    await store.invalidate(entry.stamps)
    await fill(store, entry, proof, 'old')
    assert.equal((await look(store, entry)).state, 'absent')
  }),
  storeCase('a stamp that was invalidated and opened again is another one', async (store) => {
    const entry = request(1)
    await filled(store, entry, 'old')
    await store.invalidate(entry.stamps)
    await leased(store, { ...request(), stamps: entry.stamps })
    assert.equal((await look(store, entry)).state, 'absent')
  }),
  storeCase('an unusable entry is leased to whoever saw it, and to one of them only', async (store) => {
    const entry = request(1)
    await filled(store, entry, 'old')
    await store.invalidate(entry.stamps)
    const seen = await seenOf(store, entry)
    assert.ok(seen !== undefined)
    const proof = await leased(store, entry, seen)
    assert.equal(await lease(store, entry, seen), undefined)
    assert.equal(await fill(store, entry, proof, 'new'), true)
    assert.deepEqual(await look(store, entry), hit('new'))
  }),
  storeCase('entries share live stamps', async (store, { open }) => {
    const entry = request(1)
    const one = await leased(store, entry)
    const two = await leased(await open(), { ...request(), stamps: entry.stamps })
    assert.deepEqual(one.stamps, two.stamps)
  }),
  storeCase('an entry of another version is absent, and may be replaced', async (store) => {
    const entry = request(1)
    await filled(store, entry, 'first')
    const newer = { ...entry, version: 'v2' }
    const proof = await leased(store, newer, await seenOf(store, newer))
    await fill(store, newer, proof, 'second')
    assert.deepEqual(await look(store, newer), hit('second'))
    assert.equal((await look(store, entry)).state, 'absent')
  }),
  storeCase('an entry ends after its ttl', async (store, { pass }) => {
    const entry = request(1)
    await filled(store, entry, 'short', 40)
    assert.deepEqual(await look(store, entry), hit('short'))
    await pass(80)
    assert.equal((await look(store, entry)).state, 'absent')
  }),
  storeCase('a lease ends by itself, and its holder can no longer fill', async (store, { pass }) => {
    const entry = request()
    const late = await leased(store, entry, undefined, 40)
    await pass(80)
    assert.deepEqual(await look(store, entry), absent)
    assert.equal(await fill(store, entry, late, 'old'), false)
    await filled(store, entry, 'new')
  }),
  storeCase('leases, fills and reads of many entries are answered each by itself', async (store) => {
    const entries = [request(1), request(), request(2)]
    await filled(store, entries[1] as EntryRequest, 'there')
    const requests = entries.map((entry) => ({ ...entry, token: randomUUID(), seen: undefined, keepMs }))
    const granted = await store.acquire(requests, leaseMs)
    assert.deepEqual(
      granted.map((stamps) => stamps?.length),
      [1, undefined, 2],
    )
    const fills = requests.map((each, i) => ({ ...each, stamps: granted[i] ?? [], payload: `payload ${i}`, ttlMs: keepMs }))
    assert.deepEqual(await store.fill(fills), [true, false, true])
    assert.deepEqual(await lookAll(store, entries), [hit('payload 0'), hit('there'), hit('payload 2')])
  }),
  storeCase('nothing asked is nothing done', async (store) => {
    assert.deepEqual([await store.read([]), await store.acquire([], leaseMs), await store.fill([])], [[], [], []])
    await store.renew([], leaseMs)
    await store.invalidate([])
  }),
  storeCase('it measures a round trip and closes twice', async (store) => {
    assert.ok((await store.ping()) >= 0)
    await store.close()
    await store.close()
  }),
]
