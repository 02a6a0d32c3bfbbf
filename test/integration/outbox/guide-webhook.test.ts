import { writeFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, inject, test } from 'vitest'
import type { EventMessage, PublishFunction } from '../../../src/outbox/publishing/publisher.ts'
import { codeBlocks } from '../../support/code-blocks.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'
import { type OutboxUnderTest, openOutbox } from '../../support/outbox-bench.ts'
import { repository } from '../../support/programs.ts'
import { freePort } from '../../support/servers/server-process.ts'

/** The function of the guide, as it stands there but for the receiver's address and its patience. */
async function webhookOfGuide(port: number): Promise<PublishFunction> {
  const block = codeBlocks('docs/guides/outbox-relay.md').find(({ code }) => code.includes('export const toWebhook'))
    ?.code as string
  const changes = [
    ['https://hooks.example', `http://127.0.0.1:${port}`],
    ['timeout(4000)', 'timeout(2000)'],
    ['@innovateai/data-access/outbox', join(repository, 'src/outbox/publishing/publisher.ts')],
  ] as const
  for (const [there] of changes) expect(block).toContain(there)
  const file = join(inject('runFolder'), `webhook-${port}.ts`)
  writeFileSync(
    file,
    changes.reduce((code, [there, here]) => code.replace(there, here), block),
  )
  return ((await import(/* @vite-ignore */ file)) as { toWebhook: PublishFunction }).toWebhook
}

/** What the receiver does with the event of a key; without a word it answers 200. */
type Doings = Record<string, (response: ServerResponse) => unknown>

const answers =
  (status: number, headers = {}) =>
  (response: ServerResponse) =>
    response.writeHead(status, headers).end('x'.repeat(100_000))
const retry = { attempts: 2, baseMs: 1, maxMs: 1 }

let database: TestDatabase
let bench: OutboxUnderTest
let port: number
let doings: Doings
const received: string[] = []
const server = createServer(async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  const key = (JSON.parse(body) as EventMessage).payload as string
  received.push(key)
  const doing = doings[key]
  if (doing === undefined) response.end()
  else doing(response)
})

beforeEach(async () => {
  received.length = 0
  doings = {}
  port = await freePort()
})
afterEach(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await bench.close()
  await database.close()
})

async function relay(dialect: (typeof dialects)[number]) {
  database = await openTestDatabase(dialect)
  bench = await openOutbox(database.url)
  return bench.outbox.relay({ publisher: await webhookOfGuide(port), retry, pollInterval: { min: 5, max: 50 } })
}
const listen = () => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))

test.each(dialects)(
  'the webhook of the guide, on %s, lets no event stop the others, whatever the receiver does with it',
  async (dialect) => {
    const webhook = await relay(dialect)
    await listen()
    doings = {
      hangs: () => {},
      'hangs in its answer': (response) => response.writeHead(200).write('…'),
      resets: (response) => response.socket?.resetAndDestroy(),
      'is refused': answers(422),
      'is unknown': answers(404),
      fails: answers(500),
      'fails once': (response) => {
        delete doings['fails once']
        answers(500)(response)
      },
    }
    const keys = [...Object.keys(doings), 'good', 'good too']
    for (const key of keys) await bench.record(key, [key])
    await webhook.start()
    await expect.poll(() => webhook.status(), { timeout: 15_000 }).toMatchObject({ published: 3, deadLettered: 6 })
    expect(webhook.status().paused).toBeUndefined()
    const letters = (await bench.outbox.deadLetters.list()).map(({ aggregateId, reason }) => `${aggregateId}: ${reason}`)
    expect(letters.sort()).toEqual([
      'fails: exhausted',
      'hangs in its answer: exhausted',
      'hangs: exhausted',
      'is refused: permanent',
      'is unknown: permanent',
      'resets: exhausted',
    ])
    await webhook.stop()
  },
)

test.each(dialects)(
  'the webhook of the guide, on %s, waits without a failed try for a receiver that is away or closed to all',
  async (dialect) => {
    const webhook = await relay(dialect)
    for (const key of ['a', 'b']) await bench.record(key, [key])
    await webhook.start()
    await expect.poll(() => webhook.status().paused?.error, { timeout: 10_000 }).toContain('ECONNREFUSED')
    doings = { a: answers(503), b: answers(429) }
    await listen()
    await expect.poll(() => received.length, { timeout: 10_000 }).toBeGreaterThan(1)
    expect(webhook.status().paused?.cause).toBe('publisher')
    doings = {}
    await expect.poll(() => webhook.status().published, { timeout: 10_000 }).toBe(2)
    expect(webhook.status()).toMatchObject({ retried: 0, deadLettered: 0, paused: undefined })
    await webhook.stop()
  },
)

test.each(dialects)('the webhook of the guide, on %s, comes back no sooner than the receiver asks', async (dialect) => {
  const webhook = await relay(dialect)
  await listen()
  const times: Record<string, number[]> = {}
  const busy = (key: string, status: number) => (response: ServerResponse) => {
    times[key] = [...(times[key] ?? []), performance.now()]
    if (times[key].length === 2) delete doings[key]
    answers(status, { 'retry-after': '2' })(response)
  }
  doings = { failing: busy('failing', 500), closed: busy('closed', 503) }
  await bench.record('failing', ['failing'])
  await webhook.start()
  await expect.poll(() => webhook.status().retried, { timeout: 10_000 }).toBe(1)
  // The other keys go on meanwhile.
  await bench.record('good', ['good'])
  await expect.poll(() => received.includes('good'), { timeout: 10_000 }).toBe(true)
  expect(times.failing).toHaveLength(1)
  await expect.poll(() => webhook.status().deadLettered, { timeout: 20_000, interval: 10 }).toBe(1)
  await bench.record('closed', ['closed'])
  await expect.poll(() => webhook.status().paused?.error, { timeout: 10_000 }).toContain('answered 503')
  await bench.record('later', ['later'])
  await expect.poll(() => webhook.status().published, { timeout: 30_000 }).toBe(3)
  for (const key of ['failing', 'closed']) {
    const [first = 0, second = 0] = times[key] ?? []
    expect(second - first, key).toBeGreaterThanOrEqual(1990)
  }
  await webhook.stop()
})

test.each(dialects)('a drain, on %s, gives up at once when the receiver asks for more than ten seconds', async (dialect) => {
  const webhook = await relay(dialect)
  await listen()
  doings = { closed: answers(503, { 'retry-after': '60' }) }
  await bench.record('closed', ['closed'])
  await expect(webhook.drain()).rejects.toMatchObject({
    code: 'PUBLISHER_FAILED',
    message: expect.stringMatching(/: 1; next try in (59|60)/),
  })
  expect(received).toHaveLength(1)
})
