import { type EntityManager, type EntityMetadata, Utils } from '@mikro-orm/core'
import { propertyOfRow } from './row-values.ts'

/** What a bulk write puts into rows, by names of properties or of columns, as its caller wrote them. */
export interface WrittenNames {
  readonly all: readonly string[]
  /** Those of rows that are there already and may change by it; none of a plain insert. */
  readonly changing: readonly string[]
}

/** Of the arguments of an entity manager's method. Before it runs: the driver takes names of relations to many out of what it is given. */
export function namesInCall(em: EntityManager, method: string, meta: EntityMetadata, args: readonly unknown[]): WrittenNames {
  const at = method === 'nativeUpdate' ? 2 : 1
  const first: unknown = Array.isArray(args[0]) ? args[0][0] : args[0]
  const all = namesOf(em, Utils.isEntity(first) ? args[0] : args[at])
  if (method === 'nativeUpdate') return { all, changing: all }
  if (!method.startsWith('upsert')) return { all, changing: [] }
  const { onConflictAction, onConflictFields, onConflictMergeFields, onConflictExcludeFields } = (args[2] ?? {}) as UpsertOptions
  if (onConflictAction === 'ignore') return { all, changing: [] }
  if (Array.isArray(onConflictMergeFields)) return { all, changing: onConflictMergeFields.map(String) }
  const found = Array.isArray(onConflictFields) ? onConflictFields : onConflictFields === undefined ? idIn(meta, all) : []
  return { all, changing: all.filter((name) => !found.includes(name) && !onConflictExcludeFields?.includes(name)) }
}

/** What decides what an upsert writes to a row that is there. Fields may be raw SQL. */
interface UpsertOptions {
  readonly onConflictAction?: unknown
  readonly onConflictFields?: unknown
  readonly onConflictMergeFields?: unknown
  readonly onConflictExcludeFields?: readonly unknown[]
}

/** What a query builder has been told to do where a row of an insert is there already. */
export interface BuiltConflict {
  /** Columns, or raw SQL. */
  readonly fields: unknown
  readonly ignore?: boolean
  /** What it then writes: of the insert's own values those of these names, or other ones; without it, all of them. */
  readonly merge?: unknown
}

/** A name that no property has. */
const unknown = '*'

/** Of what a query builder has been told. */
export function namesInBuilder(
  em: EntityManager,
  meta: EntityMetadata,
  type: unknown,
  data: unknown,
  conflicts: readonly BuiltConflict[] = [],
): WrittenNames {
  // What comes from another query, by `insertFrom()`, is not told here.
  const all = data === undefined && conflicts.length > 0 ? [unknown] : namesOf(em, data)
  if (type === 'UPDATE') return { all, changing: all }
  return { all, changing: conflicts.flatMap((conflict) => mergedNames(meta, conflict, all)) }
}

function mergedNames(meta: EntityMetadata, { fields, ignore, merge }: BuiltConflict, all: readonly string[]): readonly string[] {
  if (ignore) return []
  if (Array.isArray(merge)) return merge.map(String)
  if (typeof merge === 'object' && merge !== null) return Object.keys(merge)
  const found: readonly unknown[] = Array.isArray(fields) ? fields : []
  return all.filter((name) => !(propertyOfRow(meta, name)?.fieldNames ?? [name]).every((column) => found.includes(column)))
}

/** By its id an upsert finds a row, if it has one. */
function idIn({ primaryKeys }: EntityMetadata, names: readonly string[]): readonly string[] {
  return primaryKeys.every((name) => names.includes(name)) ? primaryKeys : []
}

/** @param rows one or several, as plain data or as entities. */
function namesOf(em: EntityManager, rows: unknown): readonly string[] {
  const names = new Set<string>()
  for (const row of Array.isArray(rows) ? rows : [rows]) {
    if (typeof row !== 'object' || row === null) continue
    for (const name of Object.keys(Utils.isEntity(row) ? em.getComparator().prepareEntity(row) : row)) names.add(name)
  }
  return [...names]
}
