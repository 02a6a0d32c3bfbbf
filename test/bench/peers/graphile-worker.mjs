import { makeWorkerUtils, run } from 'graphile-worker'
import { Redis } from 'ioredis'
import { compete } from '../contestant.ts'

// Tuned: local queue, batched completion. A job for each event; no order.
await compete(async ({ databaseUrl, redisUrl, stream, events, batch }) => {
  const utils = await makeWorkerUtils({ connectionString: databaseUrl, logger: silent() })
  await utils.migrate()
  const text = 'x'.repeat(280)
  await utils.withPgClient((client) => client.query('truncate graphile_worker._private_jobs'))
  for (let n = 0; n < events; n += 5000) {
    await utils.withPgClient((client) =>
      client.query(
        `select graphile_worker.add_jobs(array(select ('benched', json_build_object('n', n, 'text', $1::text), null, now(), 1, null, 0, null)::graphile_worker.job_spec
          from generate_series(1, $2::int) as n))`,
        [text, Math.min(5000, events - n)],
      ),
    )
  }
  const redis = new Redis(redisUrl, { enableAutoPipelining: true })
  let done = 0
  let finished
  const all = new Promise((resolve) => {
    finished = resolve
  })
  return {
    drain: async () => {
      const runner = await run({
        connectionString: databaseUrl,
        logger: silent(),
        concurrency: 100,
        preset: { worker: { localQueue: { size: batch }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
        taskList: {
          benched: async (payload) => {
            await redis.xadd(stream, '*', 'payload', JSON.stringify(payload))
            if (++done === events) finished()
          },
        },
      })
      await all
      await runner.stop()
    },
    close: async () => {
      await utils.release()
      await redis.quit()
    },
  }
})

function silent() {
  return { scope: () => silent(), error() {}, warn() {}, info() {}, debug() {} }
}
