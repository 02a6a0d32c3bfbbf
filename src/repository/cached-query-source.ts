import { createHash } from 'node:crypto'
import type { EntityManager, EntityMetadata, EntityProperty, MikroORM } from '@mikro-orm/core'
import { type CachedQuery, type Dependency, dependenciesOf } from '../cache/cached-query.ts'
import { classesOf } from '../cache/cascades.ts'
import { copy, decode, encode, NotCacheable } from '../cache/codec.ts'
import { checkDependency } from '../cache/dependency-check.ts'
import { FigureCounter } from '../cache/figures.ts'
import { datedVersion } from '../cache/freshness.ts'
import { databaseValue, queryKey, schemaVersion, shapeStamp, wholeEntityStamp } from '../cache/key.ts'
import type { Loaded, ReadRequest } from '../cache/load.ts'
import { jitteredTtl, keeping } from '../cache/policy.ts'
import type { ReadThrough } from '../cache/read-through.ts'
import { hasSpellings, spellingOf } from '../database/spelling.ts'
import { type Dialect, dialectOf } from '../database/sql.ts'
import { DataAccessError } from '../errors.ts'
import type { Clock } from '../kernel/clock.ts'
import { isPlain } from '../kernel/is-plain.ts'
import type { Logger } from '../kernel/logger.ts'
import type { CacheLife } from './cache-life.ts'
import { type CachedContext, type OtherRows, otherRowsOfQuery } from './cached-context.ts'
import { fromKept, type KeptResult, overtaken, type RowsByName, toKept } from './cached-result.ts'
import type { CachedRows, Row } from './cached-rows.ts'
import { propertyOf } from './entity-keys.ts'
import { pastResultCache } from './result-cache.ts'
import { UncacheableResults } from './uncacheable-results.ts'

/** How often a result that is overtaken is read anew, before what is left of it is given. */
const mostLooks = 3

/** What a {@link CachedQuerySource} works with. */
export interface CachedQueryParts<Params, Result> {
  readonly orm: MikroORM
  readonly query: CachedQuery<Params, Result>
  readonly reads: ReadThrough
  readonly rows: RowsByName
  readonly life: CacheLife
  readonly clock: Clock
  readonly logger: Logger
}

/** What all readers of one query share. */
export class CachedQuerySource<Params, Result> {
  readonly query: CachedQuery<Params, Result>
  readonly figures: FigureCounter
  readonly life: CacheLife
  readonly otherRows: OtherRows
  /** The properties by whose values the result depends on each entity. */
  readonly shapes: readonly { readonly root: EntityMetadata; readonly properties: readonly string[] }[]
  readonly #orm: MikroORM
  readonly #dialect: Dialect
  readonly #reads: ReadThrough
  readonly #rows: RowsByName
  readonly #version: string
  readonly #logger: Logger
  readonly #uncacheable: UncacheableResults
  #warned = false
  readonly #keeping: Pick<ReadRequest, 'keepMs' | 'staleMs' | 'probe'>

