import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, test } from 'vitest'
import type { OutboxEvent } from '../../../src/outbox/publishing/publisher.ts'
import { dialects } from '../../support/databases.ts'
import { relayGround, until } from '../../support/relay-ground.ts'

describe.each(dialects)('a relay on %s that starts and stops', (dialect) => {
  const ground = relayGround(dialect)
  const { seen, collect, payloads } = ground

  test('a commit wakes the relay of its process', async () => {
    const relay = ground.bench.outbox.relay({ publisher: collect, pollInterval: { min: 60_000, max: 60_000 } })
    await relay.start()
    await ground.bench.record('a', [1])
    await until(() => seen.length === 1)
    await ground.bench.record('a', [2])
    await until(() => seen.length === 2)
    await relay.stop()
  })

  test('a second relay on one data access is refused, and may start when the first has stopped', async () => {
    const first = ground.bench.outbox.relay({ publisher: collect, name: 'first' })
    const second = ground.bench.outbox.relay({ publisher: collect })
    await first.start()
    await first.start()
    await expect(second.start()).rejects.toMatchObject({ code: 'RELAY_ALREADY_RUNNING' })
    await expect(first.drain()).rejects.toMatchObject({ code: 'RELAY_ALREADY_RUNNING' })
    await first.stop()
    await second.start()
    await second.stop()
    await first.start()
    await ground.bench.record('a', [1])
    await until(() => seen.length === 1)
    await first.stop()
  })

  test('stop finishes the batch in hand, can come before the start, and twice', async () => {
    await ground.bench.record('a', [1, 2])
    let release: () => void = () => {}
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    const relay = ground.bench.outbox.relay({
      publisher: async (event: OutboxEvent) => {
        if (event.payload === 1) await gate
        seen.push(event)
      },
    })
    await relay.stop()
    await relay.start()
    await until(() => relay.status().inHand === 2)
    const stopped = relay.stop()
    release()
    await stopped
    await relay.stop()
    expect(payloads()).toEqual([1, 2])
    expect((await ground.bench.rows()).map((row) => row.status)).toEqual(['published', 'published'])
  })

  test('past its deadline, or at a second call, stop drops what is in hand without spending an attempt', async () => {
    await ground.bench.record('a', [1])
    for (const impatient of [false, true]) {
      const relay = ground.bench.outbox.relay({ publisher: () => new Promise(() => {}) })
      await relay.start()
      await until(() => relay.status().inHand === 1)
      const stopped = relay.stop({ deadline: impatient ? 60_000 : 20 })
      if (impatient) await relay.stop()
      await stopped
      expect((await ground.bench.rows())[0]).toMatchObject({ status: 'pending', attempts: 0 })
    }
    await ground.bench.outbox.relay({ publisher: collect }).drain()
    expect(payloads()).toEqual([1])
  })

  test('a relay knows nothing of the request that started it', async () => {
    const request = new AsyncLocalStorage<string>()
    const stores: unknown[] = []
    const relay = ground.bench.outbox.relay({ publisher: () => void stores.push(request.getStore()) })
    await request.run('request', () => relay.start())
    await request.run('other', () => ground.bench.record('a', [1]))
    await until(() => stores.length === 1)
    await relay.stop()
    await ground.bench.record('a', [2])
    await request.run('third', () => ground.bench.outbox.relay({ publisher: () => void stores.push(request.getStore()) }).drain())
    expect(stores).toEqual([undefined, undefined])
  })

  test('drain inside a transaction is refused instead of waiting for itself', async () => {
    const relay = ground.bench.outbox.relay({ publisher: collect })
    await ground.bench.data.unitOfWork(async () => {
      await expect(relay.drain()).rejects.toMatchObject({ code: 'TRANSACTION_FORK' })
    })
  })

  test('an aborted drain leaves what it did not publish', async () => {
    await ground.bench.record('a', [1])
    await expect(
      ground.bench.outbox.relay({ publisher: collect }).drain({ signal: AbortSignal.abort(new Error('enough')) }),
    ).rejects.toThrow('enough')
    expect(seen).toEqual([])
    await ground.bench.outbox.relay({ publisher: collect }).drain()
    expect(payloads()).toEqual([1])
  })

  test('two relays one after the other publish everything once', async () => {
    await ground.bench.record('a', [1, 2])
    await ground.bench.outbox.relay({ publisher: collect }).drain()
    await ground.bench.record('a', [3])
    await ground.bench.outbox.relay({ publisher: collect }).drain()
    expect(payloads()).toEqual([1, 2, 3])
  })

  test('on tables of an older version says so, and works once they are migrated', async () => {
    await ground.bench.sql('alter table outbox_relays drop column rates')
    await ground.bench.sql("delete from mikro_orm_migrations where name like 'data-access-003%'")
    await ground.bench.record('a', [1])
    for (const use of [() => ground.bench.outbox.relay({ publisher: collect }).start(), () => ground.bench.data.outbox.stats()]) {
      const missing = { code: 'MIGRATION_MISSING', message: expect.stringContaining('data.migrate()') }
      await expect(use()).rejects.toMatchObject(missing)
    }
    await ground.bench.data.migrate()
    await ground.bench.outbox.relay({ publisher: collect }).drain()
    expect(payloads()).toEqual([1])
  })

  test('options out of range are refused by name', () => {
    const bad = [
      { batchSize: 0 },
      { batchSize: 1.5 },
      { publishTimeout: Number.NaN },
      { publishTimeout: 20_000, lease: 30_000 },
      { pollInterval: { min: 100, max: 50 } },
      { name: '' },
      { retention: 'archive' },
      { onDeadLetter: 'explode' },
      { retry: { attempts: 0 } },
    ]
    for (const options of bad)
      expect(() => ground.bench.outbox.relay({ publisher: collect, ...options } as never)).toThrow('OPTION_INVALID')
  })
})
