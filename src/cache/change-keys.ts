import type { ChangeSet, EntityManager, EntityMetadata, EntityProperty, EventSubscriber, FlushEventArgs } from '@mikro-orm/core'
import { helper } from '@mikro-orm/core'
import type { BulkWrite } from './bulk-writes.ts'
import type { ChangeKeys } from './invalidation.ts'
import { rowKey, shapeStamp, uniqueKey, wholeEntityStamp } from './key.ts'

type Values = Readonly<Record<string, unknown>>

/** What is known of one entity that is cached or on which a query depends. */
interface Watched {
  /** The id of a changed row may be spelled otherwise than that of the kept one. */
  inexact: boolean
  readonly uniques: Set<string>
  readonly shapes: Map<string, readonly string[]>
}

/**
 * Knows which keys a change of one row expires: the row's, those of its old and new unique values, and the stamps of the old
 * and new values of each shape by which a query depends on the entity. Where an old value is not known, since the entity was
 * never loaded, all entries of the entity expire.
 *
 * It is also the subscriber that keeps the old values of rows to be deleted, which MikroORM forgets during the flush.
 */
export class WatchedChanges implements ChangeKeys, EventSubscriber {
  readonly #watched = new Map<string, Watched>()
  readonly #below = new Map<string, readonly string[]>()
  readonly #deleted = new WeakMap<object, Values>()

  /** @param exact if ids of one spelling each name the rows. */
  watchRows(entity: EntityMetadata, uniques: readonly string[], exact: boolean): void {
    const watched = this.#watch(entity)
    for (const unique of uniques) watched.uniques.add(unique)
    watched.inexact = !exact
  }

  watchShape(entity: EntityMetadata, properties: readonly string[]): void {
    this.#watch(entity).shapes.set(properties.join(), properties)
  }

  onFlush({ uow }: FlushEventArgs): void {
    for (const { entity, type } of uow.getChangeSets()) {
      const original = isDelete(type) ? helper(entity).__originalEntityData : undefined
      if (original !== undefined) this.#deleted.set(entity, original as Values)
    }
  }

  of({ entity, type, meta, originalEntity }: ChangeSet<object>, em: EntityManager): readonly string[] {
    const { root } = meta
    const below = isDelete(type) ? this.#reachableBelow(root).map(wholeEntityStamp) : []
    const watched = this.#watched.get(root.className)
    if (watched === undefined) return below
    if (watched.inexact) below.push(wholeEntityStamp(root.className))
    const current = em.getComparator().prepareEntity(entity) as Values
    if (type === 'create') {
      const unknown = lacksValues(current, watched.shapes) ? [wholeEntityStamp(root.className)] : []
      return [...below, ...unknown, ...keysOf(root, watched, [current], true)]
    }
    const old = (isDelete(type) ? this.#deleted.get(entity) : originalEntity) as Values | undefined
    if (old === undefined || lacksValues(old, watched.shapes, watched.uniques)) below.push(wholeEntityStamp(root.className))
    return [...below, ...keysOf(root, watched, isDelete(type) ? [old ?? current] : [old ?? {}, current], isDelete(type))]
  }

  ofBulk({ meta: { root }, deletes }: BulkWrite): readonly string[] {
    const below = deletes ? this.#reachableBelow(root) : []
    return [...(this.#watched.has(root.className) ? [root.className] : []), ...below].map(wholeEntityStamp)
  }

  all(): readonly string[] {
    return [...this.#watched.keys()].map(wholeEntityStamp)
  }

  #watch({ className }: EntityMetadata): Watched {
    const watched = this.#watched.get(className) ?? { inexact: false, uniques: new Set(), shapes: new Map() }
    this.#watched.set(className, watched)
    return watched
  }

  /** The watched entities whose rows the database may delete or change by itself when a row of this one goes. */
  #reachableBelow(root: EntityMetadata): readonly string[] {
    const known = this.#below.get(root.className)
    if (known !== undefined) return known
    const seen = new Set<string>()
    const visit = (meta: EntityMetadata) => {
      for (const { meta: child, prop } of meta.referencingProperties) {
        if (!isOwningToOne(prop) || prop.deleteRule === 'restrict' || prop.deleteRule === 'no action') continue
        if (seen.has(child.root.className)) continue
        seen.add(child.root.className)
        visit(child.root)
      }
    }
    visit(root)
    const below = [...seen].filter((name) => this.#watched.has(name))
    this.#below.set(root.className, below)
    return below
  }
}

function isDelete(type: string): boolean {
  return type.startsWith('delete')
}

function isOwningToOne({ kind, owner }: EntityProperty): boolean {
  return kind === 'm:1' || (kind === '1:1' && owner)
}

function lacksValues(state: Values, shapes: Watched['shapes'], uniques: Watched['uniques'] = new Set()): boolean {
  return [...uniques, ...[...shapes.values()].flat()].some((name) => state[name] === undefined)
}

function keysOf(root: EntityMetadata, watched: Watched, states: readonly Values[], appearsOrGoes: boolean): string[] {
  const entity = root.className
  const keys = new Set<string>()
  for (const state of states) {
    const id = state[root.primaryKeys[0] as string]
    if (id !== undefined) keys.add(rowKey(entity, id))
    for (const [, names] of watched.shapes) {
      if (names.every((name) => state[name] !== undefined)) {
        keys.add(shapeStamp(entity, Object.fromEntries(names.map((name) => [name, state[name]]))))
      }
    }
  }
  for (const name of watched.uniques) {
    const values = states.map((state) => state[name])
    if (!appearsOrGoes && values[0] === values[1]) continue
    for (const value of values) if (value !== undefined) keys.add(uniqueKey(entity, name, value))
  }
  return [...keys]
}
