import { Redis } from 'ioredis'
import pg from 'pg'
import { addAll, compete, fillOutbox } from '../contestant.ts'

// The limit of the shape that our relay has: an owner reads plainly and marks by UPDATE, overlapped with the next fetch.
await compete(async ({ databaseUrl, redisUrl, stream, events, batch }) => {
  await fillOutbox(databaseUrl, events)
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 2 })
  const redis = new Redis(redisUrl)
  const fetch = {
    name: 'fetch',
    text: `select id, sequence, payload::text as payload from domain_events
      where status = 'pending' and sequence > $1 order by sequence limit $2`,
  }
  const mark = {
    name: 'mark',
    text: `update domain_events set status = 'published', published_at = now(), updated_at = now() where id = any($1)`,
  }
  return {
    drain: async () => {
      let last = '0'
      let marking: Promise<unknown> = Promise.resolve()
      for (;;) {
        const { rows } = await pool.query({ ...fetch, values: [last, batch] })
        if (rows.length === 0) break
        last = rows.at(-1).sequence
        await addAll(redis, stream, rows)
        await marking
        marking = pool.query({ ...mark, values: [rows.map(({ id }) => id)] })
      }
      await marking
    },
    close: async () => {
      await pool.end()
      await redis.quit()
    },
  }
})
