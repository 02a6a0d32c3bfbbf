import type { MikroORM } from '@mikro-orm/core'
import { OutboxStore } from '../outbox/store/outbox-store.ts'
import { sqlNow } from '../outbox/store/store-sql.ts'

/**
 * Makes every pending event due that waits for its `availableAt` or its next try, as if that time had come: for tests, since the clock is
 * the database's. Resolves to how many; the next `drain()` publishes them.
 *
 * @throws what the database throws.
 */
export async function makeDue({ orm }: { readonly orm: MikroORM }): Promise<number> {
  const store = new OutboxStore(orm)
  const now = sqlNow(store.dialect)
  const made = await store.run(
    `update domain_events set available_at = ${now} where status = 'pending' and available_at > ${now} returning id`,
  )
  return made.length
}
