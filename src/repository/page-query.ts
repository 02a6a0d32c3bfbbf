import { type EntityManager, raw } from '@mikro-orm/core'
import { type Dialect, dialectOf } from '../database/sql.ts'
import type { PagePosition } from './page-cursor.ts'
import type { PageOrderPart } from './page-order.ts'
import { exactText, type SortKey, seek } from './page-seek.ts'

/**
 * What a query for a page is to do besides: keep this order, begin after this position, and tell where its rows stand.
 *
 * The positions are read in the same statement, by the expressions that it orders by, and compared with by the next one: an entity has
 * them in the types of JavaScript, or as somebody changed it, or not at all.
 */
export interface PageQuery {
  readonly order: readonly PageOrderPart[]
  readonly after: PagePosition | undefined
  /** Of each row, in order, when the query has run. */
  positions?: readonly PagePosition[]
}

/** Stands in the options of `em.find()`, which hands them to its driver; there only in those of the query itself. */
const wanted = Symbol('data-access page')
const building = Symbol('data-access page query')
const columnPrefix = 'data_access_page_'

type Row = Record<string, unknown>
type FindOptions = Readonly<Record<PropertyKey, unknown>>

/** MikroORM's query builder, so far as this needs it. */
interface Builder {
  readonly state: { orderBy: unknown[]; readonly fields: unknown[]; readonly populateMap: object }
  readonly type: unknown
  readonly helper: { getQueryOrder(type: unknown, orderBy: unknown, populate: object): string[] }
  ensureTPTJoins(): void
  orderBy(orderBy: readonly object[]): unknown
  andWhere(sql: string, params: readonly unknown[]): unknown
  finalize(): void
}

/** MikroORM's driver, so far as this needs it. */
interface Driver {
  find(entity: unknown, where: unknown, options?: FindOptions): Promise<Row[]>
  createQueryBuilderFromOptions(meta: unknown, where: unknown, options?: FindOptions): Promise<Builder>
}

const taught = new WeakSet<object>()

/** The options by which `em.find()` runs a query for a page. */
export function optionsOf(em: EntityManager, query: PageQuery): object {
  const driver = em.getDriver() as unknown as Driver
  if (!taught.has(driver)) {
    taught.add(driver)
    teach(driver, dialectOf(em))
  }
  return { [wanted]: query }
}

/** Lets a driver heed a {@link PageQuery}: MikroORM has no place for an expression beside the columns of an entity. */
function teach(driver: Driver, dialect: Dialect): void {
  const { find, createQueryBuilderFromOptions: create } = driver
  driver.find = (entity, where, options) => {
    const query = options?.[wanted] as PageQuery | undefined
    // The queries for what is loaded with the entities get the same options.
    if (query === undefined || query.positions !== undefined) return find.call(driver, entity, where, options)
    query.positions = []
    const rows = find.call(driver, entity, where, { ...options, [wanted]: undefined, [building]: query })
    return rows.then((found) => {
      query.positions = found.map(takePosition)
      return found
    })
  }
  driver.createQueryBuilderFromOptions = (meta, where, options) => {
    const query = options?.[building] as PageQuery | undefined
    const created = create.call(driver, meta, where, options)
    return query === undefined ? created : created.then((builder) => build(builder, query, dialect))
  }
}

function build(builder: Builder, { order, after }: PageQuery, dialect: Dialect): Builder {
  // MikroORM drops what names a property twice, and adds what the collections loaded with the entities are ordered by.
  const added = builder.state.orderBy
  builder.ensureTPTJoins()
  builder.orderBy(order.map(({ orderBy }) => orderBy))
  const keys = order.flatMap((part, index) => keysOf(builder, part, builder.state.orderBy[index]))
  builder.state.orderBy.push(...added)
  if (after !== undefined) {
    const { sql, params } = seek(keys, after, dialect)
    builder.andWhere(sql, params)
  }
  // A column that is not its own would keep joins in the query that only chose the rows.
  builder.finalize()
  builder.state.fields.push(...keys.map(({ sql }, index) => raw(`${exactText(sql, dialect)} as ${columnPrefix}${index}`)))
  return builder
}

/** A relation has a column for each part of the key that it holds. */
function keysOf({ helper, type, state }: Builder, part: PageOrderPart, orderBy: unknown): SortKey[] {
  const direction = / (asc|desc)( nulls (first|last))?$/
  return helper.getQueryOrder(type, [orderBy], state.populateMap).map((sql) => ({ ...part, sql: sql.replace(direction, '') }))
}

function takePosition(row: Row): PagePosition {
  const position: (string | null)[] = []
  for (let name = `${columnPrefix}0`; name in row; name = columnPrefix + position.length) {
    position.push((row[name] ?? null) as string | null)
    delete row[name]
  }
  return position
}
