import { createDataAccess } from '../../src/data-access.ts'
import { redisWake } from '../../src/outbox/redis-wake/redis-wake.ts'
import { NoteTagged, notes } from './notes-module.ts'

// A process that only writes: it records an event for each message, and answers when the commit stands.
const { url, redisUrl, channel } = JSON.parse(process.argv[2] as string)
const data = await createDataAccess({
  modules: [notes],
  database: { url },
  wake: redisWake({ url: redisUrl, channel }),
})
process.on('message', async (payload) => {
  if (payload === 'stop') {
    await data.close()
    process.disconnect()
    return
  }
  await data.unitOfWork(async ({ record }) => void record(NoteTagged, 'n', payload))
  process.send?.(payload)
})
process.send?.('running')
