import type { EntityManager, EntityMetadata, MikroORM, Primary } from '@mikro-orm/core'
import type { BypassReason, CacheEventName, CacheEvents } from '../cache/cache-events.ts'
import type { CacheFigures } from '../cache/figures.ts'
import type { Invalidation } from '../cache/invalidation.ts'
import { wholeEntityStamp } from '../cache/key.ts'
import { ownContext } from '../database/row-views.ts'
import { DataAccessError } from '../errors.ts'
import { type CachedContext, cachedContext, hasChangesToFind, mayReadCache } from './cached-context.ts'
import { type CachedReadOptions, readAs } from './cached-read-options.ts'
import type { CachedRows, Row } from './cached-rows.ts'
import { requireIds } from './data-repository.ts'

/** No name of a property can stand in its way. */
const lookUp = Symbol('lookUp')

/**
 * One lookup for each unique property: `byEmail(mail)` for `email`. It resolves to the entity that has this value, or to null; what cannot
 * be a value of the property, such as null, nobody has. It rejects as {@link CachedReads.get} does, and with `CACHE_POLICY_MISSING` where a
 * caller without types asks by a property that the policy does not list.
 */
export type UniqueLookups<Entity, Unique extends string> = {
  readonly [Key in Unique & keyof Entity as `by${Capitalize<Key & string>}`]: (
    value: Entity[Key],
    options?: CachedReadOptions,
  ) => Promise<Entity | null>
}

/**
 * Reads one entity's rows through the cache. Without `{ em }` the results are detached: yours to change, and tracked by
 * nobody. With `{ em }` they belong to that entity manager, as those of its own `find` do.
 */
export type CachedRepository<Entity extends object, Unique extends string> = CachedReads<Entity> & UniqueLookups<Entity, Unique>

/** The part of a {@link CachedRepository} that all entities have. */
export class CachedReads<Entity extends object> {
  readonly #orm: MikroORM
  readonly #rows: CachedRows
  /** The class that was asked for: a row of another one of its root is none. */
  readonly #meta: EntityMetadata
  readonly #ofAnyClass: boolean
  readonly #invalidation: Invalidation
  readonly #em: EntityManager | undefined

  constructor(orm: MikroORM, rows: CachedRows, meta: EntityMetadata, invalidation: Invalidation, em: EntityManager | undefined) {
    this.#orm = orm
    this.#rows = rows
    this.#meta = meta
    this.#ofAnyClass = meta.root === meta
    this.#invalidation = invalidation
    this.#em = em
  }

