import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { AIRScoreCalculated } from '../../src/assessment/air-score-calculated.ts'
import { assessment } from '../../src/assessment/assessment-module.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import type { DataModule } from '../../src/module.ts'
import type { EventMessage } from '../../src/outbox/publishing/publisher.ts'
import { redisStreams } from '../../src/publishers/redis-streams/redis-streams.ts'
import { codeBlocks } from '../support/code-blocks.ts'
import { dialects, openTestDatabase } from '../support/databases.ts'
import { repository } from '../support/programs.ts'
import { openTestRedis } from '../support/redis.ts'

// Inside the repository, so that it finds the built package by its name.
const folder = join(repository, '.data/consuming-guide')
const codeOf = (name: string) => codeBlocks('docs/guides/consuming-events.md').find(({ file }) => file === name)?.code as string

/** What the guide's statistics.ts exports. */
interface Guide {
  readonly statistics: DataModule
  countScore(data: DataAccess, message: Pick<EventMessage, 'id' | 'type' | 'schemaVersion' | 'payload'>): Promise<boolean>
  forget(data: DataAccess, keepMs: number): Promise<void>
}
let guide: Guide

beforeAll(async () => {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'statistics.ts'), codeOf('statistics.ts'))
  guide = await import(/* @vite-ignore */ join(folder, 'statistics.ts'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const payloadOf = (occupation: string) => ({
  userId: crypto.randomUUID(),
  airScoreId: crypto.randomUUID(),
  airScoreValue: 87.5,
  occupation,
})
const messageOf = (occupation: string) => ({
  ...{ id: crypto.randomUUID(), type: AIRScoreCalculated.type, schemaVersion: 1, payload: payloadOf(occupation) },
})
const countsOf = (data: DataAccess) => runSql(data.fork(), 'select occupation, scores from score_counts order by occupation')
const seenBy = async (data: DataAccess) => (await runSql(data.fork(), 'select event_id from consumed_events')).length

describe.each(dialects)('the consumer of the guide, on %s,', (dialect) => {
  async function openTwo(): Promise<readonly [DataAccess, DataAccess]> {
    const database = await openTestDatabase(dialect)
    onTestFinished(() => database.close())
    const open = async () => {
      const data = await createDataAccess({ modules: [guide.statistics], database: { url: database.url }, cache: false })
      onTestFinished(() => data.close())
      await data.migrate()
      return data
    }
    const data = await open()
    // A second connection to a file, in the same process, would wait in the middle of it: there units take turns on one.
    return [data, dialect === 'sqlite' ? data : await open()]
  }

  test('counts a message once that comes many times side by side', async () => {
    const [data, other] = await openTwo()
    const message = messageOf('15-1252')
    const deliveries = [data, other, data, other].map((each) => guide.countScore(each, message))
    expect((await Promise.all(deliveries)).sort()).toEqual([false, false, false, true])
    expect(await guide.countScore(data, messageOf('15-1252'))).toBe(true)
    expect(await countsOf(data)).toEqual([{ occupation: '15-1252', scores: 2 }])
    expect(await seenBy(data)).toBe(2)
  })

  test('keeps no id of an event whose work fails, and none of a type that it does not know', async () => {
    const [data] = await openTwo()
    const message = messageOf('15-1252')
    await expect(guide.countScore(data, { ...message, payload: {} })).rejects.toThrow()
    await expect(guide.countScore(data, { ...message, schemaVersion: 2 })).rejects.toThrow('version 2 is not known here')
    expect(await guide.countScore(data, { ...message, type: 'UserInvited' })).toBe(false)
    await runSql(data.fork(), 'alter table score_counts rename to put_away')
    await expect(guide.countScore(data, message)).rejects.toThrow()
    expect(await seenBy(data)).toBe(0)
    await runSql(data.fork(), 'alter table put_away rename to score_counts')
    expect(await guide.countScore(data, message)).toBe(true)

    await guide.forget(data, 60_000)
    expect(await seenBy(data)).toBe(1)
    await guide.forget(data, -1000)
    expect(await seenBy(data)).toBe(0)
  })
})

test('the program of the guide takes up what it had in hand, counts each event once, and sets aside what it cannot read', async () => {
  const [database, redis] = [await openTestDatabase('postgresql'), await openTestRedis()]
  onTestFinished(() => redis.close())
  onTestFinished(() => database.close())
  const client = new Redis(redis.url)
  onTestFinished(() => void client.disconnect())
  const stream = `${redis.prefix}events`
  const imported = 'import { defaultStream, readStreamEntry }'
  const program = codeOf('consumer.ts')
  expect(program).toContain(imported)
  const ours = `const defaultStream = '${stream}'\nimport { readStreamEntry }`
  writeFileSync(join(folder, 'consumer.ts'), program.replace(imported, ours))

  const producer = await createDataAccess({ modules: [assessment] })
  onTestFinished(() => producer.close())
  await producer.migrate()
  await producer.unitOfWork(async ({ record }) => {
    for (let number = 0; number < 3; number++) record(AIRScoreCalculated, crypto.randomUUID(), payloadOf('15-1252'))
  })
  await producer.outbox.relay({ publisher: redisStreams({ url: redis.url, stream }) }).drain()
  // A repetition beyond the window of the stream, one of a version that nobody knows, and one behind it.
  const [first] = await client.xrange(stream, '-', '+', 'COUNT', 1)
  const fields = first?.[1] ?? []
  const other = (changes: Readonly<Record<string, string>>) =>
    fields.map((field, at) => (at % 2 === 1 ? (changes[fields[at - 1] ?? ''] ?? field) : field))
  await client.xadd(stream, '*', ...fields)
  await client.xadd(stream, '*', ...other({ id: crypto.randomUUID(), schemaVersion: '2' }))
  const last = { id: crypto.randomUUID(), payload: JSON.stringify(payloadOf('29-1141')) }
  await client.xadd(stream, '*', ...other(last))
  // A process of this name died with two of them in hand.
  await client.xgroup('CREATE', stream, 'statistics', '0')
  await client.xreadgroup('GROUP', 'statistics', 'statistics-1', 'COUNT', 2, 'STREAMS', stream, '>')

  const env = { ...process.env, DATABASE_URL: database.url, REDIS_URL: redis.url, CONSUMER: undefined }
  const consumer = spawn(process.execPath, ['consumer.ts'], { cwd: folder, env, stdio: ['ignore', 'inherit', 'inherit'] })
  const ended = once(consumer, 'exit')
  onTestFinished(async () => {
    consumer.kill('SIGKILL')
    await ended
  })
  const data = await createDataAccess({ modules: [guide.statistics], database: { url: database.url }, cache: false })
  onTestFinished(() => data.close())
  await data.migrate()
  const expected = [
    { occupation: '15-1252', scores: 3 },
    { occupation: '29-1141', scores: 1 },
  ]
  await vi.waitFor(async () => expect(await countsOf(data)).toEqual(expected), { timeout: 60_000, interval: 100 })
  await vi.waitFor(async () => expect((await client.xpending(stream, 'statistics'))[0]).toBe(0), { timeout: 10_000 })
  const aside = await client.xrange(`${stream}:set-aside`, '-', '+')
  expect(aside).toHaveLength(1)
  expect(aside[0]?.[1].at(-1)).toContain('version 2 is not known here')

  consumer.kill('SIGTERM')
  expect(await ended).toEqual([0, null])
})
