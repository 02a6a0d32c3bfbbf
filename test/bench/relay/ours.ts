import { createDataAccess } from '@innovateai/data-access'
import type { Outcome, Publisher } from '@innovateai/data-access/outbox'
import { redisStreams } from '@innovateai/data-access/publishers/redis-streams'
import { Redis } from 'ioredis'
import { addAll, compete, fillOutbox } from '../contestant.ts'

const retention = process.env.RETENTION === 'delete' ? 'delete' : 'keep'

await compete(async ({ databaseUrl, redisUrl, stream, events, batch }) => {
  const data = await createDataAccess({ database: { url: databaseUrl, pool: { max: 4 } } })
  await fillOutbox(databaseUrl, events)
  const redis = new Redis(redisUrl)
  const published: Outcome = { status: 'published' }
  const pipeline: Publisher = {
    name: 'bench',
    publish: async (wave) => {
      await addAll(
        redis,
        stream,
        wave.map(({ id, payloadJson }) => ({ id, payload: payloadJson })),
      )
      return wave.map(() => published)
    },
  }
  const publisher = process.env.PUBLISHER === 'script' ? redisStreams({ client: redis, stream }) : pipeline
  const relay = data.outbox.relay({ publisher, batchSize: batch, retention })
  return {
    drain: async () => void (await relay.drain()),
    close: async () => {
      await data.close()
      await redis.quit()
    },
  }
})
