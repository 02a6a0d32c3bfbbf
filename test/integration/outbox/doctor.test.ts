import { createConnection, createServer } from 'node:net'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest'
import { createDataAccess } from '../../../src/data-access.ts'
import type { DoctorFinding } from '../../../src/outbox/doctor/doctor.ts'
import type { CheckName, DoctorOptions } from '../../../src/outbox/doctor/doctor-check.ts'
import { type OutboxEvent, permanent } from '../../../src/outbox/publishing/publisher.ts'
import { redisWake } from '../../../src/outbox/redis-wake/redis-wake.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { freePort } from '../../support/servers/server-process.ts'
import { openProxy } from '../../support/tcp-proxy.ts'

const all: CheckName[] = [
  'pinned-xmin',
  'dead-tuples',
  'sequence',
  'pooler',
  'indexes',
  'wake',
  'paused-relays',
  'oldest-due',
  'blocked-keys',
  'dead-letters',
]

let database: TestDatabase
let bench: OutboxUnderTest
afterEach(async () => {
  await bench.close()
  await database.close()
})

async function finding(check: CheckName, options?: DoctorOptions): Promise<DoctorFinding> {
  const findings = await bench.outbox.doctor(options)
  return findings.find((found) => found.check === check) as DoctorFinding
}

describe.each(dialects)('the doctor on %s', (dialect) => {
  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    bench = await openOutbox(database.url)
  })

  test('finds a fresh outbox well, and says what does not apply', async () => {
    await bench.record('a', [1])
    const findings = await bench.outbox.doctor()
    expect(findings.map(({ check }) => check)).toEqual(all)
    expect(findings.filter(({ ok }) => !ok)).toEqual([])
    expect(findings.every(({ finding: text, remedy }) => text !== '' && remedy === undefined)).toBe(true)
    const inapplicable = findings.filter(({ finding: text }) => text.startsWith('Does not apply'))
    expect(inapplicable.map(({ check }) => check)).toEqual(
      dialect === 'sqlite' ? ['pinned-xmin', 'dead-tuples', 'sequence', 'pooler'] : [],
    )
  })

  test('examines nothing that was closed, and says so', async () => {
    const data = await createDataAccess({ database: { url: database.url } })
    await data.migrate()
    await data.close()
    await expect(data.outbox.doctor()).rejects.toMatchObject({ code: 'CLOSED' })
  })

  test('finds tables missing altogether, and says to migrate', async () => {
    const unmigrated = await openTestDatabase(dialect)
    const data = await createDataAccess({ database: { url: unmigrated.url } })
    const found = (await data.outbox.doctor()).find(({ check }) => check === 'indexes')
    expect(found).toMatchObject({ ok: false, remedy: expect.stringContaining('data.migrate()') })
    await data.close()
    await unmigrated.close()
  })

  test('finds a missing index', async () => {
    await bench.sql('drop index domain_events_pending_index')
    const found = await finding('indexes')
    expect(found).toMatchObject({ ok: false, finding: expect.stringContaining('domain_events_pending_index') })
    const cure = found.remedy?.split('then run: ')[1] as string
    await bench.sql(cure)
    expect(await finding('indexes')).toMatchObject({ ok: true })
  })

  test('without any index of the outbox, a relay works on, and the doctor finds them', async () => {
    const indexes = [
      'domain_events_pending_index',
      'domain_events_delayed_index',
      'domain_events_available_index',
      'domain_events_status_created_at_index',
    ]
    for (const index of indexes) await bench.sql(`drop index ${index}`)
    await bench.record('a', [1, 2, 3])
    const seen: unknown[] = []
    expect(await bench.outbox.relay({ publisher: ({ payload }) => void seen.push(payload) }).drain()).toMatchObject({
      published: 3,
    })
    expect(seen).toEqual([1, 2, 3])
    expect(await bench.outbox.stats()).toMatchObject({ backlog: 0 })
    const found = await finding('indexes')
    for (const index of indexes) expect(found.finding).toContain(index)
  })

  test('finds events that wait for a relay, and whether there is one', async () => {
    await bench.record('a', [1])
    await expect
      .poll(() => finding('oldest-due', { oldestDueMs: 1 }))
      .toMatchObject({
        ok: false,
        finding: expect.stringContaining('0 relays live'),
        remedy: expect.stringContaining('Start a relay'),
      })
    const relay = await bench.outbox.relay({ publisher: () => new Promise(() => {}) }).start()
    expect(await finding('oldest-due', { oldestDueMs: 1 })).toMatchObject({
      finding: expect.stringContaining('1 relays live'),
      remedy: expect.stringContaining('relay.status()'),
    })
    await relay.stop({ deadline: 0 })
  })

  test('finds keys that dead letters hold', async () => {
    await bench.record('a', [1, 2, 3])
    const fail = () => {
      throw permanent(new Error('no'))
    }
    await bench.outbox.relay({ publisher: fail, onDeadLetter: 'block-key' }).drain()
    expect(await finding('blocked-keys')).toMatchObject({
      ok: false,
      finding: '1 keys are held by dead letters: Note:a (2 events wait)',
      remedy: expect.stringContaining('redrive'),
    })
  })

  test('finds events that were given up, and why', async () => {
    expect(await finding('dead-letters')).toMatchObject({ ok: true })
    await bench.record('a', [1])
    await bench.record('b', [2])
    const fail = ({ payload }: OutboxEvent) => {
      throw permanent(new Error(`no ${payload}`))
    }
    await bench.outbox.relay({ publisher: fail }).drain()
    expect(await finding('dead-letters')).toMatchObject({
      ok: false,
      finding: '2 events were given up; the last one, of type "NoteTagged": Error: no 2',
      remedy: expect.stringContaining('redrive()'),
    })
  })

  test('finds a wake channel that is dead, also when nobody listens', async () => {
    const proxy = await openProxy(Number(new URL(inject('redisUrl')).port))
    const wake = redisWake({ url: `redis://127.0.0.1:${proxy.port}` })
    const data = await createDataAccess({ database: { url: database.url }, wake, logger: bench.logger })
    const check = async () => (await data.outbox.doctor()).find((found) => found.check === 'wake')
    expect(await check()).toMatchObject({ ok: true, finding: expect.stringContaining(`127.0.0.1:${proxy.port}`) })
    proxy.stall()
    expect(await check()).toMatchObject({ ok: false, remedy: expect.stringContaining('Redis') })
    await proxy.close()
    await data.close()
  })

  test('answers in time though a check does not', async () => {
    const wake = redisWake({ url: `redis://127.0.0.1:${await freePort()}` })
    const data = await createDataAccess({ database: { url: database.url }, wake, logger: bench.logger })
    const findings = await data.outbox.doctor({ timeoutMs: 300 })
    expect(findings.map(({ check }) => check)).toEqual(all)
    expect(findings.find(({ check }) => check === 'wake')?.finding).toContain('within the 300 ms')
    await data.close()
  })

  test('takes no longer time than a timer has', async () => {
    const timeoutMs = 2 ** 31 - 1
    expect((await bench.outbox.doctor({ timeoutMs })).every(({ finding }) => !finding.startsWith('No answer'))).toBe(true)
    await expect((async () => bench.outbox.doctor({ timeoutMs: timeoutMs + 1 }))()).rejects.toMatchObject({
      code: 'OPTION_INVALID',
    })
  })

  test('tells of a database that is not migrated, and does not reject', async () => {
    await bench.data.migrate({ direction: 'down', to: 0 })
    expect(await finding('oldest-due')).toMatchObject({ ok: false, finding: expect.stringContaining('migrate') })
  })
})

