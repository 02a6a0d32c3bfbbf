import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { publishToAll } from '../../../src/outbox/publishing/publish-to-all.ts'
import { unavailable } from '../../../src/outbox/publishing/publisher.ts'
import { ProgressStore } from '../../../src/outbox/store/progress-store.ts'
import { dialects } from '../../support/databases.ts'
import { openOutbox } from '../../support/outbox-bench.ts'
import { outboxGround } from '../../support/outbox-ground.ts'
import { openPostgresqlServer } from '../../support/servers/restartable-servers.ts'

const timing = { batchSize: 1, pollInterval: { min: 5, max: 50 }, retry: { attempts: 5, baseMs: 1, maxMs: 5 } }

describe('two destinations of which one does not have an event yet', () => {
  test('both end on the newest value when PostgreSQL crashes and forgets the last marks', { timeout: 120_000 }, async () => {
    const server = await openPostgresqlServer()
    onTestFinished(() => server.close())
    const bench = await openOutbox(server.url)
    onTestFinished(() => bench.close())
    // What does not wait for the disk is then not there by itself.
    await bench.sql("alter system set wal_writer_delay = '10s'")
    await bench.sql('select pg_reload_conf()')
    await delay(300)
    await bench.record('a', [1, 2, 3])
    const one: unknown[] = []
    const two: unknown[] = []
    let crashed = false
    const relay = bench.outbox.relay({
      ...timing,
      publisher: publishToAll('both', [
        ({ payload }) => void one.push(payload),
        async ({ payload }) => {
          if (payload === 3 && !crashed) {
            crashed = true
            // The marks of what came before are answered meanwhile.
            await delay(100)
            await server.crash()
            await server.start()
            throw new Error('not now')
          }
          two.push(payload)
        },
      ]),
    })
    await relay.start()
    const pending = () => bench.sql("select id from domain_events where status = 'pending'").then((rows) => rows.length, String)
    await expect.poll(pending, { timeout: 60_000, interval: 50 }).toBe(0)
    await relay.stop()
    // Else nothing was undone.
    expect(one.length).toBeGreaterThan(3)
    expect([one.at(-1), two.at(-1)], `${one.join(' ')} | ${two.join(' ')}`).toEqual([3, 3])
  })
})

describe.each(dialects)('two destinations on %s of which one is away', (dialect) => {
  const ground = outboxGround(dialect)

  test('both end on the newest value when a mark before was given up', { timeout: 90_000 }, async () => {
    const { markPublished } = ProgressStore.prototype
    onTestFinished(() => {
      ProgressStore.prototype.markPublished = markPublished
    })
    let ill = true
    ProgressStore.prototype.markPublished = async function (...args) {
      if (ill) throw new Error('no mark')
      return markPublished.apply(this, args)
    }
    await ground.bench.record('a', [1, 2])
    const one: unknown[] = []
    const two: unknown[] = []
    const relay = ground.bench.outbox.relay({
      ...timing,
      publisher: publishToAll('both', [
        ({ payload }) => void one.push(payload),
        ({ payload }) => {
          if (payload === 2 && ill) throw unavailable(new Error('away'))
          two.push(payload)
        },
      ]),
    })
    // A drain gives its marks up after some tries.
    await expect(relay.drain()).rejects.toThrow('no mark')
    expect(one).toEqual([1, 2])
    ill = false
    await relay.drain()
    expect([one, two]).toEqual([
      [1, 2, 1, 2],
      [1, 1, 2],
    ])
  })
})