  constructor({ orm, query, reads, rows, life, clock, logger }: CachedQueryParts<Params, Result>) {
    this.query = query
    this.life = life
    this.figures = new FigureCounter(`cache of ${query.name}`, logger)
    this.#keeping = keeping(query.lifetime)
    this.#orm = orm
    this.#dialect = dialectOf(orm)
    this.#reads = reads
    this.#rows = rows
    this.#logger = logger
    this.#uncacheable = new UncacheableResults(clock)
    for (const { entity, properties } of query.shapes) {
      checkDependency(query.name, orm.getMetadata().get(entity), properties)
    }
    this.shapes = query.shapes.map(({ entity, properties }) => {
      const meta = orm.getMetadata().get(entity)
      return { root: meta.root, properties: properties.filter((name) => hasSpellings(knownProperty(meta, name), this.#dialect)) }
    })
    this.otherRows = otherRowsOfQuery(orm, query.filters, (filter) => {
      const cure = 'if it reads past such filters, say filters: false'
      logger.warn(
        `The cached query ${query.name} always reads past the cache: the ${filter} may answer each caller otherwise; ${cure}`,
      )
    })
    const schemas = query.shapes.map(({ entity }) => schemaVersion(classesOf(orm, orm.getMetadata().get(entity))))
    const hash = createHash('sha256').update([query.version, ...schemas].join())
    this.#version = datedVersion(hash.digest('hex').slice(0, 12), this.#keeping.staleMs)
  }

  /** @throws DataAccessError `OPTION_INVALID` for parameters that a key cannot carry. */
  keyOf(params: Params): string {
    return queryKey(this.query.name, this.#textOf(params))
  }

  /** Runs the query by an entity manager, with its parameters as they are now. */
  run(em: EntityManager, params: Params): Promise<Result> {
    return this.#runBy(em, this.#textOf(params))
  }

  async read(context: CachedContext, params: Params, fresh: boolean): Promise<Result> {
    const { name, lifetime } = this.query
    const text = this.#textOf(params)
    const key = queryKey(name, text)
    const stamps = this.#stamps(params)
    if (stamps === undefined) {
      this.figures.bypassed(1, 'spelling')
      return this.#runBy(context.em, text)
    }
    const request: ReadRequest = { key, stamps, version: this.#version, ...this.#keeping }
    if (this.#uncacheable.has(key)) {
      this.figures.bypassed(1, 'not-cacheable')
      return this.#runPast(context, text)
    }
    let own: { readonly result: Result } | undefined
    const load = async (): Promise<readonly Loaded[]> => {
      const result = await this.#run(text)
      own = { result }
      const kept = toKept(result, this.#rows, this.query.filters)
      return [{ payload: kept, ttlMs: jitteredTtl(lifetime, result == null) }]
    }
    try {
      for (let look = 1; ; look++) {
        const anew = fresh || look > 1
        const [kept] = await this.#reads.read([request], load, this.figures, anew)
        const result = await this.#give(context.owner, kept as KeptResult, anew, look < mostLooks)
        if (result !== overtaken) return result
      }
    } catch (error) {
      if (!(error instanceof NotCacheable)) throw error
      this.#warn(error)
      this.#uncacheable.add(key)
      this.figures.bypassed(1, 'not-cacheable')
      // What this very call has read is its caller's, unless it is to belong to an entity manager of his.
      return own === undefined || context.owner !== undefined ? this.#runPast(context, text) : own.result
    }
  }

  /** Runs the query for one caller, as the cache would for all unless the result is to belong to an entity manager of his. */
  #runPast({ em, owner }: CachedContext, text: string): Promise<Result> {
    return owner === undefined ? this.#run(text) : this.#runBy(em, text)
  }

  /** Whoever called may change his parameters while he waits: the query gets its own, equal to those of the key. */
  #runBy(em: EntityManager, text: string): Promise<Result> {
    return this.query.run(em, decode(text) as Params)
  }

  /** @throws DataAccessError `OPTION_INVALID` for parameters that are no plain data. */
  #textOf(params: Params): string {
    try {
      return encode(sorted(params))
    } catch (error) {
      throw error instanceof NotCacheable ? refusedParameters(this.query.name, error) : error
    }
  }

  /** Once: whoever wrote the query must know, and each read would repeat it. */
  #warn(error: NotCacheable): void {
    if (this.#warned) return
    this.#warned = true
    const cure = 'so each read of it runs the query; return entities, plain data, or both'
    this.#logger.warn(`The result of the cached query ${this.query.name} cannot be kept (${error.message}), ${cure}`)
  }

  /** Runs the query on the primary: a replica may lag behind the invalidation that made this a miss. */
  async #run(text: string): Promise<Result> {
    const em = pastResultCache(this.#orm.em.fork({ disableContextResolution: true }))
    const replicated = (this.#orm.config.get('replicas')?.length ?? 0) > 0
    return replicated ? em.transactional((inside) => this.#runBy(inside, text)) : this.#runBy(em, text)
  }

  /** What was kept, with its rows as they are now; or {@link overtaken} if one of them is gone, unless that is to be left out. */
  async #give(
    owner: EntityManager | undefined,
    kept: KeptResult,
    fresh: boolean,
    whole: boolean,
  ): Promise<Result | typeof overtaken> {
    if (kept === null) return null as Result
    const value = copy(kept.value)
    if (kept.entities.length === 0) return value as Result
    const hydrate = (rows: CachedRows, row: Row) => rows.hydrate(owner, row)
    return (await fromKept(value, kept.entities, { rows: this.#rows, hydrate, fresh, whole })) as Result | typeof overtaken
  }

  /** `undefined` if a row that a change brings into the result may have another value or spelling, and so expire none of these. */
  #stamps(params: Params): readonly string[] | undefined {
    const stamps = new Set<string>()
    for (const { entity, values } of dependenciesOf(this.query as CachedQuery<Params>, params)) {
      const meta = this.#orm.getMetadata().get(entity)
      const spelled = this.#spelled(meta, values)
      if (spelled === undefined) return undefined
      stamps.add(shapeStamp(meta.root.className, spelled)).add(wholeEntityStamp(meta.root.className))
    }
    return [...stamps]
  }

  #spelled(meta: EntityMetadata, values: Dependency['values']): Readonly<Record<string, string | null>> | undefined {
    const platform = this.#orm.em.getPlatform()
    const spelled: Record<string, string | null> = {}
    for (const [name, given] of Object.entries(values)) {
      const property = knownProperty(meta, name)
      if (!hasSpellings(property, this.#dialect)) continue
      // MikroORM takes it for null, or leaves the condition out.
      if (given === undefined) return undefined
      const value = databaseValue(property, given, platform)
      const spelling = value == null ? null : spellingOf(property, value, this.#dialect)
      if (spelling === undefined) return undefined
      spelled[name] = spelling
    }
    return spelled
  }
}

/** A property that the constructor has found in the entity. */
function knownProperty(meta: EntityMetadata, name: string): EntityProperty {
  return propertyOf(meta, name) as EntityProperty
}

function refusedParameters(query: string, cause: NotCacheable): DataAccessError {
  const message = `The parameters of the cached query ${query} are no plain data: ${cause.message}; give texts, numbers, Dates and objects of them`
  return new DataAccessError('OPTION_INVALID', message, { cause })
}

/**
 * In whatever order their own names stand, parameters that are equal get one key. Inside them the order may tell something, as of `orderBy`, and so
 * may what is undefined, as in a condition.
 */
function sorted(params: unknown): unknown {
  if (typeof params !== 'object' || params === null || !isPlain(params)) return params
  if (Object.getOwnPropertySymbols(params).length > 0) return params
  return Object.fromEntries(Object.entries(params).sort(([one], [other]) => (one < other ? -1 : 1)))
}
