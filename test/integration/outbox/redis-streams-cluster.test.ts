import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { redisStreams } from '../../../src/publishers/redis-streams/redis-streams.ts'
import { contractEvent } from '../../../src/testing/publisher-contract.ts'
import { openTestCluster, type TestCluster } from '../../support/redis-cluster.ts'

let cluster: TestCluster
beforeAll(async () => {
  cluster = await openTestCluster()
})
afterAll(() => cluster?.close())

const context = { signal: new AbortController().signal }
/** On all of the nodes, and with every kind of brace that is taken. */
const streams = [
  'domain-events',
  '{a}b',
  'x{a}b',
  'a{b',
  '}{x}',
  'a}b{c}',
  '{{x}}',
  ...Array.from({ length: 20 }, (_, n) => `s${n}`),
]
const events = streams.map((stream, n) => contractEvent(stream, n))

test('a wave to streams on all nodes of a cluster is published, and a repetition is appended to none', async () => {
  const client = await cluster.connect()
  const publisher = redisStreams({ client, stream: ({ aggregateId }) => aggregateId, timeoutMs: 5000 })
  for (let round = 0; round < 2; round++) {
    const outcomes = await publisher.publish(events, context)
    expect(outcomes.flatMap((outcome) => ('error' in outcome ? [outcome.error] : []))).toEqual([])
  }
  for (const stream of streams) expect([stream, await client.xlen(stream)]).toEqual([stream, 1])
})

test('a client of one node, which cannot follow to the others, finds them unavailable and blames no event', async () => {
  const [node] = (await cluster.connect()).nodes('master')
  const client = new Redis({ host: node?.options.host as string, port: node?.options.port as number })
  try {
    await client.ping()
    const publisher = redisStreams({ client, stream: ({ aggregateId }) => aggregateId, timeoutMs: 5000 })
    const outcomes = await publisher.publish(events, context)
    expect(new Set(outcomes.map(({ status }) => status))).toEqual(new Set(['published', 'unavailable']))
    const told = String(outcomes.flatMap((outcome) => ('error' in outcome ? [outcome.error] : []))[0])
    expect(told).toMatch(/MOVED \d+ \S+\. This is one node of a Redis Cluster: give a Cluster/)
  } finally {
    client.disconnect()
  }
})
