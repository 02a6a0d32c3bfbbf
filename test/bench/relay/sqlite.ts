import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDataAccess } from '@innovateai/data-access'

// A file in WAL mode and a function that counts: SIDE=ours drains by the relay, SIDE=raw by its statements on the driver.
const events = Number(process.argv[5])
const batch = Number(process.argv[6])
const folder = mkdtempSync(join(tmpdir(), 'bench-sqlite-'))
const file = join(folder, 'bench.db')
const data = await createDataAccess({ database: { url: `sqlite:${file}` } })
await data.migrate()
await data
  .fork()
  .getConnection()
  .execute(`with recursive n(n) as (select 1 union all select n + 1 from n where n < ${events})
  insert into domain_events (id, event_type, aggregate_type, aggregate_id, payload, headers, ordering_key, bucket, created_at, updated_at, sequence)
  select lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-7' || substr(hex(randomblob(2)), 2) || '-8' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))),
    'Benched', 'Thing', n % 1000, json_object('n', n, 'text', '${'x'.repeat(280)}'), '{}', 'Thing:' || (n % 1000), (n % 1000) % 64, 0, 0, n from n`)
await data.fork().getConnection().execute(`update outbox_sequence set value = ${events}`)
let published = 0

const ours = async () => {
  await data.outbox.relay({ publisher: () => void published++, batchSize: batch }).drain()
}

interface Row {
  readonly id: string
  readonly payload: string
  readonly headers: string
}
const raw = async () => {
  const Database = createRequire(createRequire(import.meta.url).resolve('@mikro-orm/sqlite'))('better-sqlite3')
  const database = new Database(file)
  const fetch = database.prepare(`select id, event_type, aggregate_type, aggregate_id, cast(payload as text) as payload,
    cast(headers as text) as headers, ordering_key, bucket, cast(sequence as text) as sequence, schema_version, attempts, created_at
    from domain_events where status = 'pending' order by sequence limit ?`)
  const note = database.prepare(`update outbox_progress set in_flight = ? where relay = 'bench'`)
  const mark =
    database.prepare(`update domain_events set status = 'published', published_at = 1, updated_at = 1, last_error = null
    where status = 'pending' and id in (select value from json_each(?)) returning id`)
  for (;;) {
    const rows = fetch.all(batch) as Row[]
    if (rows.length === 0) break
    const ids = JSON.stringify(rows.map(({ id }) => id))
    note.run(ids)
    for (const { payload, headers } of rows) {
      JSON.parse(payload)
      JSON.parse(headers)
      await Promise.resolve(published++)
    }
    mark.all(ids)
  }
  database.close()
}

const cpu = process.cpuUsage()
const started = performance.now()
await (process.env.SIDE === 'raw' ? raw() : ours())
const ms = performance.now() - started
const { user, system } = process.cpuUsage(cpu)
await data.close()
rmSync(folder, { recursive: true, force: true })
if (published !== events) throw new Error(`published ${published} of ${events} events`)
console.log(JSON.stringify({ perSecond: (events / ms) * 1000, cpuMsPerOperation: (user + system) / 1000 / events }))
