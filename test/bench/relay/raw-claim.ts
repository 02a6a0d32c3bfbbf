import { Redis } from 'ioredis'
import pg from 'pg'
import { addAll, compete, fillOutbox } from '../contestant.ts'

// The yardstick: claim rows by SKIP LOCKED, XADD in a pipeline, mark in one UPDATE. No order per key, no lease, no retry.
await compete(async ({ databaseUrl, redisUrl, stream, events, batch }) => {
  await fillOutbox(databaseUrl, events)
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  const redis = new Redis(redisUrl)
  const claim = {
    name: 'claim',
    text: `update domain_events set status = 'claimed' where id = any(array(
        select id from domain_events where status = 'pending' order by sequence limit $1 for update skip locked))
      returning id, payload::text as payload`,
  }
  const mark = { name: 'mark', text: `update domain_events set status = 'published', published_at = now() where id = any($1)` }
  return {
    drain: async () => {
      for (;;) {
        const { rows } = await client.query({ ...claim, values: [batch] })
        if (rows.length === 0) return
        await addAll(redis, stream, rows)
        await client.query({ ...mark, values: [rows.map(({ id }) => id)] })
      }
    },
    close: async () => {
      await client.end()
      await redis.quit()
    },
  }
})
