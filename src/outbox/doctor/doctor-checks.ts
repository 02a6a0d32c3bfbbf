import { readOutboxStats, readRelays } from '../store/outbox-stats.ts'
import { type Check, fine } from './doctor-check.ts'

/** How long a wake channel that nobody hears is tried, in ms. */
const wakeTrialMs = 2500

/** The indexes that the relay's statements need, with what makes them. */
const neededIndexes: Readonly<Record<string, string>> = {
  domain_events_pending_index: "domain_events (bucket, sequence) where status = 'pending'",
  domain_events_delayed_index: "domain_events (ordering_key, sequence) where status = 'pending' and available_at is not null",
  domain_events_available_index: "domain_events (available_at, attempts) where status = 'pending' and available_at is not null",
  domain_events_status_created_at_index: 'domain_events (status, created_at)',
  outbox_dead_letters_blocking_index: 'outbox_dead_letters (bucket) where blocks_key',
}

const indexes: Check = async ({ store }) => {
  const rows = await store.run<{ name: string }>(
    store.dialect === 'postgresql'
      ? `select c.relname as name from pg_index i join pg_class c on c.oid = i.indexrelid
        where i.indrelid in (to_regclass('domain_events'), to_regclass('outbox_dead_letters')) and i.indisvalid and i.indisready`
      : `select name from sqlite_master where type = 'index' and tbl_name in ('domain_events', 'outbox_dead_letters')`,
  )
  const there = new Set(rows.map(({ name }) => name))
  const missing = Object.keys(neededIndexes).filter((name) => !there.has(name))
  if (there.size === 0) {
    return { ok: false, finding: 'The tables of the outbox do not exist', remedy: 'await data.migrate(), before anything else' }
  }
  if (missing.length === 0) return fine('All indexes of the relay are there and valid')
  const concurrently = store.dialect === 'postgresql' ? ' concurrently' : ''
  return {
    ok: false,
    finding: `Missing or invalid: ${missing.join(', ')}; the relay reads whole tables instead`,
    remedy: `Drop what is invalid, then run: ${missing.map((name) => `create index${concurrently} ${name} on ${neededIndexes[name]}`).join('; ')}`,
  }
}

const wake: Check = async ({ wake, clock }) => {
  const { channel } = wake
  if (channel === undefined) return fine('No wake channel; relays of other processes find events by polling')
  // While nobody listens nothing is known: the doctor listens for a moment.
  const stop = wake.subscribe(() => {})
  try {
    for (let waited = 0; !wake.sure && waited < wakeTrialMs; waited += 50) await clock.wait(50)
    if (wake.sure) return fine(`Wakes come through on ${channel.address}`)
  } finally {
    stop()
  }
  return {
    ok: false,
    finding: `No wake comes through on ${channel.address}; relays poll more often, and latency grows`,
    remedy: 'Bring Redis back, and see that this process may publish and subscribe there (ACL, firewall)',
  }
}

const pausedRelays: Check = async ({ store }) => {
  const relays = await readRelays(store)
  const paused = relays.flatMap(({ paused, ...relay }) => (paused === undefined ? [] : [{ ...relay, ...paused }]))
  if (paused.length === 0) return fine(relays.length === 0 ? 'No relay lives' : `None of ${relays.length} relays is paused`)
  const shown = paused.slice(0, 3).map(({ name, id, cause, publisher, since, error }) => {
    const whom = cause === 'publisher' ? `publisher "${publisher}"` : cause
    return `"${name}" (${id}) waits for its ${whom} since ${since.toISOString()}: ${error}`
  })
  return {
    ok: false,
    finding: `${paused.length} of ${relays.length} relays are paused: ${shown.join('; ')}${paused.length > 3 ? '; …' : ''}`,
    remedy:
      'Bring back what is away; the relays go on by themselves. Those that are paused beside others that are not may be stopped: the others take their events over. When it is not away, see that the publisher calls nothing unavailable that concerns a single event or receiver',
  }
}

const oldestDue: Check = async ({ store, limits }) => {
  const { oldestDueAgeMs, backlog, relays } = await readOutboxStats(store)
  if (oldestDueAgeMs <= limits.oldestDueMs) {
    return fine(
      oldestDueAgeMs === 0 ? 'No event is due' : `The oldest event that is due waits for ${Math.round(oldestDueAgeMs)} ms`,
    )
  }
  return {
    ok: false,
    finding: `The oldest event that is due waits for ${Math.round(oldestDueAgeMs)} ms; ${backlog} are pending, and ${relays.length} relays live`,
    remedy:
      relays.length === 0
        ? 'Start a relay: data.outbox.relay({ publisher }).start()'
        : 'See paused-relays; when none is paused, start more relays or speed up the publisher: relay.status() of each tells what it has in hand',
  }
}

const blockedKeys: Check = async ({ store }) => {
  const rows = await store.run<{ ordering_key: string; waiting: number | string }>(
    `select d.ordering_key, (select count(*) from (select 1 as one from domain_events e where e.status = 'pending'
        and e.bucket = d.bucket and e.ordering_key = d.ordering_key limit 1000) as w) as waiting
    from (select distinct ordering_key, bucket from outbox_dead_letters where blocks_key limit 100) as d order by d.ordering_key`,
  )
  if (rows.length === 0) return fine('No key is held by a dead letter')
  const shown = rows.slice(0, 5).map((row) => `${row.ordering_key} (${row.waiting} events wait)`)
  return {
    ok: false,
    finding: `${rows.length === 100 ? '100 or more' : rows.length} keys are held by dead letters: ${shown.join(', ')}${rows.length > 5 ? ', …' : ''}`,
    remedy:
      'Cure the cause and call data.outbox.deadLetters.redrive({ orderingKey }), or discard({ orderingKey }) to go on without',
  }
}

/** So many are counted, since nobody needs to know more than that they are many. */
const countedLetters = 1000

const deadLetters: Check = async ({ store }) => {
  const rows = await store.run<{ event_type: string; error: string; letters: number | string }>(
    `select event_type, error, (select count(*) from (select 1 as one from outbox_dead_letters limit ?) as l) as letters
    from outbox_dead_letters order by dead_at desc limit 1`,
    [countedLetters],
  )
  const [newest] = rows
  if (newest === undefined) return fine('There are no dead letters')
  const letters = Number(newest.letters)
  return {
    ok: false,
    finding: `${letters}${letters === countedLetters ? ' or more' : ''} events were given up; the last one, of type "${newest.event_type}": ${newest.error.slice(0, 500)}`,
    remedy:
      'See data.outbox.deadLetters.list(); when the cause is cured, redrive() delivers them at their place in their keys, and discard() does away with them',
  }
}

/** The checks of both dialects. */
export const outboxChecks = {
  indexes,
  wake,
  'paused-relays': pausedRelays,
  'oldest-due': oldestDue,
  'blocked-keys': blockedKeys,
  'dead-letters': deadLetters,
} as const