  /**
   * The entity with this id, or null where there is none, or none of this class. What cannot be an id at all, such as a malformed uuid, has
   * none. While the store is away the database answers.
   *
   * @throws DataAccessError `OPTION_INVALID`; `CLOSED`; `TRANSACTION_FORK` on SQLite in a transaction that it would go past; the signal's
   * reason; what the database throws.
   */
  get(id: Primary<Entity>, options?: CachedReadOptions): Promise<Entity | null> {
    if (options !== undefined) return this.getMany([id], options).then(([entity = null]) => entity)
    if (
      this.#em === undefined &&
      !this.#rows.life.closed &&
      mayReadCache(this.#orm, this.#rows.otherRows, this.#invalidation.hasCommitted)
    ) {
      // What is at hand is given at once: a wait, or an async function, would cost more than the read.
      const atHand = this.#rows.atHand(id)
      if (atHand !== undefined && this.#ofAnyClass) return atHand as Promise<Entity | null>
      if (atHand !== undefined) return atHand.then((entity) => this.#ofClass(entity))
    }
    return this.#read(id)
  }

  /** The entity with this id. @throws DataAccessError `ENTITY_NOT_FOUND` if there is none, with entity and id in its context; what {@link get} throws. */
  async getOrFail(id: Primary<Entity>, options?: CachedReadOptions): Promise<Entity> {
    const entity = await this.get(id, options)
    if (entity !== null) return entity
    const { className } = this.#meta
    throw new DataAccessError('ENTITY_NOT_FOUND', `There is no ${className} with the id ${String(id)}`, {
      context: { entity: className, id },
    })
  }

  /**
   * The entities with these ids, place by place: in the order of the ids, an id given twice twice, and null where there is none. One round
   * trip, or with a tier one for each 128 of which there is no copy, and one query for what is missing.
   *
   * @throws DataAccessError `OPTION_INVALID`, also for what is no array; what {@link get} throws.
   */
  async getMany(ids: readonly Primary<Entity>[], options?: CachedReadOptions): Promise<(Entity | null)[]> {
    return readAs('a cached read', options, async (fresh) => {
      requireIds(ids)
      const context = this.#context()
      if (context.bypass !== undefined) return this.#findMany(context, context.bypass, ids)
      const rows = await this.#rows.byIds(ids, fresh)
      return rows.map((row) => this.#hydrate(context, row))
    })
  }

  /**
   * Expires one row everywhere, at once, and in a transaction after its commit too: for writes that this library does not see. Resolves
   * also while the store is away: this process reads the database until the store knows, and others sweep. What cannot be an id is ignored.
   *
   * @throws DataAccessError `CLOSED`; in a transaction also what the database throws.
   */
  async invalidate(id: Primary<Entity>): Promise<void> {
    this.#rows.life.refuseWhenClosed()
    if (this.#rows.keys.couldBeId(id)) await this.#expire(this.#rows.keys.ofId(id))
  }

  /** Expires all rows of the entity and all query results that depend on it, as {@link invalidate} does one: for bulk writes. @throws as that. */
  async invalidateAll(): Promise<void> {
    await this.#expire(wholeEntityStamp(this.#rows.keys.entity))
  }

  /**
   * Adds a listener for what this cache does in this process; the function returned removes it. What it throws is logged.
   *
   * @throws DataAccessError `OPTION_INVALID` for an event that a cache never tells, or no function.
   */
  on<Name extends CacheEventName>(name: Name, listener: (event: CacheEvents[Name]) => void): () => void {
    return this.#rows.figures.listeners.on(name, listener)
  }

  /** What this cache has done in this process since the data access was opened, for all who read by it. Throws nothing. */
  stats(): CacheFigures {
    return this.#rows.figures.read()
  }

  /** @internal Reads by a unique property; the lookups lead here. */
  async [lookUp](property: string, value: unknown, options?: CachedReadOptions): Promise<Entity | null> {
    if (!this.#rows.policy.uniques.includes(property)) {
      const { className } = this.#rows.meta
      const cure = `list it: cachePolicy(${className}, { uniques: ['${property}'] })`
      throw new DataAccessError('CACHE_POLICY_MISSING', `${className} is not cached by ${property}; ${cure}`)
    }
    return readAs('a cached read', options, async (fresh) => {
      const context = this.#context()
      if (context.bypass === undefined) return this.#hydrate(context, await this.#rows.byUnique(property, value, fresh))
      this.#rows.figures.bypassed(1, context.bypass)
      if (!this.#rows.keys.couldBeValue(property, value)) return null
      return this.#ofClass(await context.em.findOne(this.#rows.classWith(property).class, { [property]: value } as never))
    })
  }

  async #expire(key: string): Promise<void> {
    this.#rows.life.refuseWhenClosed()
    await this.#invalidation.expireByHand(new Set([key]), ownContext(this.#em ?? this.#orm.em))
  }

  /** What a list of one would take longer for. */
  async #read(id: Primary<Entity>): Promise<Entity | null> {
    const context = this.#context()
    if (context.bypass !== undefined) return (await this.#findMany(context, context.bypass, [id]))[0] ?? null
    return this.#hydrate(context, (await this.#rows.byIds([id]))[0])
  }

  /** @throws DataAccessError `CLOSED`, `TRANSACTION_FORK`. */
  #context(): CachedContext {
    this.#rows.life.refuseWhenClosed()
    const context = cachedContext(this.#orm, this.#rows.otherRows, this.#invalidation.hasCommitted, this.#em, hasChangesToFind)
    if (context.bypass !== 'transaction') this.#rows.life.refuseWhenHeld()
    return context
  }

  #hydrate({ owner }: CachedContext, row: Row | undefined): Entity | null {
    return row === undefined ? null : this.#ofClass(this.#rows.hydrate(owner, row))
  }

  #ofClass(entity: object | null): Entity | null {
    return this.#ofAnyClass || entity instanceof this.#meta.class ? (entity as Entity | null) : null
  }

  async #findMany({ em }: CachedContext, reason: BypassReason, all: readonly Primary<Entity>[]): Promise<(Entity | null)[]> {
    const { figures, keys } = this.#rows
    const ids = all.filter((id) => keys.couldBeId(id))
    figures.bypassed(ids.length, reason)
    const find = (where: unknown) => em.find(this.#meta.class, { [keys.idName]: where } as never) as Promise<Entity[]>
    const entities = await find(ids.length === 1 ? ids[0] : { $in: ids })
    const byKey = new Map(entities.map((entity) => [keys.ofId(Reflect.get(entity, keys.idName)), entity]))
    const found: (Entity | null)[] = []
    for (const id of all) {
      const known = keys.couldBeId(id) ? byKey.get(keys.ofId(id)) : null
      // One that has several spellings may stand there under another one.
      const other = known === undefined && !keys.hasOneSpelling(keys.idName, id) ? (await find(id))[0] : undefined
      found.push(known ?? other ?? null)
    }
    return found
  }
}

/** Makes the class of an entity's cached repository: with a lookup for each property that can be unique. */
export function cachedRepositoryClass(rows: CachedRows): typeof CachedReads {
  class EntityReads extends CachedReads<object> {}
  for (const { name, kind } of rows.meta.props) {
    if (kind !== 'scalar') continue
    Object.defineProperty(EntityReads.prototype, `by${name.charAt(0).toUpperCase()}${name.slice(1)}`, {
      value(this: EntityReads, value: unknown, options?: CachedReadOptions) {
        return this[lookUp](name, value, options)
      },
    })
  }
  return EntityReads as typeof CachedReads
}
