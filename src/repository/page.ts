import type { EntityManager, EntityName, FilterQuery, FindByCursorOptions, Loaded, QueryOrderMap } from '@mikro-orm/core'
import { dialectOf } from '../database/sql.ts'
import { DataAccessError } from '../errors.ts'
import { anything, checkOptions, type KnownOptions, wholeFrom } from '../kernel/options.ts'
import { openCursor, type PagePosition, sealCursor } from './page-cursor.ts'
import { pageOrder } from './page-order.ts'
import { optionsOf, type PageQuery } from './page-query.ts'

/** The most entities on a page: more belong in a stream. */
const largestPage = 1000

/** What to read a page of. */
export interface PageOptions<Entity extends object, Hint extends string = never> {
  /** How many entities at most, from 1 to 1000. Default 50. */
  readonly first?: number | undefined
  /** The `nextCursor` of the page before. Default: from the start. */
  readonly after?: string | null | undefined
  /**
   * Default: by primary key, which is added at the end where it is missing, so that the order is total. It may go through relations
   * to one and embedded properties, and have fragments of `raw()`.
   */
  readonly orderBy?: QueryOrderMap<Entity> | readonly QueryOrderMap<Entity>[] | undefined
  /** MikroORM's condition, which is to be the same for all pages of a list. Default: all entities. */
  readonly where?: FilterQuery<Entity> | undefined
  /** Relations to load with the entities. Default: the eager ones alone. */
  readonly populate?: FindByCursorOptions<Entity, Hint>['populate'] | undefined
}

const pageOptions: KnownOptions<PageOptions<object>> = {
  first: wholeFrom(1, largestPage),
  // What is no cursor has an error of its own; the rest is MikroORM's.
  ...{ after: anything, orderBy: anything, where: anything, populate: anything },
}
const elsewhere = { limit: 'first', offset: 'after, a cursor', before: 'orderBy, turned round' }

/** One page of entities. */
export interface Page<Item> {
  /** At most `first` entities, in the order of the page; empty where none are left. */
  readonly items: readonly Item[]
  /** Opaque, and safe in a URL: pass it as `after` to get the next page. Null when this page is the last one. */
  readonly nextCursor: string | null
}

/** Reads one page by key. */
export async function findPage<Entity extends object, Hint extends string = never>(
  em: EntityManager,
  entityName: EntityName<Entity>,
  options: PageOptions<Entity, Hint>,
): Promise<Page<Loaded<Entity, Hint>>> {
  checkOptions<object>({ door: 'page', elsewhere }, options, pageOptions)
  const { first = 50, after, orderBy, where, populate } = options
  const meta = em.getMetadata().get(entityName)
  const order = pageOrder(meta, orderBy, dialectOf(em))
  // What a cursor is bound to: the same one under another order would silently skip entities.
  const purpose = JSON.stringify([meta.className, order.map(({ name }) => name)])
  const start = after === undefined || after === null ? undefined : openCursor(after, purpose)
  const query: PageQuery = { order, after: start }
  const found = await em.find<Entity, Hint>(
    entityName,
    (where ?? {}) as never,
    {
      // One more than asked for tells whether there is another page.
      limit: first + 1,
      orderBy: order.map((part) => part.orderBy),
      // Kept entities have no position.
      cache: false,
      ...(populate === undefined ? {} : { populate }),
      ...optionsOf(em, query),
    } as never,
  )
  if (found.length <= first) return { items: found, nextCursor: null }
  const nextCursor = sealCursor(lastPosition(query, first), purpose)
  if (nextCursor !== after) return { items: found.slice(0, first), nextCursor }
  const names = order.map(({ name }) => name).join(', ')
  throw new DataAccessError(
    'OPTION_INVALID',
    `page: the order of ${meta.className} by ${names} does not get beyond its last row; order by what compares as its text reads`,
  )
}

/** Where the last row of the page stands. A row comes several times where a condition matched it several times. */
function lastPosition({ positions = [] }: PageQuery, first: number): PagePosition {
  const apart = new Map(positions.map((position) => [JSON.stringify(position), position]))
  return [...apart.values()][first - 1] as PagePosition
}
