import { helper, Utils } from '@mikro-orm/core'
import { NotCacheable } from '../cache/codec.ts'
import type { CachedRows } from './cached-rows.ts'

/** What is kept of a query's result: the ids of entities, whose rows are kept once under their ids, or a plain value. */
export type KeptResult =
  | { readonly entity: string; readonly ids: readonly unknown[]; readonly many: boolean }
  | { readonly value: unknown }
  | null

/** Finds the cache of an entity's rows by the entity's name; throws `CACHE_POLICY_MISSING` if there is none. */
export type RowsByName = (entity: string) => CachedRows

/** Turns a query's result into what is kept of it. */
export function toKept(result: unknown, rows: RowsByName): KeptResult {
  if (result === null || result === undefined) return null
  const items: readonly unknown[] = Array.isArray(result) ? result : [result]
  if (!items.some(isEntity)) return { value: result }
  const names = new Set(items.map((item) => (isEntity(item) ? helper(item).__meta.root.className : undefined)))
  const [entity] = names
  if (names.size > 1 || entity === undefined) throw new NotCacheable('A result of entities of several classes cannot be cached')
  rows(entity)
  const ids = items.map((item) => helper(item as object).getPrimaryKey())
  return { entity, ids, many: Array.isArray(result) }
}

function isEntity(value: unknown): value is object {
  return Utils.isEntity(value)
}
