import { type EntityManager, type EntityMetadata, helper, type MikroORM } from '@mikro-orm/core'
import type { Payload } from '../cache/cache-store.ts'
import { canonical, copy, NotCacheable } from '../cache/codec.ts'
import { FigureCounter, negativePayload } from '../cache/figures.ts'
import { datedVersion } from '../cache/freshness.ts'
import { schemaVersion, wholeEntityStamp } from '../cache/key.ts'
import type { Loaded, ReadRequest } from '../cache/load.ts'
import { type CachePolicy, jitteredTtl, keeping } from '../cache/policy.ts'
import type { ReadThrough } from '../cache/read-through.ts'
import type { Logger } from '../kernel/logger.ts'
import type { CacheLife } from './cache-life.ts'
import { hidesTargets, type OtherRows, otherRowsOf } from './cached-context.ts'
import type { DetachedEntities } from './detached-entities.ts'
import { EntityKeys, propertyOf } from './entity-keys.ts'
import { frozenEntity } from './frozen-entity.ts'
import { KnownRequests } from './known-requests.ts'
import { managedEntity } from './managed-entity.ts'

/** A row as the driver gives it, keyed by property; shared by its readers, so never changed. */
export type Row = Readonly<Record<string, unknown>>

/** A frozen entity, and the promise of it that all who find it at hand are given: to make one takes longer than to find it. */
interface Shared {
  readonly entity: object
  readonly promised: Promise<object>
}

/** Given to all who ask for what is known not to exist. */
const nothing: Promise<null> = Promise.resolve(null)

/** What a {@link CachedRows} works with. */
export interface CachedRowsParts {
  readonly orm: MikroORM
  readonly policy: CachePolicy
  readonly reads: ReadThrough
  readonly detached: DetachedEntities
  readonly life: CacheLife
  readonly logger: Logger
}

/**
 * Reads the rows of one entity through the cache. What is kept is the driver's row, not the entity: hydrated anew for each
 * reader it has every type that the database gave, and a result that somebody changes reaches nobody else.
 */
export class CachedRows {
  /** The class of the policy. The rows are read, kept and hydrated as those of its root: one may be of any class of it. */
  readonly meta: EntityMetadata
  readonly keys: EntityKeys
  readonly policy: CachePolicy
  readonly otherRows: OtherRows
  readonly figures: FigureCounter
  readonly life: CacheLife
  readonly #root: EntityMetadata
  readonly #classes: readonly EntityMetadata[]
  readonly #make: (row: Row) => object
  readonly #requests = new KnownRequests()
  /** The frozen entities of rows that are somewhere in this process. */
  readonly #shared = new WeakMap<Row, Shared>()
  readonly #orm: MikroORM
  readonly #reads: ReadThrough
  readonly #version: string
  readonly #stamps: readonly string[]
  readonly #keeping: Pick<ReadRequest, 'keepMs' | 'staleMs' | 'probe'>