describe('the doctor of PostgreSQL', () => {
  beforeEach(async () => {
    database = await openTestDatabase('postgresql')
    bench = await openOutbox(database.url)
  })

  test('finds the transaction that pins xmin', async () => {
    const idle = new Client({ connectionString: database.url, application_name: 'forgetful' })
    await idle.connect()
    await idle.query('begin isolation level repeatable read')
    const [row] = (await idle.query('select pg_backend_pid() as pid')).rows
    await expect
      .poll(() => finding('pinned-xmin', { transactionMs: 1 }))
      .toMatchObject({
        ok: false,
        finding: expect.stringContaining('forgetful, idle in transaction'),
        remedy: expect.stringContaining(`pg_terminate_backend(${row.pid})`),
      })
    expect(await finding('pinned-xmin')).toMatchObject({ ok: true })
    await idle.query('rollback')
    expect(await finding('pinned-xmin', { transactionMs: 1 })).toMatchObject({ ok: true })
    await idle.end()
  })

  test('finds dead rows', async () => {
    // Above what the leases of one relay leave behind.
    const limit = { deadTuples: 250 }
    await bench.sql('alter table domain_events set (autovacuum_enabled = false)')
    await bench.record(
      'a',
      Array.from({ length: 300 }, () => 1),
    )
    await bench.outbox.relay({ publisher: () => {}, retention: 'delete' }).drain()
    await expect
      .poll(() => finding('dead-tuples', limit), { timeout: 15_000, interval: 200 })
      .toMatchObject({ ok: false, finding: expect.stringContaining('domain_events has 300 dead rows') })
    // Again and again: a session may report its dead rows after the vacuum, or hold a snapshot for a moment.
    const cure = async () => {
      await bench.sql('vacuum domain_events')
      return finding('dead-tuples', limit)
    }
    await expect.poll(cure, { timeout: 20_000, interval: 500 }).toMatchObject({ ok: true })
  }, 40_000)

  test('finds a sequence that hands out numbers in blocks', async () => {
    await bench.sql('alter sequence domain_events_sequence cache 20')
    const found = await finding('sequence')
    expect(found).toMatchObject({ ok: false, finding: expect.stringContaining('cache 20') })
    await bench.sql(found.remedy?.replace('Run: ', '') as string)
    expect(await finding('sequence')).toMatchObject({ ok: true })
  })

  test('finds a pooler, through which all works', async () => {
    const address = new URL(database.url)
    const target = Number(address.port)
    // As a pooler does, it gives a connection another process number than that of the backend.
    const pooler = createServer((client) => {
      const server = createConnection(target, '127.0.0.1')
      client.pipe(server)
      server.on('data', (bytes: Buffer) => {
        const key = bytes.indexOf(Buffer.from([0x4b, 0, 0, 0, 12]))
        if (key >= 0) bytes.writeInt32BE(77, key + 5)
        client.write(bytes)
      })
      for (const socket of [client, server])
        socket.on('error', () => {}).on('close', () => [client, server].map((end) => end.destroy()))
    })
    const port = await freePort()
    await new Promise<void>((resolve) => pooler.listen(port, '127.0.0.1', resolve))
    address.hostname = '127.0.0.1'
    address.port = String(port)
    const data = await createDataAccess({ database: { url: String(address) } })
    const found = (await data.outbox.doctor()).find(({ check }) => check === 'pooler')
    expect(found).toMatchObject({
      ok: true,
      finding: expect.stringContaining('pooler'),
      remedy: expect.stringContaining('LISTEN'),
    })
    await data.close()
    pooler.close()
  })
})
