import type { EntityManager, EntityName, FilterQuery, FindByCursorOptions, Loaded, QueryOrderMap } from '@mikro-orm/core'
import { anything, checkOptions, type KnownOptions, wholeFrom } from '../kernel/options.ts'
import { openCursor, sealCursor } from './page-cursor.ts'
import { pageOrder } from './page-order.ts'

/** The most entities on a page: more belong in a stream. */
const largestPage = 1000

/** What to read a page of. */
export interface PageOptions<Entity extends object, Hint extends string = never> {
  /** How many entities at most, from 1 to 1000. Default 50. */
  readonly first?: number | undefined
  /** The `nextCursor` of the page before. Default: from the start. */
  readonly after?: string | null | undefined
  /**
   * Default: by primary key. A relation to one that it goes through is loaded with the entities. The primary key is added at the end where it is missing, so that the order is
   * total.
   */
  readonly orderBy?: QueryOrderMap<Entity> | readonly QueryOrderMap<Entity>[] | undefined
  readonly where?: FilterQuery<Entity> | undefined
  /** Relations to load with the entities. */
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
  const { order, relations } = pageOrder(meta, orderBy)
  // What a cursor is bound to: the same one under another order would silently skip entities.
  const purpose = JSON.stringify([meta.className, order])
  // What is ordered by is read from the entities to make the cursor.
  const given = (populate || []) as readonly string[]
  const loaded = relations.length === 0 ? populate : [...new Set([...given, ...relations])]
  const cursor = await em.findByCursor<Entity, Hint, never, never, false, never>(entityName, {
    first,
    orderBy: order,
    includeCount: false,
    ...(after === undefined || after === null ? {} : { after: openCursor(after, purpose) }),
    ...(where === undefined ? {} : { where }),
    ...(loaded === undefined ? {} : { populate: loaded }),
  } as never)
  const { items, endCursor, hasNextPage } = cursor
  return { items, nextCursor: hasNextPage && endCursor !== null ? sealCursor(endCursor, purpose) : null }
}
