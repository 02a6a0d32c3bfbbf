import { standsBehindPooler } from '../../database/pooler.ts'
import { type Check, fine } from './doctor-check.ts'

/** A check that only PostgreSQL needs. */
function onPostgresql(why: string, check: Check): Check {
  return async (context) => (context.store.dialect === 'postgresql' ? check(context) : fine(`Does not apply to SQLite: ${why}`))
}

const pinnedXmin = onPostgresql('rows are changed in place', async ({ store, limits }) => {
  const rows = await store.run<{ kind: string; who: string; remedy: string; ms: number }>(
    `select * from (
      select 'transaction' as kind, 'process ' || pid || coalesce(' of ' || nullif(application_name, ''), '') || ', ' || coalesce(state, backend_type) as who,
        'select pg_terminate_backend(' || pid || ')' as remedy, extract(epoch from now() - xact_start) * 1000 as ms
      from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database() and backend_type <> 'autovacuum worker'
        and (backend_xmin is not null or backend_xid is not null)
      union all
      select 'prepared transaction', gid, 'rollback prepared ' || quote_literal(gid), extract(epoch from now() - prepared) * 1000
      from pg_prepared_xacts where database = current_database()
      union all
      select 'replication slot', slot_name, 'select pg_drop_replication_slot(' || quote_literal(slot_name) || ')', 1e15
      from pg_replication_slots where not active and (xmin is not null or catalog_xmin is not null)
    ) as pins where ms > ? order by ms desc limit 5`,
    [limits.transactionMs],
  )
  if (rows.length === 0) return fine('Nothing that this user may see keeps PostgreSQL from removing dead rows')
  return {
    ok: false,
    finding: `Dead rows cannot be removed, and each fetch wades through them, because of ${rows.map(({ kind, who }) => `${kind} ${who}`).join('; ')}`,
    remedy: `End it and find out who left it open; set idle_in_transaction_session_timeout. ${rows.map(({ remedy }) => remedy).join('; ')}`,
  }
})

const deadTuples = onPostgresql('rows are changed in place', async ({ store, limits }) => {
  const rows = await store.run<{ name: string; dead: string; live: string; vacuumed: string | null }>(
    `select relname as name, n_dead_tup::text as dead, n_live_tup::text as live,
      greatest(last_vacuum, last_autovacuum)::text as vacuumed from pg_stat_user_tables
    where relid in (to_regclass('domain_events'), to_regclass('outbox_leases'), to_regclass('outbox_relays'), to_regclass('outbox_progress'))
      and n_dead_tup > ? and n_dead_tup > n_live_tup`,
    [limits.deadTuples],
  )
  if (rows.length === 0) return fine('The tables of the outbox hold few dead rows')
  const tables = rows.map(({ name, dead, live, vacuumed }) => {
    return `${name} has ${dead} dead rows beside ${live} live ones, last vacuumed ${vacuumed ?? 'never'}`
  })
  return {
    ok: false,
    finding: tables.join('; '),
    remedy: `Run ${rows.map(({ name }) => `vacuum (analyze) ${name}`).join('; ')}, and let autovacuum come sooner: alter table domain_events set (autovacuum_vacuum_scale_factor = 0.02). When it does not help, see pinned-xmin`,
  }
})

const sequence = onPostgresql('one row counts', async ({ store }) => {
  const [found] = await store.run<{ cache: string; step: string; cycles: boolean }>(
    `select seqcache::text as cache, seqincrement::text as step, seqcycle as cycles from pg_sequence
    where seqrelid = to_regclass('domain_events_sequence')`,
  )
  const remedy = 'Run: alter sequence domain_events_sequence increment by 1 cache 1 no cycle'
  if (found === undefined) {
    return { ok: false, finding: 'The sequence domain_events_sequence is missing', remedy: 'Run await data.migrate()' }
  }
  if (found.cache === '1' && found.step === '1' && !found.cycles) return fine('The sequence gives its numbers one by one')
  return {
    ok: false,
    finding: `domain_events_sequence has cache ${found.cache}, increment ${found.step}${found.cycles ? ' and cycles' : ''}: numbers are not drawn in commit order, so events of one key may be published out of order`,
    remedy,
  }
})

const pooler = onPostgresql('there is no server', async ({ orm }) => {
  if (!(await standsBehindPooler(orm))) return fine('This process is connected to PostgreSQL itself')
  return {
    ok: true,
    finding:
      'A pooler such as PgBouncer stands between this process and PostgreSQL; units of work and relays need nothing of a session',
    remedy:
      'Nothing for the outbox. In transaction mode set statement_timeout for the role instead of by statementTimeoutMs, and keep LISTEN, session locks and SET out of your own code',
  }
})

/** The checks of what only PostgreSQL has. */
export const postgresqlChecks = { 'pinned-xmin': pinnedXmin, 'dead-tuples': deadTuples, sequence, pooler } as const
