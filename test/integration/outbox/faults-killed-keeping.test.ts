import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { makeDue } from '../../../src/testing/make-due.ts'
import { dialects } from '../../support/databases.ts'
import { killedRelayGround } from '../../support/killed-relay.ts'
import { givingBack, pruning, waiting } from '../../support/relay-failpoints.ts'
import { findInversion } from '../../support/relay-process.ts'

describe.each(dialects)('a relay on %s that is killed', (dialect) => {
  const ground = killedRelayGround(dialect)
  const settled = async () => (await ground.bench.rows()).every(({ status }) => status === 'published')

  test.each(Object.entries(pruning))('%s: only what was published is gone', async (_, failpoint) => {
    await ground.deliverTheRest()
    const before = ground.ids.length
    const now = dialect === 'postgresql' ? 'now()' : 'created_at'
    await ground.bench.sql(
      `insert into outbox_failures (event_id, attempt, failed_at, error) select id, 1, ${now}, 'once' from domain_events`,
    )
    for (const key of ['a', 'b', 'c', 'd']) ground.ids.push(...(await ground.bench.record(key, [4, 5, 6])))
    const unmarked = await ground.killOne({ retention: { keepMs: 0 }, failpoint, slowMs: 20 })
    const left = new Set((await ground.bench.rows()).map(({ id }) => id))
    expect(ground.ids.slice(0, before).filter((id) => left.has(id))).toEqual([])
    await ground.deliverTheRest()
    ground.allInOrder()
    expect(ground.repeated()).toEqual(unmarked)
    expect(await settled()).toBe(true)
  })

  test('after it read a head whose time has come: the head is tried again in its place', async () => {
    const failpoint = waiting['after it read a head whose time has come']
    const unmarked = await ground.killOne({ failpoint, fail: { payload: 2, as: 'retryable' } })
    await makeDue(ground.bench.data)
    await ground.deliverTheRest()
    ground.allInOrder()
    expect(ground.repeated()).toEqual(unmarked)
    expect(await settled()).toBe(true)
    expect(await ground.bench.sql('select event_id from outbox_failures where attempt > 1')).toEqual([])
  })

  test('after it looked for what comes before the heads that it knows: a redriven letter still comes first', async () => {
    // Its first event is a letter.
    const [letter, ...rest] = await ground.bench.record('z', ['no', 2, 3])
    const child = await ground.start({
      failpoint: waiting['after it looked for what comes before the heads that it knows'],
      fail: { payload: 2, as: 'retryable', againMs: 60_000 },
      refuse: 'no',
    })
    await expect.poll(async () => (await ground.bench.outbox.deadLetters.list()).length, { timeout: 10_000 }).toBe(1)
    const failed = () => ground.bench.sql('select id from domain_events where attempts = 1')
    await expect.poll(async () => (await failed()).length, { timeout: 10_000 }).toBe(7)
    expect(await ground.bench.outbox.deadLetters.redrive({ ids: [letter as string] })).toBe(1)
    expect(await child.ended).toBe('SIGKILL')
    await makeDue(ground.bench.data)
    await ground.deliverTheRest()
    const ofLetter = ground.published().filter(({ key }) => key === 'Note:z')
    expect(ofLetter.map(({ id }) => id)).toEqual([letter, ...rest])
    expect(findInversion(ground.published().filter(({ key }) => key !== 'Note:z'))).toBeUndefined()
    expect(await settled()).toBe(true)
  })

  test.each(['before it hands buckets over', 'after it handed buckets over'] as const)(
    '%s to another one: of what the other one got nothing was in hand, and it publishes the rest',
    { timeout: 60_000 },
    async (step) => {
      const lease = { leaseMs: 2000, slowMs: 20 }
      const first = await ground.start({ failpoint: givingBack[step], ...lease })
      const [registered] = await ground.bench.sql<{ id: string }>('select id from outbox_relays')
      const second = await ground.start(lease)
      let lives = true
      void first.ended.then(() => {
        lives = false
      })
      for (let n = 4; lives; n++) {
        for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) ground.ids.push(...(await ground.bench.record(key, [n])))
        await delay(10)
      }
      expect(await first.ended).toBe('SIGKILL')
      const kept = await ground.bench.sql<{ bucket: number }>('select bucket from outbox_leases where owner = ?', [
        registered?.id,
      ])
      // Behind the first release it has its share, and what was in hand of the rest: six keys at most.
      const [fewest, most] = step.startsWith('before') ? [64, 64] : [32, 38]
      expect(kept.length).toBeGreaterThanOrEqual(fewest as number)
      expect(kept.length).toBeLessThanOrEqual(most as number)
      await expect.poll(settled, { timeout: 30_000 }).toBe(true)
      await second.stop()
      ground.allInOrder()
      const rows = await ground.bench.sql<{ id: string; bucket: number; attempts: number }>('select * from domain_events')
      expect(rows.every(({ attempts }) => attempts <= 1)).toBe(true)
      const itsOwn = new Set(kept.map(({ bucket }) => bucket))
      const again = ground.repeated()
      expect(rows.filter(({ id, bucket }) => again.has(id) && !itsOwn.has(bucket))).toEqual([])
    },
  )

  test.each([
    ['between its buckets and its progress', 300],
    ['between its progress and its registration', 300],
    ['after its registration is removed', 60_000],
  ] as const)('%s, when it stops: nothing comes again', { timeout: 60_000 }, async (step, leaseMs) => {
    const child = await ground.start({ failpoint: givingBack[step], leaseMs })
    await expect.poll(settled, { timeout: 20_000 }).toBe(true)
    await child.stop()
    expect(await child.ended).toBe('SIGKILL')
    expect(await ground.bench.sql('select bucket from outbox_leases where owner is not null')).toEqual([])
    ground.ids.push(...(await ground.bench.record('a', [4])))
    await ground.deliverTheRest()
    ground.allInOrder()
    expect(ground.repeated().size).toBe(0)
    expect((await ground.bench.rows()).every(({ attempts }) => attempts === 0)).toBe(true)
  })
})
