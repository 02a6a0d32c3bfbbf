import assert from 'node:assert/strict'
import { type CacheStoreCase, storeCase } from './cache-store-case.ts'
import {
  absent,
  absentAfterFailure,
  failed,
  fill,
  filled,
  hit,
  keepMs,
  lease,
  leased,
  look,
  request,
} from './cache-store-steps.ts'

/** Loads that fail, and those that follow them. */
export const failureCases: readonly CacheStoreCase[] = [
  storeCase('a load that fails leaves its entry absent, and tells every store so', async (store, { open }) => {
    const entry = request(1)
    assert.equal(await failed(store, entry, await leased(store, entry)), true)
    assert.deepEqual(await look(store, entry), absentAfterFailure)
    assert.deepEqual(await look(await open(), entry), absentAfterFailure)
    assert.equal(store.readNow?.(entry), undefined)
  }),
  storeCase('what tells of a failure ends after its ttl', async (store, { pass }) => {
    const entry = request(1)
    await failed(store, entry, await leased(store, entry), 40)
    await pass(80)
    assert.deepEqual(await look(store, entry), absent)
    const { token, stamps } = await leased(store, entry)
    assert.deepEqual(await look(store, entry), { state: 'leased', token, stamps })
  }),
  storeCase(
    'the lease after a failure says so in every store, is granted to one, and is renewed and filled',
    async (store, context) => {
      const entry = request(1)
      const other = await context.open()
      await failed(store, entry, await leased(store, entry))
      const granted = await Promise.all(
        Array.from({ length: 100 }, (_, i) => lease(i % 2 === 0 ? store : other, entry, undefined, 500)),
      )
      const [proof, second] = granted.filter((each) => each !== undefined)
      assert.ok(proof !== undefined && second === undefined)
      for (const each of [store, other]) {
        assert.deepEqual(await look(each, entry), { state: 'leased', ...proof, afterFailure: true })
      }
      await store.renew([{ key: entry.key, token: proof.token }], keepMs)
      await context.pass(600)
      assert.equal(await fill(store, entry, proof, 'payload'), true)
      assert.deepEqual(await look(other, entry), hit('payload'))
    },
  ),
  storeCase('a row of failures is told to its end, and forgotten with the fill that ends it', async (store) => {
    const entry = request(1)
    let proof = await leased(store, entry)
    for (let failures = 0; failures < 3; failures++) {
      await failed(store, entry, proof)
      assert.deepEqual(await look(store, entry), absentAfterFailure)
      proof = await leased(store, entry)
      assert.deepEqual(await look(store, entry), { state: 'leased', ...proof, afterFailure: true })
    }
    await fill(store, entry, proof, 'payload')
    assert.deepEqual(await look(store, entry), hit('payload'))
    await store.invalidate([entry.key])
    assert.deepEqual(await look(store, entry), absent)
  }),
  storeCase('an invalidation ends what tells of a failure, and the lease after it', async (store, { open }) => {
    const [left, held] = [request(1), request(1)]
    for (const entry of [left, held]) await failed(store, entry, await leased(store, entry))
    const late = await leased(store, held)
    await (await open()).invalidate([left.key, held.key])
    for (const entry of [left, held]) {
      assert.deepEqual(await look(store, entry), absent)
      const proof = await leased(store, entry)
      assert.deepEqual(await look(store, entry), { state: 'leased', ...proof })
      // Of him whose lease has ended nothing is told.
      assert.equal(await failed(store, entry, late), false)
      assert.deepEqual(await look(store, entry), { state: 'leased', ...proof })
      assert.equal(await fill(store, entry, proof, 'new'), true)
    }
  }),
  storeCase('a lease that is given back tells of no failure, before it or now', async (store) => {
    const entry = request(1)
    await failed(store, entry, await leased(store, entry))
    await fill(store, entry, await leased(store, entry))
    assert.deepEqual(await look(store, entry), absent)
    await filled(store, entry, 'payload')
  }),
  storeCase('the lease of an entry that was seen takes the place of what tells of a failure, too', async (store) => {
    const entry = request(1)
    await filled(store, entry, 'old')
    await store.invalidate(entry.stamps)
    const found = await look(store, entry)
    const seen = found.state === 'absent' ? found.seen : undefined
    await failed(store, entry, await leased(store, entry, seen))
    const proof = await leased(store, entry, seen)
    assert.deepEqual(await look(store, entry), { state: 'leased', ...proof, afterFailure: true })
  }),
]
