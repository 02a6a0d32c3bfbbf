import { redisCache } from '../../src/cache/redis/redis-cache.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { redisPubSub } from '../../src/publishers/redis-pubsub/redis-pubsub.ts'
import { redisStreams } from '../../src/publishers/redis-streams/redis-streams.ts'
import { NoteTagged, notes } from './notes-module.ts'

// The production wiring of the README: publishes one event, says so, and ends by itself after SIGTERM.
const [databaseUrl = '', redisUrl = '', prefix = '', kind = ''] = process.argv.slice(2)
const data = await createDataAccess({
  modules: [notes],
  database: { url: databaseUrl },
  cache: redisCache({ url: redisUrl, prefix }),
})
await data.migrate()
const publisher =
  kind === 'redisStreams'
    ? redisStreams({ url: redisUrl, stream: `${prefix}s` })
    : redisPubSub({ url: redisUrl, channel: `${prefix}c` })
const relay = data.outbox.relay({ publisher })
const published = new Promise<void>((resolve) => void relay.on('published', () => resolve()))
await relay.start()
process.once('SIGTERM', () => data.close())
await data.unitOfWork(async ({ record }) => void record(NoteTagged, 'a', 1))
await published
console.log('published')
