import type { MetadataStorage } from '@mikro-orm/core'
import { callerLine, captureStack } from './caller.ts'
import { entityOf, type KeyLookup, type KeyMeaning, keyLookups, meaningOf } from './key-lookup.ts'
import type { ExecutedQuery, QueryObserver, QueryOrigin } from './query-watch.ts'

/** Queries that were run one for each entity, where one for all would have done. */
export interface NPlusOneSuspect {
  /** The relation that was loaded, such as `User.scores`; undefined where entities were read by key one by one. */
  readonly relation: string | undefined
  /** The entity that was read. */
  readonly entity: string
  /** The application's line, as `path:line:column`; undefined where the stack does not show one. */
  readonly caller: string | undefined
  /** How many queries ran. */
  readonly queries: number
  /** The text that they share, with `?` for each parameter. */
  readonly sql: string
  /** What to write instead. */
  readonly cure: string
}

/** Stacks kept for each shape: taking one costs microseconds, and a loop repeats its line. */
const stacksPerShape = 20

/** What the text of a query tells, for the queries of one database. */
interface Reading {
  /** The entity, or table, that it reads from. */
  readonly reads: string | undefined
  readonly lookup: KeyLookup | undefined
  readonly meaning: KeyMeaning | undefined
}

/** Readings by text: an application has few shapes, and the bound only keeps texts that it makes up from piling up. */
const readings = new WeakMap<MetadataStorage, Map<string, Reading>>()
const readingLimit = 1000

/** Queries of one shape in one entity manager. */
interface Group {
  readonly sql: string
  readonly entity: string
  readonly lookup: KeyLookup
  readonly meaning: KeyMeaning
  /** Each entity that the entity manager had read from before. */
  readonly readBefore: ReadonlySet<string>
  /** The first has no stack: most queries run once, and need not pay for one. */
  readonly sightings: { readonly key: unknown; readonly stack: Error | undefined }[]
  total: number
}

/**
 * Watches for N+1: one entity manager that runs one shape from one line for several different keys. So the same find in
 * different requests is none, nor are lookups on different lines, a query repeated for one key, writes, or loading in chunks.
 */
export class NPlusOneGuard implements QueryObserver {
  readonly #threshold: number
  /** Per entity manager its shapes by text. */
  readonly #groups = new Map<unknown, Map<string, Group | undefined>>()
  readonly #readBy = new Map<unknown, Set<string>>()

  constructor(threshold: number) {
    this.#threshold = threshold
  }

  executed({ sql, params }: ExecutedQuery, { em, metadata }: QueryOrigin): void {
    if (em === undefined) return
    const group = this.#groupOf(em, sql, metadata)
    if (group === undefined) return
    group.total++
    if (group.sightings.length >= Math.max(stacksPerShape, this.#threshold)) return
    const stack = group.total === 1 ? undefined : captureStack()
    group.sightings.push({ key: params[group.lookup.position], stack })
  }

  suspects(): NPlusOneSuspect[] {
    return [...this.#groups.values()]
      .flatMap((groups) => [...groups.values()])
      .flatMap((group) => (group === undefined ? [] : this.#suspectsOf(group)))
  }

  #groupOf(em: unknown, sql: string, metadata: () => MetadataStorage): Group | undefined {
    const groups = this.#groups.get(em) ?? new Map<string, Group | undefined>()
    if (groups.has(sql)) return groups.get(sql)
    const { reads, lookup, meaning } = read(sql, metadata())
    const readBefore = this.#readBy.get(em) ?? new Set()
    const group =
      lookup === undefined || meaning === undefined
        ? undefined
        : { sql, entity: entityOf(lookup.table, metadata()), lookup, meaning, readBefore, sightings: [], total: 0 }
    this.#groups.set(em, groups.set(sql, group))
    if (reads !== undefined) this.#readBy.set(em, new Set(readBefore).add(reads))
    return group
  }

  #suspectsOf(group: Group): NPlusOneSuspect[] {
    if (group.total < this.#threshold || new Set(group.sightings.map(({ key }) => key)).size < this.#threshold) return []
    const [first, ...repeated] = group.sightings
    const keysByCaller = new Map<string | undefined, Set<unknown>>()
    for (const { key, stack } of repeated) {
      const caller = stack === undefined ? undefined : callerLine(stack)
      // The first one is counted with each line: it stood on one of them.
      keysByCaller.set(caller, (keysByCaller.get(caller) ?? new Set([first?.key])).add(key))
    }
    const only = keysByCaller.size === 1
    return [...keysByCaller]
      .filter(([, keys]) => keys.size >= this.#threshold)
      .map(([caller, keys]) => toSuspect(group, caller, only ? group.total : keys.size))
  }
}

function read(sql: string, metadata: MetadataStorage): Reading {
  const known = readings.get(metadata) ?? new Map<string, Reading>()
  const found = known.get(sql)
  if (found !== undefined) return found
  const table = /^select [\s\S]*? from ["`](\w+)["`]/i.exec(sql)?.[1]
  const [lookup] = keyLookups(sql).filter((each) => meaningOf(each, metadata) !== undefined)
  const reading = {
    reads: table === undefined ? undefined : entityOf(table, metadata),
    lookup,
    meaning: lookup === undefined ? undefined : meaningOf(lookup, metadata),
  }
  if (known.size >= readingLimit) known.clear()
  readings.set(metadata, known.set(sql, reading))
  return reading
}

/** Says a suspect in one sentence: what, where, and what to do. */
export function describeSuspect({ relation, entity, caller, queries, cure }: NPlusOneSuspect): string {
  const what = relation === undefined ? `${entity} was read by key` : `${relation} was loaded`
  return `N+1: ${what} in ${queries} queries, one for each${caller === undefined ? '' : `, at ${caller}`}. ${cure}`
}

function toSuspect(group: Group, caller: string | undefined, queries: number): NPlusOneSuspect {
  const { sql, entity, meaning, readBefore } = group
  const { told, relations } = meaning
  // Of the relations that a primary key may serve, those of entities that were read before are the ones that loop.
  const likely = told === 'column' ? relations : relations.filter((each) => readBefore.has(each.entity))
  const relation = likely.length === 1 ? likely[0] : undefined
  const cure =
    relation === undefined
      ? 'Read them together: getMany(ids), or one find() with $in'
      : `Load it with its owners: populate: ['${relation.property}'] in the query that reads ${relation.entity}, or one find() with $in`
  return { relation: relation?.name, entity, caller, queries, sql, cure }
}
