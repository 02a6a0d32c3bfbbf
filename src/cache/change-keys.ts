import type { ChangeSet, EntityManager, EntityMetadata, EntityProperty, EventSubscriber, FlushEventArgs } from '@mikro-orm/core'
import { helper } from '@mikro-orm/core'
import { hasSpellings, spellingOf } from '../database/spelling.ts'
import { type Dialect, dialectOf } from '../database/sql.ts'
import type { BulkWrite } from './bulk-writes.ts'
import type { ChangeKeys } from './invalidation.ts'
import { plainText, rowKey, shapeStamp, uniqueKey, wholeEntityStamp } from './key.ts'

type Values = Readonly<Record<string, unknown>>

/** What is known of one entity that is cached or on which a query depends. */
interface Watched {
  /** Its rows are kept by their ids. */
  rows: boolean
  readonly uniques: Set<string>
  readonly shapes: Map<string, readonly string[]>
}

/**
 * Knows which keys a change of one row expires: the row's, those of its old and new unique values, and the stamps of the old
 * and new values of each shape by which a query depends on the entity. Where an old value is not known, since the entity was
 * never loaded, or a value may be known by another text, all entries of the entity expire.
 *
 * It is also the subscriber that keeps the old values of rows to be deleted, which MikroORM forgets during the flush.
 */
export class WatchedChanges implements ChangeKeys, EventSubscriber {
  readonly #watched = new Map<string, Watched>()
  readonly #below = new Map<string, readonly string[]>()
  readonly #deleted = new WeakMap<object, Values>()

  watchRows(entity: EntityMetadata, uniques: readonly string[]): void {
    const watched = this.#watch(entity)
    for (const unique of uniques) watched.uniques.add(unique)
    watched.rows = true
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
    const current = em.getComparator().prepareEntity(entity) as Values
    const appearsOrGoes = type === 'create' || isDelete(type)
    const old = (isDelete(type) ? this.#deleted.get(entity) : originalEntity) as Values | undefined
    const states = appearsOrGoes ? [old ?? current] : [old ?? {}, current]
    const known = type === 'create' ? !lacksValues(current, watched.shapes) : !lacksValues(old, watched.shapes, watched.uniques)
    const keys = known ? keysOf(meta, watched, states, appearsOrGoes, dialectOf(em)) : undefined
    return [...below, ...(keys ?? [wholeEntityStamp(root.className)])]
  }

  ofBulk({ meta: { root }, deletes }: BulkWrite): readonly string[] {
    const below = deletes ? this.#reachableBelow(root) : []
    return [...(this.#watched.has(root.className) ? [root.className] : []), ...below].map(wholeEntityStamp)
  }

  all(): readonly string[] {
    return [...this.#watched.keys()].map(wholeEntityStamp)
  }

  #watch({ className }: EntityMetadata): Watched {
    const watched = this.#watched.get(className) ?? { rows: false, uniques: new Set(), shapes: new Map() }
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

function lacksValues(state: Values | undefined, shapes: Watched['shapes'], uniques: Watched['uniques'] = new Set()): boolean {
  return state === undefined || [...uniques, ...[...shapes.values()].flat()].some((name) => state[name] === undefined)
}

/** What expires with these values; `undefined` if one of them may be kept or asked for by another text. */
function keysOf(
  meta: EntityMetadata,
  watched: Watched,
  states: readonly Values[],
  appearsOrGoes: boolean,
  dialect: Dialect,
): readonly string[] | undefined {
  const entity = meta.root.className
  const keys = new Set<string>()
  let certain = true
  const spelled = (name: string, value: unknown) => {
    const spelling = value === null ? null : spellingOf(propertyOf(meta, name), value, dialect)
    if (spelling === undefined) certain = false
    return spelling ?? null
  }
  const idName = meta.root.primaryKeys[0] as string
  for (const state of states) {
    if (watched.rows && state[idName] !== undefined) keys.add(rowKey(entity, spelled(idName, state[idName])))
    for (const [, names] of watched.shapes) {
      if (names.some((name) => state[name] === undefined)) continue
      keys.add(shapeStamp(entity, Object.fromEntries(names.map((name) => [name, spelled(name, state[name])]))))
    }
  }
  for (const name of watched.uniques) {
    // A class beside the one that has it knows no such property.
    const values = states.map((state) => state[name])
    if (values.every((value) => value == null) || (!appearsOrGoes && values[0] === values[1])) continue
    const kept = hasSpellings(propertyOf(meta, name), dialect)
    for (const value of values) {
      // Of a column without spellings no absence is kept, and what is found there is looked at again.
      if (value != null) keys.add(uniqueKey(entity, name, kept ? spelled(name, value) : plainText(value)))
    }
  }
  return certain ? [...keys] : undefined
}

/** Of a subclass with a table of its own the root does not know all. */
function propertyOf(meta: EntityMetadata, name: string): EntityProperty {
  const known = ({ properties }: EntityMetadata) => (properties as Readonly<Record<string, EntityProperty | undefined>>)[name]
  return (known(meta) ?? known(meta.root)) as EntityProperty
}