  constructor({ orm, policy, reads, detached, life, logger }: CachedRowsParts) {
    this.meta = orm.getMetadata().get(policy.entity)
    this.keys = new EntityKeys(orm, this.meta, policy.uniques)
    this.policy = policy
    this.life = life
    this.#root = this.meta.root
    this.#classes = this.keys.classes
    this.otherRows = otherRowsOf(orm, this.#classes, (filter) => {
      const cure = 'turn it off by default, or cache a query that reads past it, with filters: false'
      logger.warn(`${this.meta.className} is always read past its cache: the ${filter} may show each caller other rows; ${cure}`)
    })
    this.#make = detached.maker(this.#root, (row) => this.#copy(row as Row))
    this.#orm = orm
    this.#reads = reads
    this.figures = new FigureCounter(`cache of ${this.keys.entity}`, logger)
    this.#keeping = keeping(policy.lifetime)
    this.#version = datedVersion(schemaVersion(this.#classes), this.#keeping.staleMs)
    this.#stamps = [wholeEntityStamp(this.keys.entity)]
  }

  /** True if a find shows these rows without what filters hide of their relations, which the rows themselves do not tell. */
  hidesTargets(): boolean {
    return hidesTargets(this.#orm, this.#classes)
  }

  /** The schema of an entity that was read in another one than the rows are. */
  otherSchemaOf(entity: object): string | undefined {
    const { __meta: meta, __schema: schema } = helper(entity)
    return schema === undefined || schema === this.#orm.driver.getSchemaName(meta, {}) ? undefined : schema
  }

  /** The class by which rows are found that have this property: all of its classes may have it, or only that of the policy. */
  classWith(property: string): EntityMetadata {
    return propertyOf(this.#root, property) === undefined ? this.meta : this.#root
  }

  /** How the row of this id is asked for; `undefined` for what cannot be an id. */
  requestOf(id: unknown): ReadRequest | undefined {
    const known = this.#requests.get(id)
    if (known !== undefined) return known
    if (!this.keys.couldBeId(id)) return undefined
    const request = this.#request(this.keys.ofId(id))
    this.#requests.keep(id, request)
    return request
  }

  /**
   * The detached entity of an id, or null, if it is at hand in this process and its id was asked for before; `undefined` if
   * {@link byIds} must tell. Throws nothing.
   */
  atHand(id: unknown): Promise<object | null> | undefined {
    const request = this.#requests.get(id)
    if (request === undefined) return undefined
    const row = this.#reads.readNow(request, this.figures) as Row | null | undefined
    if (row === undefined) return undefined
    if (row === null) return nothing
    const shared = this.policy.frozen ? this.#shared.get(row) : undefined
    return shared?.promised ?? this.#promised(row)
  }

  async #promised(row: Row): Promise<object> {
    return this.hydrate(undefined, row)
  }

  /** The rows of these ids, in order; `undefined` where there is none. @param fresh reads them from the database now. */
  async byIds(all: readonly unknown[], fresh = false): Promise<(Row | undefined)[]> {
    const ids: unknown[] = []
    const requests: ReadRequest[] = []
    for (const id of all) {
      const request = this.requestOf(id)
      if (request === undefined) continue
      ids.push(id)
      requests.push(request)
    }
    if (ids.length < all.length) {
      const rows = ids.length === 0 ? [] : await this.byIds(ids, fresh)
      return all.map((id) => (this.keys.couldBeId(id) ? rows.shift() : undefined))
    }
    if (ids.length === 0) return []
    const load = (missing: readonly ReadRequest[]) =>
      this.#loadRows(missing, new Map(requests.map(({ key }, index) => [key, ids[index]])))
    try {
      const payloads = await this.#reads.read(requests, load, this.figures, fresh)
      return payloads.map(toRow)
    } catch (error) {
      if (!(error instanceof NotCacheable)) throw error
      this.figures.bypassed(ids.length, 'not-cacheable')
      return Promise.all(ids.map((id) => this.#findOne(this.keys.idName, id)))
    }
  }

  /** The row whose unique property has this value. Its id is kept under the value; the row is kept once, under its id. */
  async byUnique(property: string, value: unknown, fresh = false): Promise<Row | undefined> {
    if (!this.keys.couldBeValue(property, value)) return undefined
    const request = this.#request(this.keys.ofUnique(property, value))
    let loaded: Row | undefined
    const load = async (): Promise<readonly Loaded[]> => {
      loaded = await this.#findOne(property, value)
      const exact = loaded === undefined ? this.keys.hasOneSpelling(property, value) : this.keys.matches(loaded, property, value)
      return [this.#loaded(loaded?.[this.keys.idName], exact)]
    }
    const [id] = await this.#reads.read([request], load, this.figures, fresh)
    if (loaded !== undefined || id === negativePayload) return loaded
    const [row] = await this.byIds([id], fresh)
    // Between the two reads, or by a write outside this library, the value may have moved to another row.
    return row !== undefined && this.keys.matches(row, property, value) ? row : this.#findOne(property, value)
  }

  /** Makes an entity of a row: detached, or managed. One that the entity manager holds already is never moved backwards. */
  hydrate(em: EntityManager | undefined, row: Row): object {
    if (em === undefined) return this.policy.frozen ? this.#sharedOf(row) : this.#make(row)
    return managedEntity(em, this.#root, this.#copy(row))
  }

  /** A store in this process gives the same row to all its readers, and so they get the same entity. */
  #sharedOf(row: Row): object {
    const known = this.#shared.get(row)
    if (known !== undefined) return known.entity
    const entity = frozenEntity(this.#make(row), () => this.#make(row))
    this.#shared.set(row, { entity, promised: Promise.resolve(entity) })
    return entity
  }

  /** A copy that shares nothing with the row: what only texts, numbers and the like can be in is not even looked at. */
  #copy(row: Row): Row {
    const own: Record<string, unknown> = { ...row }
    for (const name of this.keys.objects) {
      const value = own[name]
      if (typeof value === 'object' && value !== null) own[name] = copy(value)
    }
    return own
  }

  async #loadRows(missing: readonly ReadRequest[], idOf: ReadonlyMap<string, unknown>): Promise<readonly Loaded[]> {
    const ids = [...new Map(missing.map(({ key }) => [key, idOf.get(key)])).values()]
    const rows = await this.#find(this.keys.idName, ids)
    const byKey = new Map(rows.map((row) => [this.keys.ofRow(row), row]))
    const matched = ids.filter((id) => byKey.has(this.keys.ofId(id))).length
    return Promise.all(
      missing.map(async ({ key }) => {
        const id = idOf.get(key)
        const row = byKey.get(key)
        if (row !== undefined) return this.#loaded(row, true)
        // That there is none is expired by the spelling in which one comes.
        if (matched === rows.length) return this.#loaded(undefined, this.keys.hasOneSpelling(this.keys.idName, id))
        // The database sees two spellings of an id as one, and its changes expire the other spelling: keep nothing for this one.
        return this.#loaded(ids.length === 1 ? rows[0] : await this.#findOne(this.keys.idName, id), false)
      }),
    )
  }

  async #findOne(property: string, value: unknown): Promise<Row | undefined> {
    return (await this.#find(property, [value]))[0]
  }

  /** Reads from the primary: a replica may lag behind the invalidation that made this a miss. */
  async #find(property: string, values: readonly unknown[]): Promise<readonly Row[]> {
    const known = values.map((value) => this.keys.databaseValue(property, value))
    const where = { [property]: known.length === 1 ? known[0] : { $in: known } }
    const meta = this.classWith(property)
    const rows = (await this.#orm.em.getDriver().find(meta.class, where as never, { connectionType: 'write' })) as readonly Row[]
    if (meta === this.#root || rows.length === 0) return rows
    // As those of the root, which tell their class, they are kept under their ids.
    return this.#find(
      this.keys.idName,
      rows.map((row) => row[this.keys.idName]),
    )
  }

  #request(key: string): ReadRequest {
    const { keepMs, staleMs, probe } = this.#keeping
    return { key, stamps: this.#stamps, version: this.#version, keepMs, staleMs, probe }
  }

  #loaded(found: unknown, keep: boolean): Loaded {
    const negative = found === undefined
    return {
      payload: negative ? negativePayload : canonical(found),
      ttlMs: keep ? jitteredTtl(this.policy.lifetime, negative) : 0,
    }
  }
}

function toRow(payload: Payload): Row | undefined {
  return payload === negativePayload ? undefined : (payload as Row)
}
