import type { Failpoint } from './failpoint.ts'
import type { ChildOptions } from './relay-process.ts'

/** The statement that marks what was published, where it is kept. */
export const markKept = `set status = 'published'`
const markDeleted = `delete from domain_events( indexed by \\S+)? where status = 'pending'`
const fetch = 'domain_events_fetch|order by e\\.sequence limit'
const commit = '(^|;)commit$'

/** Every step of a batch. */
export const batchSteps: Readonly<Record<string, Partial<ChildOptions>>> = {
  'between its registration and its progress': { failpoint: { statement: 'insert into outbox_relays', when: 'after' } },
  'after its progress, before it stands': { failpoint: { statement: 'insert into outbox_progress', when: 'after' } },
  'after it registered, before it has leases': {
    failpoint: { statement: 'update outbox_leases set leased_until', when: 'before' },
  },
  'after it took leases': { failpoint: { statement: 'update outbox_leases set owner = .*epoch = epoch', when: 'after' } },
  'after its first fetch': { failpoint: { statement: fetch, when: 'after' } },
  'after a later fetch': { failpoint: { statement: fetch, when: 'after', hit: 3 } },
  'before it noted what is in hand': { failpoint: { statement: 'set in_flight', when: 'before' } },
  'after it noted what is in hand': { failpoint: { statement: 'set in_flight', when: 'after', hit: 2 } },
  'between two waves': { killAfter: 1 },
  'after it published, before the mark': { failpoint: { statement: markKept, when: 'before' } },
  'while the mark is on its way': { failpoint: { statement: markKept, when: 'sent', hit: 2 } },
  'after the mark': { failpoint: { statement: markKept, when: 'after', hit: 2 } },
  'while the mark that deletes is on its way': {
    failpoint: { statement: markDeleted, when: 'sent', hit: 2 },
    retention: 'delete',
  },
  'after the mark that deletes': { failpoint: { statement: markDeleted, when: 'after', hit: 2 }, retention: 'delete' },
  'after its sign of life': {
    failpoint: { statement: 'update outbox_relays set expires_at', when: 'after', hit: 2 },
    slowMs: 20,
  },
  'after it renewed its leases': {
    failpoint: { statement: 'update outbox_leases set leased_until = .* where owner', when: 'after', hit: 2 },
    slowMs: 20,
  },
}

export type Settling = Readonly<Record<string, { failpoint: Failpoint; as: 'retryable' | 'permanent' }>>

/** Every step of writing down a failure until it stands. */
export const settling: Settling = {
  'before it counted an attempt': {
    failpoint: { statement: 'set attempts = s\\.attempts', when: 'before' },
    as: 'retryable',
  },
  'between the attempt and its history': {
    failpoint: { statement: 'insert into outbox_failures .*select', when: 'before' },
    as: 'retryable',
  },
  'after the history, before the commit': {
    failpoint: { statement: 'insert into outbox_failures .*select', when: 'after' },
    as: 'retryable',
  },
  'before the letter': {
    failpoint: { statement: 'insert into outbox_dead_letters', when: 'before' },
    as: 'permanent',
  },
}

/** PostgreSQL moves an event to the dead letters in one statement. */
export const settlingOnSqlite: Settling = {
  'between the letter and the removal of its event': {
    failpoint: { statement: 'insert into outbox_dead_letters', when: 'after' },
    as: 'permanent',
  },
  'between the removal of its event and that of its history': {
    failpoint: { statement: 'delete from domain_events where id in \\(select s\\.', when: 'after' },
    as: 'permanent',
  },
  'after the removal, before the commit': {
    failpoint: { statement: 'delete from outbox_failures where event_id in \\(select s\\.', when: 'after' },
    as: 'permanent',
  },
}

/** Every step of pruning. */
export const pruning: Readonly<Record<string, Failpoint>> = {
  'after it pruned events': {
    statement: `delete from domain_events.*select id from domain_events where status = 'published'`,
    when: 'after',
  },
  'after it pruned their failures': { statement: 'delete from outbox_failures.*select distinct', when: 'after' },
}

