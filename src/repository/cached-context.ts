import {
  type EntityManager,
  type EntityMetadata,
  type EntityProperty,
  helper,
  type MikroORM,
  ReferenceKind,
  Utils,
} from '@mikro-orm/core'
import type { BypassReason } from '../cache/cache-events.ts'
import { flushesAlways } from '../database/flush-mode.ts'
import { hasPendingRows } from '../database/flushed-changes.ts'
import { concerns, hasOwnSession, hasOwnView, ownContext } from '../database/row-views.ts'
import { DataAccessError } from '../errors.ts'
import { detachedFork } from './detached-entities.ts'

/** Through what a cached read makes its results, and whether it may use the cache at all. */
export interface CachedContext {
  readonly em: EntityManager
  /** The entity manager to which the results are to belong; none for detached ones. */
  readonly owner: EntityManager | undefined
  /** Why only the database can tell what this caller must see, if so; then nothing is kept either. */
  readonly bypass: BypassReason | undefined
}

/** Tells by what the entity manager to which this one leads may show other rows than the cache has, which are those that the program sees by itself. */
export type OtherRows = (em: EntityManager) => BypassReason | undefined

/** Tells whether the transaction that an entity manager leads to has committed: work that was begun in it may outlive it. */
export type HasCommitted = (em: EntityManager) => boolean

/**
 * Finds out how to read for a caller. In a transaction, the caller's own or the one around it, and with unflushed changes,
 * the caller must see its own writes, which nobody else may.
 *
 * @param unflushed tells whether an entity manager has changes that concern the read.
 */
export function cachedContext(
  orm: MikroORM,
  otherRows: OtherRows,
  hasCommitted: HasCommitted,
  given: EntityManager | undefined,
  unflushed: (em: EntityManager) => boolean,
): CachedContext {
  const em = ownContext(given ?? orm.em)
  // What a fork of it held would not be what the caller flushes.
  if (given !== undefined && em !== given.getContext(false)) throw foreignContext()
  const inTransaction = em.isInTransaction() && (given !== undefined || !hasCommitted(em))
  const bypass = inTransaction ? 'transaction' : otherRows(em)
  if (given !== undefined) return { em, owner: em, bypass: bypass ?? (unflushed(em) ? 'unflushed' : undefined) }
  if (bypass !== undefined)
    return { em: em.fork({ ...detachedFork, keepTransactionContext: inTransaction }), owner: undefined, bypass }
  // Forked only when it is needed, which a hit does not.
  return {
    get em() {
      return orm.em.fork(detachedFork)
    },
    owner: undefined,
    bypass,
  }
}

/** True if a detached read may use the cache: the short form of {@link cachedContext} for one. */
export function mayReadCache(orm: MikroORM, otherRows: OtherRows, hasCommitted: HasCommitted): boolean {
  return (!orm.em.isInTransaction() || hasCommitted(orm.em)) && otherRows(orm.em) === undefined
}

/**
 * Of the rows of these classes: a filter that is on may show each caller others.
 *
 * @param never is told once, by the first read, of a filter by which no read ever uses the cache.
 */
export function otherRowsOf(orm: MikroORM, classes: readonly EntityMetadata[], never: (filter: string) => void): OtherRows {
  const metas = [...new Set([...classes, ...targetsOf(classes)])]
  return unlessFiltered(
    () => filterOfTargets(classes) ?? filterOn(orm, metas),
    never,
    (em) => hasOwnView(em, metas),
  )
}

/** True if a filter that is on may hide the targets of relations in the rows of these classes, and with them the rows. */
export function hidesTargets(orm: MikroORM, classes: readonly EntityMetadata[]): boolean {
  return (filterOfTargets(classes) ?? filterOn(orm, targetsOf(classes))) !== undefined
}

function filterOn(orm: MikroORM, metas: readonly EntityMetadata[]): string | undefined {
  const concernsOne = (filter: Filter) => metas.some((meta) => concerns(filter as never, meta))
  return nameOfOn(orm.config.get('filters'), concernsOne) ?? firstOf(metas, ({ filters }) => nameOfOn(filters))
}

/**
 * Of a cached query: its own run has the filters that are on for all, and those that ask something else than the database, such as
 * their parameters or an AsyncLocalStorage, may answer each caller otherwise. Which entities it reads is not known.
 */
export function otherRowsOfQuery(orm: MikroORM, filters: boolean, never: (filter: string) => void): OtherRows {
  if (!filters) return (em) => (hasOwnSession(em) ? 'view' : undefined)
  return unlessFiltered(() => askingFilter(orm), never, hasOwnView)
}

