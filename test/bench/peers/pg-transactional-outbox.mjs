import { Redis } from 'ioredis'
import pg from 'pg'
import { DatabaseSetup, getDisabledLogger, initializePollingMessageListener } from 'pg-transactional-outbox'
import { compete } from '../contestant.ts'

// Polling, with a batch as large as it takes well; messages of different segments in parallel.
await compete(async ({ databaseUrl, redisUrl, stream, events }) => {
  const url = new URL(databaseUrl)
  const setup = {
    outboxOrInbox: 'outbox',
    database: url.pathname.slice(1),
    schema: 'public',
    table: 'outbox',
    listenerRole: decodeURIComponent(url.username),
    nextMessagesName: 'next_outbox_messages',
  }
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  for (const step of ['dropAndCreateTable', 'createPollingFunction', 'setupPollingIndexes'])
    await client.query(DatabaseSetup[step](setup))
  await client.query(
    `insert into outbox (id, aggregate_type, aggregate_id, message_type, segment, payload, created_at)
    select gen_random_uuid(), 'Thing', n % 1000, 'Benched', 'Thing:' || n % 1000, json_build_object('n', n, 'text', repeat('x', 280)), now()
    from generate_series(1, $1::int) as n`,
    [events],
  )
  await client.query('analyze outbox')
  await client.end()
  const redis = new Redis(redisUrl)
  let done = 0
  let finished
  const all = new Promise((resolve) => {
    finished = resolve
  })
  let shutdown = async () => {}
  return {
    drain: async () => {
      const publisher = {
        handle: async ({ id, payload }) => {
          await redis.xadd(stream, '*', 'id', id, 'payload', JSON.stringify(payload))
          if (++done === events) finished()
        },
      }
      const settings = {
        dbSchema: 'public',
        dbTable: 'outbox',
        nextMessagesBatchSize: 100,
        nextMessagesFunctionName: setup.nextMessagesName,
        nextMessagesPollingIntervalInMs: 10,
        enableMaxAttemptsProtection: false,
        enablePoisonousMessageProtection: false,
      }
      const config = { outboxOrInbox: 'outbox', dbListenerConfig: { connectionString: databaseUrl }, settings }
      ;[shutdown] = initializePollingMessageListener(config, publisher, getDisabledLogger())
      await all
    },
    close: async () => {
      await shutdown()
      await redis.quit()
    },
  }
})