/** Every step of looking after keys that wait. */
export const waiting = {
  'after it read a head whose time has come': {
    statement: `from domain_events as e( indexed by \\S+)? where e\\.status = 'pending' and e\\.id`,
    when: 'after',
  },
  'after it looked for what comes before the heads that it knows': { statement: 'sequence < b\\.last', when: 'after' },
} as const satisfies Readonly<Record<string, Failpoint>>

/** Every step of giving buckets back: some to another relay, and all at the end. */
export const givingBack = {
  'before it hands buckets over': { statement: 'set owner = null.* where owner = \\S+\\s+and', when: 'before' },
  'after it handed buckets over': { statement: 'set owner = null.* where owner = \\S+\\s+and', when: 'after' },
  'between its buckets and its progress': { statement: 'delete from outbox_progress where relay = \\S+$', when: 'before' },
  'between its progress and its registration': { statement: 'delete from outbox_relays where id', when: 'before' },
  'after its registration is removed': { statement: 'delete from outbox_relays where id', when: 'after' },
} as const satisfies Readonly<Record<string, Failpoint>>

/** Every step of taking a relay for dead. */
export const taking: Readonly<Record<string, Failpoint>> = {
  'before it removes the registration': { statement: 'delete from outbox_relays where expires_at', when: 'before' },
  'after the registration is removed': { statement: 'delete from outbox_relays where expires_at', when: 'after' },
  'after its progress is removed': { statement: 'delete from outbox_progress where relay = \\S+ returning', when: 'after' },
  'after the crash is counted': { statement: 'set last_error = .*attempts = attempts \\+', when: 'after' },
  'after the crash stands in the history': { statement: 'insert into outbox_failures .*values', when: 'after' },
  'after the buckets are free, before the commit': { statement: 'set owner = null.* where owner = \\S+$', when: 'after' },
  'while the commit is on its way': { statement: commit, when: 'sent' },
  'after the commit': { statement: commit, when: 'after' },
}

/** A step at which a transaction may be cut off. */
export interface Step {
  readonly failpoint: Failpoint
  /** Whether the transaction has committed there; `undefined`: nobody can know. */
  readonly committed?: boolean | undefined
}

/** Every step of a redrive; a discard has those without an insert. */
export const moving: Readonly<Record<string, Step>> = {
  'before the letters are chosen': {
    failpoint: { statement: 'update outbox_dead_letters set blocks_key', when: 'after' },
    committed: false,
  },
  'after the letters are chosen': {
    failpoint: { statement: 'select id from outbox_dead_letters', when: 'after' },
    committed: false,
  },
  'between the event and the removal of its letter': {
    failpoint: { statement: 'insert into domain_events', when: 'after' },
    committed: false,
  },
  'after the removal': { failpoint: { statement: 'delete from outbox_dead_letters', when: 'after' }, committed: false },
  'before the relays are told': { failpoint: { statement: 'set redrives = redrives', when: 'before' }, committed: false },
  'after the relays are told, before the commit': {
    failpoint: { statement: 'set redrives = redrives', when: 'after' },
    committed: false,
  },
  'while the commit is on its way': { failpoint: { statement: commit, when: 'sent' } },
  'after the commit': { failpoint: { statement: commit, when: 'after' }, committed: true },
}

/** The statements at which a relay, or who redrives, is killed by some test on a dialect. */
export function failpointsOn(dialect: 'postgresql' | 'sqlite'): Failpoint[] {
  const settled = Object.values({ ...settling, ...(dialect === 'sqlite' ? settlingOnSqlite : {}) })
  return [
    ...Object.values(batchSteps).flatMap(({ failpoint }) => failpoint ?? []),
    ...[...settled, ...Object.values(moving)].map(({ failpoint }) => failpoint),
    ...[pruning, waiting, givingBack, taking].flatMap((failpoints) => Object.values<Failpoint>(failpoints)),
  ]
}
