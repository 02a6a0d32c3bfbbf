import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { dialects } from '../../support/databases.ts'
import { killedRelayGround } from '../../support/killed-relay.ts'
import { batchSteps, settling, settlingOnSqlite } from '../../support/relay-failpoints.ts'

describe.each(dialects)('a relay on %s that is killed', (dialect) => {
  const ground = killedRelayGround(dialect)

  test.each(Object.entries(batchSteps))('%s: nothing is lost, and only what had no mark is repeated', async (_, options) => {
    const unmarked = await ground.killOne(options)
    await ground.deliverTheRest()
    ground.allInOrder()
    expect(ground.repeated()).toEqual(unmarked)
    expect((await ground.bench.rows()).every(({ status, attempts }) => status === 'published' && attempts === 0)).toBe(true)
  })

  test.each(Object.entries({ ...settling, ...(dialect === 'sqlite' ? settlingOnSqlite : {}) }))(
    '%s: the failure is forgotten, and the event is not',
    async (_, { failpoint, as }) => {
      const unmarked = await ground.killOne({ failpoint, fail: { payload: 2, as } })
      await ground.deliverTheRest()
      ground.allInOrder()
      expect(ground.repeated()).toEqual(unmarked)
      const rows = await ground.bench.rows()
      expect(rows).toHaveLength(ground.ids.length)
      expect(rows.every(({ status, attempts }) => status === 'published' && attempts === 0)).toBe(true)
      expect(await ground.bench.sql('select id from outbox_dead_letters')).toEqual([])
    },
  )

  const lettersStand = async () => {
    const failpoint = { statement: 'insert into outbox_dead_letters', when: 'after' } as const
    await ground.killOne({ failpoint, fail: { payload: 2, as: 'permanent' } })
    const letters = await ground.bench.sql<{ id: string }>('select id from outbox_dead_letters')
    expect(letters.length).toBeGreaterThan(0)
    await ground.deliverTheRest()
    const lettersAndRows = [...letters, ...(await ground.bench.rows())].map(({ id }) => id)
    expect(lettersAndRows.sort()).toEqual([...ground.ids].sort())
    expect(new Set(ground.published().map(({ id }) => id))).toEqual(new Set((await ground.bench.rows()).map(({ id }) => id)))
    // Without the letter, which its key does not wait for.
    for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) {
      const payloads = ground.published().flatMap((each) => (each.key === `Note:${key}` ? [Number(each.payload)] : []))
      const first = [...new Set(payloads)]
      expect(first).toEqual(first.toSorted((one, other) => one - other))
    }
  }
  if (dialect === 'postgresql') test('after the letter: it stands, once, in place of its event', lettersStand)

  test.each(['between two probes', 'while it probes'])(
    '%s of a publisher that is away: nothing is blamed',
    { timeout: 60_000 },
    async (moment) => {
      const fail = { payload: 0, as: 'unavailable', afterMs: 500 } as const
      const child = await ground.start({ leaseMs: 2000, fail })
      const tries = () => child.messages.filter((message) => message === 'failing').length
      // The first try is a wave of six events, the second a probe of one.
      await expect.poll(tries, { timeout: 20_000, interval: 5 }).toBe(7)
      // The note that nothing is in hand is written a moment after the outcome.
      if (moment === 'between two probes') await delay(fail.afterMs + 200)
      child.signal('SIGKILL')
      await child.ended
      expect(ground.published()).toEqual([])
      await ground.deliverTheRest()
      expect(
        ground
          .published()
          .map(({ id }) => id)
          .sort(),
      ).toEqual([...ground.ids].sort())
      const rows = await ground.bench.rows()
      expect(rows.every(({ status, attempts }) => status === 'published' && attempts === 0)).toBe(true)
      expect(await ground.bench.sql('select * from outbox_failures')).toEqual([])
    },
  )
})
