import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { EntryRequest } from '../cache/cache-store.ts'
import { type CacheStoreCase, storeCase } from './cache-store-case.ts'
import { absent, fill, filled, hit, keepMs, lease, leased, look, lookAll, request } from './cache-store-steps.ts'

/** Leases that are renewed while their load runs. */
export const renewalCases: readonly CacheStoreCase[] = [
  storeCase('a lease that is renewed lasts longer, and its holder fills', async (store, { pass }) => {
    const entries = [request(1), request()]
    const proofs = [
      await leased(store, entries[0] as EntryRequest, undefined, 500),
      await leased(store, entries[1] as EntryRequest),
    ]
    await store.renew(
      entries.map(({ key }, index) => ({ key, token: proofs[index]?.token as string })),
      keepMs,
    )
    await pass(600)
    for (const [index, entry] of entries.entries()) {
      assert.equal(await lease(store, entry), undefined)
      assert.equal(await fill(store, entry, proofs[index] as (typeof proofs)[number], `payload ${index}`), true)
      assert.deepEqual(await look(store, entry), hit(`payload ${index}`))
    }
  }),
  storeCase('a lease that an invalidation or its time has ended cannot be renewed', async (store, { open, pass }) => {
    const [invalidated, ended] = [request(1), request()]
    const proofs = [await leased(store, invalidated), await leased(store, ended, undefined, 40)]
    await (await open()).invalidate([invalidated.key])
    await pass(80)
    for (const [index, entry] of [invalidated, ended].entries()) {
      const proof = proofs[index] as (typeof proofs)[number]
      await store.renew([{ key: entry.key, token: proof.token }], keepMs)
      assert.deepEqual(await look(store, entry), absent)
      assert.equal(await fill(store, entry, proof, 'old'), false)
      await filled(store, entry, 'new')
    }
  }),
  storeCase('to renew a lease changes neither that of another holder nor what was filled', async (store, { pass }) => {
    const [held, kept] = [request(1), request(1)]
    const { token, stamps } = await leased(store, held)
    const proof = await leased(store, kept)
    await fill(store, kept, proof, 'kept')
    await store.renew(
      [
        { key: held.key, token: randomUUID() },
        { key: kept.key, token: proof.token },
      ],
      40,
    )
    await pass(80)
    assert.deepEqual(await lookAll(store, [held, kept]), [{ state: 'leased', token, stamps }, hit('kept')])
  }),
]
