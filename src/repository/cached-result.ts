import { helper, Utils } from '@mikro-orm/core'
import { canonical, define, NotCacheable } from '../cache/codec.ts'
import { isPlain } from '../kernel/is-plain.ts'
import type { CachedRows, Row } from './cached-rows.ts'

type Path = readonly (string | number)[]

/** Entities that stood at one place of a result: one, or a list of one class. */
interface KeptEntities {
  readonly path: Path
  readonly entity: string
  readonly ids: readonly unknown[]
  readonly many: boolean
}

/** What is kept of a query's result: its plain data, and the ids of the entities in it, whose rows are kept once under their ids. */
export type KeptResult = { readonly value: unknown; readonly entities: readonly KeptEntities[] } | null

/** Entities where they stand in a result. */
interface FoundEntities {
  readonly path: Path
  readonly items: readonly [object, ...object[]]
  readonly many: boolean
}

/** Finds the cache of an entity's rows by the entity's name; throws `CACHE_POLICY_MISSING` if there is none. */
export type RowsByName = (entity: string) => CachedRows

/** A row was deleted after the look at the query: the answer as of then may have been another row, not none. */
export const overtaken = Symbol('overtaken')

/**
 * Turns a query's result into what is kept of it.
 *
 * @param filtered whether the query sees what filters leave of its rows.
 * @throws NotCacheable for what is neither an entity nor plain data, and for entities that filters change or that another schema has.
 */
export function toKept(result: unknown, rows: RowsByName, filtered: boolean): KeptResult {
  if (result === null) return null
  const found: FoundEntities[] = []
  const value = withoutEntities(result, [], [], found)
  const entities = found.map(({ path, items, many }): KeptEntities => {
    const entity = classOf(items[0])
    refuseOthers(entity, rows(entity), items, filtered)
    return { path, entity, ids: items.map((item) => helper(item).getPrimaryKey()), many }
  })
  return { value: canonical(value), entities: canonical(entities) as typeof entities }
}

/** @throws NotCacheable for entities that are not what is kept of their rows. */
function refuseOthers(entity: string, rows: CachedRows, items: readonly object[], filtered: boolean): void {
  if (filtered && rows.hidesTargets()) {
    throw new NotCacheable(`${entity}, of whose relations a filter hides some, cannot be cached without \`filters: false\``)
  }
  const schema = items.map((item) => rows.otherSchemaOf(item)).find((each) => each !== undefined)
  if (schema === undefined) return
  throw new NotCacheable(`${entity} of the schema ${schema}, whose rows are kept of its own schema alone, cannot be cached`)
}

/** How {@link fromKept} gets at the rows. */
export interface KeptReading {
  readonly rows: RowsByName
  readonly hydrate: (rows: CachedRows, row: Row) => object
  /** Reads them from the database now. */
  readonly fresh: boolean
  /** Gives {@link overtaken} where a row is gone; else that is left out of its list, or is null. */
  readonly whole: boolean
}

/**
 * Makes a result of what was kept, with its rows as they are now.
 *
 * @param value a copy of the kept one, which becomes the caller's.
 */
export async function fromKept(
  value: unknown,
  entities: readonly KeptEntities[],
  { rows, hydrate, fresh, whole }: KeptReading,
): Promise<unknown> {
  let result = value
  let missing = false
  const read = [...Map.groupBy(entities, ({ entity }) => entity)].map(async ([entity, places]) => {
    const cached = rows(entity)
    const found = (
      await cached.byIds(
        places.flatMap(({ ids }) => ids),
        fresh,
      )
    ).values()
    for (const { path, ids, many } of places) {
      const here = ids.map(() => found.next().value)
      missing ||= here.includes(undefined)
      const made = here.flatMap((row) => (row === undefined ? [] : [hydrate(cached, row)]))
      if (path.length === 0) result = many ? made : (made[0] ?? null)
      else put(result, path, many ? made : (made[0] ?? null))
    }
  })
  await Promise.all(read)
  return missing && whole ? overtaken : result
}

function withoutEntities(value: unknown, above: readonly object[], path: Path, found: FoundEntities[]): unknown {
  if (typeof value !== 'object' || value === null || above.includes(value)) return value
  const items: readonly unknown[] = Array.isArray(value) ? value : [value]
  const [first] = items
  if (isEntity(first) && items.every((item) => isEntity(item) && classOf(item) === classOf(first))) {
    found.push({ path, items: items as FoundEntities['items'], many: Array.isArray(value) })
    return null
  }
  const inside = [...above, value]
  if (Array.isArray(value)) return value.map((item, index) => withoutEntities(item, inside, [...path, index], found))
  if (!isPlain(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, withoutEntities(item, inside, [...path, key], found)]),
  )
}

function put(value: unknown, path: Path, made: unknown): void {
  let holder = value as Record<string | number, unknown>
  for (const step of path.slice(0, -1)) holder = holder[step] as typeof holder
  define(holder, path.at(-1) as string | number, made)
}

function isEntity(value: unknown): value is object {
  return Utils.isEntity(value)
}

function classOf(entity: object): string {
  return helper(entity).__meta.root.className
}