function unlessFiltered(
  filter: () => string | undefined,
  never: (filter: string) => void,
  hasView: (em: EntityManager) => boolean,
): OtherRows {
  // Filters of the ORM and of its entities stay as they are.
  let always: boolean | undefined
  return (em) => {
    if (always === undefined) {
      const name = filter()
      always = name !== undefined
      if (name !== undefined) never(name)
    }
    if (always) return 'filter'
    return hasView(em) ? 'view' : undefined
  }
}

/** Whether there is something that a find of an entity would flush first: rows to insert or delete. Edits it leaves as they are, by default. */
export function hasChangesToFind(em: EntityManager): boolean {
  return flushesAlways(em) ? hasUnflushedChanges(em) : hasPendingRows(em)
}

/** Whether a flush would write anything, which takes a look at each entity: the run of a query may flush. */
export function hasUnflushedChanges(em: EntityManager): boolean {
  if (hasPendingRows(em)) return true
  const uow = em.getUnitOfWork(false)
  for (const entity of uow.getIdentityMap()) {
    const original = uow.getOriginalEntityData(entity)
    if (original !== undefined && isChanged(em, entity, original)) return true
  }
  return false
}

/** As MikroORM tells it in a flush. */
function isChanged(em: EntityManager, entity: object, original: object): boolean {
  const comparator = em.getComparator()
  const { __meta: meta, __initialized: initialized } = helper(entity)
  if (meta.relations.some(({ name, kind }) => kind === ReferenceKind.MANY_TO_MANY && isDirty(Reflect.get(entity, name))))
    return true
  const state = comparator.prepareEntity(entity) as Record<string, unknown>
  if (initialized) return Object.keys(comparator.diffEntities(meta.class, original, state)).length > 0
  // Of a reference all is written that it has beside its key, unless it came with it. The class is no value of its own.
  if (meta.root.discriminatorColumn !== undefined) delete state[meta.root.discriminatorColumn]
  if (Utils.equals(state, original)) return false
  return Object.keys(state).some((name) => !meta.primaryKeys.includes(name as never))
}

function isDirty(collection: unknown): boolean {
  return Utils.isCollection(collection) && collection.isDirty()
}

/** Those whose filters a find has for these: it joins the targets of relations to one, and theirs where it loads them too. */
function targetsOf(classes: readonly EntityMetadata[]): readonly EntityMetadata[] {
  const [targets, loaded] = [new Set<EntityMetadata>(), new Set(classes)]
  // What is added to a set while it is walked through is met too.
  for (const { relations } of loaded) {
    for (const property of relations.filter(isToOne)) {
      for (const target of property.polymorphTargets ?? [property.targetMeta]) {
        if (target === undefined) continue
        targets.add(target)
        if (property.eager) loaded.add(target)
      }
    }
  }
  return [...targets]
}

/** A relation may turn on filters of its target that are off else. */
function filterOfTargets(classes: readonly EntityMetadata[]): string | undefined {
  return firstOf(classes, ({ className, relations }) => {
    const found = relations.find((property) => isToOne(property) && Boolean(property.filters))
    return found && `filters of ${className}.${found.name}`
  })
}

function isToOne({ kind }: EntityProperty): boolean {
  return kind === ReferenceKind.MANY_TO_ONE || kind === ReferenceKind.ONE_TO_ONE
}

function askingFilter(orm: MikroORM): string | undefined {
  return nameOfOn(orm.config.get('filters'), asks) ?? firstOf(orm.getMetadata(), ({ filters }) => nameOfOn(filters, asks))
}

function firstOf<Item>(items: Iterable<Item>, of: (item: Item) => string | undefined): string | undefined {
  for (const item of items) {
    const found = of(item)
    if (found !== undefined) return found
  }
  return undefined
}

interface Filter {
  readonly cond?: unknown
  readonly default?: boolean
}

function asks({ cond }: Filter): boolean {
  return typeof cond === 'function'
}

/** One of an entity is off unless it says otherwise; MikroORM says so for those of the configuration. */
function nameOfOn(
  filters: Readonly<Record<string, Filter>>,
  which: (filter: Filter) => boolean = () => true,
): string | undefined {
  for (const name in filters) {
    const filter = filters[name] as Filter
    if (filter.default && which(filter)) return `filter "${name}"`
  }
  return undefined
}

function foreignContext(): DataAccessError {
  const what = 'cached: em leads to the entity manager of another ORM of the same name, whose transaction or request is around'
  return new DataAccessError('OPTION_INVALID', `${what}; give a fork of this data access, or the ORMs a \`contextName\` each`)
}
