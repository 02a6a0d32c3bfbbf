import { defineEntity, p } from '@mikro-orm/core'
import { z } from 'zod'
import type { DataModule } from '../../src/module.ts'
import { defineEvent } from '../../src/outbox/event/define-event.ts'
import { placeKey } from '../../src/outbox/event/ordering-key.ts'

/** Counts what happened to it; nobody locks it, so whoever read it before another one's commit meets a version conflict. */
const CounterSchema = defineEntity({
  name: 'Counter',
  tableName: 'counters',
  properties: { id: p.string().length(36).primary(), count: p.integer(), version: p.integer().version() },
})
export class Counter extends CounterSchema.class {}
CounterSchema.setClass(Counter)

export const createCounters =
  'create table counters (id varchar(36) primary key, count int not null default 0, version int not null default 1)'

/**
 * Lets PostgreSQL take its time for each insert of events, until two others wait for keys, and for 100 ms at most: between the numbers of
 * a unit and its commit others come up, however fast the machine is.
 */
export const slowInserts = [
  `create function take_time() returns trigger language plpgsql as $$ begin
    for n in 1..20 loop
      exit when (select count(*) from pg_locks where locktype = 'advisory' and not granted) >= 2;
      perform pg_sleep(0.005);
    end loop;
    return null;
  end $$`,
  'create trigger take_time after insert on domain_events for each statement execute function take_time()',
]

/** The payload is the count before; of what only records, or has no row, it is `null`. */
export const Counted = defineEvent({ type: 'Counted', aggregate: 'Counter', payload: z.number().nullable() })

/** The payload in a savepoint that is rolled back. */
export const lost = -1

export const counters: DataModule = { name: 'counters', entities: [Counter], events: [Counted] }

/** The names of counters and of keys without a row, of which some share a lock. */
export interface CrossedKeys {
  /** Versioned rows; each of the first two shares its slot with a key without a row. */
  readonly rows: readonly string[]
  readonly rowless: readonly string[]
}

/**
 * Finds five keys, of which four have two slots between them. Their order by name is not that of their slots (the first and the third
 * have the same one, as the second and the last): whoever locked by name, or as they came, would sooner or later wait for one who
 * waits for him.
 */
export function crossedKeys(): CrossedKeys {
  const bySlot = new Map<number, string[]>()
  for (let n = 10_000; n < 40_000; n++) {
    const id = `c${n}`
    const { slot } = placeKey(`Counter:${id}`)
    bySlot.set(slot, [...(bySlot.get(slot) ?? []), id])
  }
  const near = bySlot.get(1) as string[]
  const far = bySlot.get(1000) as string[]
  const first = near[0] as string
  const second = far.find((id) => id > first) as string
  const third = near.find((id) => id > second) as string
  const last = far.findLast((id) => id > third) as string
  return { rows: [third, last, 'c1'], rowless: [first, second] }
}
