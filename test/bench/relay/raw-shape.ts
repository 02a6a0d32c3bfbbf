import { Redis } from 'ioredis'
import pg from 'pg'
import { addAll, type RelayTask } from '../contestant.ts'

const addByScript = `for i = 1, #ARGV, 2 do redis.call('XADD', KEYS[1], '*', 'id', ARGV[i], 'payload', ARGV[i + 1]) end`

/** What of the shape a contestant has. */
export interface RawShape {
  /** Deletes what is published, in place of marking it. */
  readonly deletes?: boolean
  /** Adds a batch to the stream by one script. */
  readonly byScript?: boolean
  /** Which of how many owners this is: each has its share of the buckets. */
  readonly share?: { readonly mine: number; readonly of: number }
}

type RawTask = Pick<RelayTask, 'databaseUrl' | 'redisUrl' | 'stream' | 'batch'>

/**
 * The limit of the shape that our relay has: an owner reads plainly, publishes, and marks, each overlapped with the others. No lease, no
 * retry, no order behind a failure, no duplicate removed.
 */
export function openRawOwner({ databaseUrl, redisUrl, stream, batch }: RawTask, { deletes, byScript, share }: RawShape) {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 3 })
  const redis = new Redis(redisUrl)
  const { mine, of } = share ?? { mine: 0, of: 1 }
  const update = `update domain_events set status = 'published', published_at = now(), updated_at = now() where id = any($1)`
  const mark = { name: 'mark', text: deletes ? 'delete from domain_events where id = any($1)' : update }
  const fetchAfter = (last: string) =>
    pool.query({
      name: 'fetch',
      text: `select id, sequence, payload::text as payload from domain_events
        where status = 'pending' and sequence > $1 and bucket % $3 = $4 order by sequence limit $2`,
      values: [last, batch, of, mine],
    })
  const publish = (rows: readonly { id: string; payload: string }[]) =>
    byScript
      ? redis.eval(addByScript, 1, stream, ...rows.flatMap(({ id, payload }) => [id, payload]))
      : addAll(redis, stream, rows)
  let last = '0'
  return {
    /** Relays what is pending, to the end. */
    drain: async () => {
      let marking: Promise<unknown> = Promise.resolve()
      let fetching = fetchAfter(last)
      for (;;) {
        const { rows } = await fetching
        if (rows.length === 0) break
        last = rows.at(-1).sequence
        fetching = fetchAfter(last)
        await publish(rows)
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
}
