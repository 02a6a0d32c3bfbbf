import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createDataAccess } from '@innovateai/data-access'
import { Redis } from 'ioredis'
import { fillOutbox } from '../contestant.ts'
import { openRawOwner } from './raw-shape.ts'

// RELAYS processes relay what one transaction stores; timed from its commit to the last entry in the stream. SIDE=raw: by raw SQL.
const [databaseUrl = '', redisUrl = '', stream = '', events = '0', batch = '500'] = process.argv.slice(2)
const relays = Number(process.env.RELAYS)

if (process.send === undefined) await fill()
else await (process.env.SIDE === 'raw' ? rawOwner() : relay())

async function fill(): Promise<void> {
  const data = await createDataAccess({ database: { url: databaseUrl } })
  await data.migrate()
  const children = Array.from({ length: relays }, (_, mine) =>
    fork(fileURLToPath(import.meta.url), process.argv.slice(2), { env: { ...process.env, MINE: `${mine}` } }),
  )
  await Promise.all(children.map((child) => once(child, 'message')))
  await fillOutbox(databaseUrl, Number(events))
  const started = performance.now()
  const redis = new Redis(redisUrl)
  while ((await redis.xlen(stream)) < Number(events)) await new Promise((resolve) => setTimeout(resolve, 5))
  const ms = performance.now() - started
  const ends = children.map(async (child) => {
    const end = once(child, 'message')
    child.send('stop')
    const [cpuMs] = await end
    return Number(cpuMs)
  })
  const cpuMs = (await Promise.all(ends)).reduce((sum, one) => sum + one, 0)
  await redis.del(stream)
  await redis.quit()
  await data.close()
  console.log(JSON.stringify({ perSecond: (Number(events) / ms) * 1000, cpuMsPerOperation: cpuMs / Number(events) }))
}

async function relay(): Promise<void> {
  const data = await createDataAccess({ database: { url: databaseUrl, pool: { max: 4 } } })
  const redis = new Redis(redisUrl)
  const relay = data.outbox.relay({
    publisher: {
      name: 'bench',
      publish: async (wave) => {
        const pipeline = redis.pipeline()
        for (const { id, payloadJson } of wave) pipeline.xadd(stream, '*', 'id', id, 'payload', payloadJson)
        for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error
        return wave.map(() => ({ status: 'published' }))
      },
    },
    batchSize: Number(batch),
    pollInterval: { min: 5, max: 20 },
    publishTimeout: 2000,
    lease: 5000,
  })
  await relay.start()
  while (relay.status().buckets.length !== 64 / relays) await new Promise((resolve) => setTimeout(resolve, 50))
  await tellCpuTime()
  await data.close()
  await redis.quit()
  process.disconnect()
}

async function rawOwner(): Promise<void> {
  const share = { mine: Number(process.env.MINE), of: relays }
  const owner = openRawOwner({ databaseUrl, redisUrl, stream, batch: Number(batch) }, { share })
  let stopped = false
  const told = tellCpuTime().then(() => {
    stopped = true
  })
  while (!stopped) {
    await owner.drain()
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await told
  await owner.close()
  process.disconnect()
}

/** Says that this process is ready, and at the end what it took. */
async function tellCpuTime(): Promise<void> {
  const before = process.cpuUsage()
  process.send?.('ready')
  await once(process, 'message')
  const { user, system } = process.cpuUsage(before)
  process.send?.((user + system) / 1000)
}
