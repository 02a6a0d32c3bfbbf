import type { ChangeSet, EntityManager, EntityMetadata, Transaction } from '@mikro-orm/core'
import { spellingOf } from '../database/spelling.ts'
import { type Dialect, dialectOf } from '../database/sql.ts'
import { isDelete, propertyOfRow, type Values } from './row-values.ts'

/** Of more rows than this that one step of a flush writes none is asked for: all entries of the entity expire. */
const mostRows = 500

type Change = ChangeSet<object>

/** What rows had before a flush: null if there was none; `undefined` if it was not asked for. */
type OldValues = WeakMap<object, Values | null | undefined>

/** The parts of MikroORM's SQL driver that a read of our own needs. */
interface SqlDriver {
  getTableName(meta: EntityMetadata, options: object, quote: boolean): string
  execute(sql: string, params: readonly unknown[], method: 'all', transaction: Transaction): Promise<Values[]>
}

/** A row that is to be changed, by its id as the database is asked for it. */
interface Asked {
  readonly change: Change
  readonly id: readonly unknown[]
}

/**
 * Reads what rows really have, right before a flush changes them: an entity manager knows only what they had when it read them, and
 * another commit may have changed them since. On PostgreSQL the rows are locked as their change would lock them, so that none comes in between.
 */
export class TrueValues {
  readonly #before = new WeakMap<EntityManager, OldValues>()

  /** A flush begins: what rows had before an earlier one counts no more, also of those that join it later. A new row had nothing. */
  begin(em: EntityManager, changes: readonly Change[]): void {
    const before: OldValues = new WeakMap()
    for (const { type, entity } of changes) if (type === 'create') before.set(entity, undefined)
    this.#before.set(em, before)
  }

  /** What the row had before the flush of this entity manager; null if there was none; `undefined` if it was not asked for. */
  of(em: EntityManager, { entity }: Change): Values | null | undefined {
    return this.#before.get(em)?.get(entity)
  }

  /** One statement for each entity among the rows that the flush writes next. A row that it has written already is its own by now. */
  async read(
    em: EntityManager,
    changes: readonly Change[],
    namesOf: (root: EntityMetadata) => readonly string[],
    transaction: Transaction | undefined,
  ): Promise<void> {
    const before = this.#before.get(em) ?? new WeakMap()
    this.#before.set(em, before)
    const first = changes.filter(({ entity }) => !before.has(entity))
    for (const { entity } of first) before.set(entity, undefined)
    // Without a transaction nothing holds a row as it was read.
    if (transaction === undefined) return
    for (const [root, group] of Map.groupBy(first, ({ meta }) => meta.root))
      for (const [entity, values] of await this.#readGroup(em, group, namesOf(root), transaction)) before.set(entity, values)
  }

  async #readGroup(
    em: EntityManager,
    group: readonly Change[],
    names: readonly string[],
    transaction: Transaction,
  ): Promise<(readonly [entity: object, values: Values | null])[]> {
    const [{ meta, schema }] = group as [Change]
    const { root } = meta
    const columns = columnsOf(root, names)
    // One row in several tables cannot be locked by one statement.
    if (columns === undefined || root.inheritanceType === 'tpt' || group.length > mostRows) return []
    const asked = group.flatMap((change) => askedFor(change, em))
    if (asked.length === 0) return []
    const dialect = dialectOf(em)
    const quote = (name: string) => em.getPlatform().quoteIdentifier(name)
    const keys = root.getPrimaryProps().map(({ fieldNames }) => fieldNames[0] as string)
    const driver = em.getDriver() as unknown as SqlDriver
    const table = driver.getTableName(root, { schema: schema ?? em.schema }, true)
    // Through the driver, as the write that follows, so that it fails by the same errors.
    const run = (sql: string, params: readonly unknown[] = []) => driver.execute(sql, params, 'all', transaction)
    // A transaction that has read may not write on SQLite once another process has: begin with a write, of nothing.
    if (dialect === 'sqlite') await run(`update ${table} set ${quote(keys[0] as string)} = null where 0`)
    const ids = asked.map(({ id }) => id)
    const selected = [...keys, ...columns.map(({ column }) => column)].map(quote).join()
    // A lock that is made stronger later waits for who holds a weaker one and waits for it; what MikroORM puts off are unique values.
    const putOff = new Set([...em.getUnitOfWork(false).getExtraUpdates()].map(([entity]) => entity))
    const changing = group.some((change) => putOff.has(change.entity) || changesKeys(change))
    const lock = dialect === 'postgresql' ? ` for ${changing ? '' : 'no key '}update` : ''
    const found = await run(
      `select ${selected} from ${table} where ${conditionOf(keys.map(quote), ids)} order by ${keys.map(quote).join()}${lock}`,
      ids.flat(),
    )
    const idText = (id: readonly unknown[]) => spelledId(root, dialect, id)
    const byId = new Map(found.map((row) => [idText(keys.map((key) => row[key])), row]))
    return asked.map(({ change, id }) => {
      const row = byId.get(idText(id))
      return [
        change.entity,
        row === undefined ? null : Object.fromEntries(columns.map(({ name, column }) => [name, row[column]])),
      ]
    })
  }
}

/** True for what others refer to, or may: its row is locked against them too. */
function changesKeys(change: Change): boolean {
  const { meta, payload } = change
  const isKey = (name: string) =>
    meta.root.primaryKeys.includes(name as never) ||
    Boolean(propertyOfRow(meta, name)?.unique) ||
    meta.root.uniques.some(({ properties }) => [properties].flat().includes(name as never))
  return isDelete(change) || Object.keys(payload).some(isKey)
}

/** The columns of the properties, as far as they have one each; `undefined` if they have none. */
function columnsOf(
  root: EntityMetadata,
  names: readonly string[],
): readonly { readonly name: string; readonly column: string }[] | undefined {
  const found = names.flatMap((name) => {
    const { fieldNames, formula, persist } = propertyOfRow(root, name) ?? {}
    const column = fieldNames?.length === 1 && formula === undefined && persist !== false ? fieldNames[0] : undefined
    return column === undefined ? [] : [{ name, column }]
  })
  return found.length === 0 ? undefined : found
}

/** Nothing for a key that cannot be compared in plain SQL. */
function askedFor(change: Change, em: EntityManager): readonly Asked[] {
  const [original, current] = [
    change.originalEntity as Values | undefined,
    em.getComparator().prepareEntity(change.entity) as Values,
  ]
  const properties = change.meta.root.getPrimaryProps()
  const id = properties.map(({ name }) => original?.[name] ?? current[name])
  const single = properties.every(({ fieldNames }) => fieldNames.length === 1)
  return single && spelledId(change.meta.root, dialectOf(em), id) !== undefined ? [{ change, id }] : []
}

function conditionOf(keys: readonly string[], ids: readonly (readonly unknown[])[]): string {
  if (keys.length === 1) return `${keys[0]} in (${ids.map(() => '?').join()})`
  return ids.map(() => `(${keys.map((key) => `${key} = ?`).join(' and ')})`).join(' or ')
}

function spelledId(root: EntityMetadata, dialect: Dialect, id: readonly unknown[]): string | undefined {
  const texts = root.getPrimaryProps().map((property, index) => spellingOf(property, id[index], dialect))
  return texts.includes(undefined) ? undefined : JSON.stringify(texts)
}
