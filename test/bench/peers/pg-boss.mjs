import { Redis } from 'ioredis'
import { PgBoss } from 'pg-boss'
import { compete } from '../contestant.ts'

// Tuned: fetch and complete in batches, XADD in a pipeline. No order.
await compete(async ({ databaseUrl, redisUrl, stream, events, batch }) => {
  const boss = new PgBoss({ connectionString: databaseUrl, supervise: false, schedule: false })
  await boss.start()
  await boss.createQueue('benched')
  const data = { text: 'x'.repeat(280) }
  for (let n = 0; n < events; n += 5000) {
    await boss.insert(
      'benched',
      Array.from({ length: Math.min(5000, events - n) }, (_, i) => ({ data: { n: n + i, ...data } })),
    )
  }
  const redis = new Redis(redisUrl)
  return {
    drain: async () => {
      for (;;) {
        const jobs = await boss.fetch('benched', { batchSize: batch })
        if (jobs.length === 0) return
        const pipeline = redis.pipeline()
        for (const job of jobs) pipeline.xadd(stream, '*', 'id', job.id, 'payload', JSON.stringify(job.data))
        for (const [error] of await pipeline.exec()) if (error) throw error
        await boss.complete(
          'benched',
          jobs.map(({ id }) => id),
        )
      }
    },
    close: async () => {
      await boss.stop({ graceful: false })
      await redis.quit()
    },
  }
})
