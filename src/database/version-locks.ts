import { type ChangeSet, type EntityManager, type EntityMetadata, type Transaction, Utils } from '@mikro-orm/core'
import { dialectOf } from './sql.ts'

/** The part of MikroORM's unit of work that compares the versions of rows which it then writes by one statement. */
interface VersionCheck {
  checkOptimisticLocks(meta: EntityMetadata, changeSets: ChangeSet<object>[], options?: Context): Promise<void>
}
interface Context {
  readonly ctx?: Transaction
  readonly schema?: string
}

/** The parts of MikroORM's SQL driver that ask for keys. */
interface SqlDriver {
  createQueryBuilder(entity: unknown, transaction: Transaction, connection: 'write', convert: false): KeyQuery
  execute(sql: string, params: readonly unknown[], method: 'all', transaction: Transaction): Promise<unknown>
}
interface KeyQuery {
  withSchema(schema: string | undefined): KeyQuery
  select(fields: readonly string[]): KeyQuery
  where(condition: object): KeyQuery
  orderBy(order: object): KeyQuery
  toQuery(): { readonly sql: string; readonly params: readonly unknown[] }
}

const locking = new WeakSet<VersionCheck>()

/**
 * Locks versioned rows before MikroORM compares the versions of several at once. It compares by a read without a lock and then writes by
 * the ids alone: another commit in between would be overwritten. What it writes row by row it compares as it writes. SQLite has one writer.
 */
export function lockVersions(em: EntityManager): void {
  const persister = em.getUnitOfWork(false).getChangeSetPersister() as unknown as VersionCheck
  if (locking.has(persister) || dialectOf(em) !== 'postgresql') return
  locking.add(persister)
  const { checkOptimisticLocks } = persister
  persister.checkOptimisticLocks = async (meta, changeSets, options) => {
    const compared = meta.ownsVersionProperty() || meta.getOwnConcurrencyCheckKeys().length > 0
    if (compared && options?.ctx !== undefined) await lockRows(em, meta, changeSets, options.ctx, options.schema)
    return checkOptimisticLocks.call(persister, meta, changeSets, options)
  }
}

/** As the update locks them, so that rows which refer to them may still be inserted; all transactions in one order. */
async function lockRows(
  em: EntityManager,
  meta: EntityMetadata,
  changeSets: readonly ChangeSet<object>[],
  transaction: Transaction,
  schema: string | undefined,
): Promise<void> {
  // The version of an entity with a table for each class stands in the table of `meta`, that of others in the table of the root.
  const { class: target } = meta.inheritanceType === 'tpt' ? meta : meta.root
  const driver = em.getDriver() as unknown as SqlDriver
  const query = driver
    .createQueryBuilder(target, transaction, 'write', false)
    .withSchema(schema ?? meta.schema)
    .select(meta.primaryKeys)
    .where({ [Utils.getPrimaryKeyHash(meta.primaryKeys)]: { $in: changeSets.map((change) => change.getPrimaryKey()) } })
    .orderBy(Object.fromEntries(meta.primaryKeys.map((key) => [key, 'asc'])))
  const { sql, params } = query.toQuery()
  await driver.execute(`${sql} for no key update`, params, 'all', transaction)
}
