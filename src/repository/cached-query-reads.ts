import { createHash } from 'node:crypto'
import type { EntityManager, EntityProperty, MikroORM } from '@mikro-orm/core'
import { type CachedQuery, type Dependency, dependenciesOf } from '../cache/cached-query.ts'
import { canonical, copy, encode, NotCacheable } from '../cache/codec.ts'
import { type CacheFigures, FigureCounter } from '../cache/figures.ts'
import { databaseValue, queryKey, schemaVersion, shapeStamp, wholeEntityStamp } from '../cache/key.ts'
import { jitteredTtl } from '../cache/policy.ts'
import type { Loaded, ReadRequest, ReadThrough } from '../cache/read-through.ts'
import { type CachedContext, cachedContext } from './cached-context.ts'
import { type KeptResult, type RowsByName, toKept } from './cached-result.ts'

/** Reads one cached query. The results are detached, or managed by the entity manager that was given. */
export class CachedQueryReads<Params, Result> {
  readonly #orm: MikroORM
  readonly #source: CachedQuerySource<Params, Result>
  readonly #em: EntityManager | undefined

  constructor(orm: MikroORM, source: CachedQuerySource<Params, Result>, em: EntityManager | undefined) {
    this.#orm = orm
    this.#source = source
    this.#em = em
  }

  /** The query's result for these parameters. */
  async get(params: Params): Promise<Result> {
    const context = cachedContext(this.#orm, undefined, this.#em)
    if (context.bypass) {
      this.#source.figures.bypasses += 1
      return this.#source.query.run(context.em, params)
    }
    return this.#source.read(context, params)
  }

  /** What this cache has done in this process. */
  stats(): CacheFigures {
    return this.#source.figures.read()
  }
}

/** What all readers of one query share. */
export class CachedQuerySource<Params, Result> {
  readonly query: CachedQuery<Params, Result>
  readonly figures = new FigureCounter()
  readonly #orm: MikroORM
  readonly #reads: ReadThrough
  readonly #rows: RowsByName
  readonly #version: string

  constructor(orm: MikroORM, query: CachedQuery<Params, Result>, reads: ReadThrough, rows: RowsByName) {
    this.query = query
    this.#orm = orm
    this.#reads = reads
    this.#rows = rows
    const schemas = query.shapes.map(({ entity }) => schemaVersion(orm.getMetadata().get(entity)))
    this.#version = createHash('sha256')
      .update([query.version, ...schemas].join())
      .digest('hex')
      .slice(0, 12)
  }

  async read(context: CachedContext, params: Params): Promise<Result> {
    const { lifetime } = this.query
    const key = queryKey(this.query.name, encode(sorted(params)))
    const request: ReadRequest = { key, stamps: this.#stamps(params), version: this.#version, keepMs: lifetime.ttl }
    const load = async (): Promise<readonly Loaded[]> => {
      const kept = canonical(toKept(await this.#run(params), this.#rows))
      return [{ payload: kept, ttlMs: jitteredTtl(lifetime, kept === null) }]
    }
    try {
      const [kept] = await this.#reads.read([request], load, this.figures)
      return await this.#give(context.owner, kept as KeptResult)
    } catch (error) {
      if (!(error instanceof NotCacheable)) throw error
      this.figures.bypasses += 1
      return this.query.run(context.em, params)
    }
  }

  /** Runs the query on the primary: a replica may lag behind the invalidation that made this a miss. */
  async #run(params: Params): Promise<Result> {
    const em = this.#orm.em.fork({ disableContextResolution: true })
    const replicated = (this.#orm.config.get('replicas')?.length ?? 0) > 0
    return replicated ? em.transactional((inside) => this.query.run(inside, params)) : this.query.run(em, params)
  }

  async #give(owner: EntityManager | undefined, kept: KeptResult): Promise<Result> {
    if (kept === null) return null as Result
    if ('value' in kept) return copy(kept.value) as Result
    const rows = this.#rows(kept.entity)
    const found = (await rows.byIds(kept.ids)).flatMap((row) => (row === undefined ? [] : [rows.hydrate(owner, row)]))
    return (kept.many ? found : (found[0] ?? null)) as Result
  }

  #stamps(params: Params): readonly string[] {
    const dependencies = dependenciesOf(this.query as CachedQuery<Params>, params)
    const stamps = dependencies.flatMap((dependency) => {
      const { className } = this.#orm.getMetadata().get(dependency.entity).root
      return [shapeStamp(className, this.#databaseValues(dependency)), wholeEntityStamp(className)]
    })
    return [...new Set(stamps)]
  }

  #databaseValues({ entity, values }: Dependency): Readonly<Record<string, unknown>> {
    const { properties } = this.#orm.getMetadata().get(entity)
    const platform = this.#orm.em.getPlatform()
    const convert = ([name, value]: [string, unknown]) =>
      [name, databaseValue(properties[name as never] as EntityProperty, value, platform)] as const
    return Object.fromEntries(Object.entries(values).map(convert))
  }
}

/** Parameters that are equal get one key, in whatever order they were written. */
function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value
  const entries = Object.entries(value).filter(([, item]) => item !== undefined)
  return Object.fromEntries(entries.sort(([one], [other]) => (one < other ? -1 : 1)).map(([key, item]) => [key, sorted(item)]))
}
