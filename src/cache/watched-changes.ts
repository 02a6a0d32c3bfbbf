import type { ChangeSet, Collection, EntityManager, EntityMetadata, EntityProperty, Transaction } from '@mikro-orm/core'
import { helper } from '@mikro-orm/core'
import { hasSpellings, spellingOf } from '../database/spelling.ts'
import { type Dialect, dialectOf } from '../database/sql.ts'
import type { BulkWrite } from './bulk-writes.ts'
import { Cascades, targetsOf } from './cascades.ts'
import type { ExpiringKeys } from './expiring-keys.ts'
import { plainText, rowKey, shapeStamp, uniqueKey, wholeEntityStamp } from './key.ts'
import { isDelete, propertyOfRow, type Values, writtenValues } from './row-values.ts'
import { TrueValues } from './true-values.ts'

/** What is known of one entity that is cached or on which a query depends. */
interface Watched {
  /** Its rows are kept by their ids. */
  rows: boolean
  readonly uniques: Set<string>
  readonly shapes: Map<string, readonly string[]>
}

/**
 * Knows which keys a change of one row expires: the row's, those of its old and new unique values, and the stamps of the old
 * and new values of each shape by which a query depends on the entity. Where an old value is not known, or the database makes the new
 * one, or a value may be known by another text, all entries of the entity expire.
 */
export class WatchedChanges implements ExpiringKeys {
  readonly #watched = new Map<string, Watched>()
  readonly #cascades = new Cascades()
  readonly #before = new TrueValues()
  readonly #deleted = new WeakMap<object, Values>()

  watchRows(entity: EntityMetadata, uniques: readonly string[]): void {
    const watched = this.#watch(entity)
    for (const unique of uniques) watched.uniques.add(unique)
    watched.rows = true
  }

  watchShape(entity: EntityMetadata, properties: readonly string[]): void {
    this.#watch(entity).shapes.set(properties.join(), properties)
  }

  begin(changeSets: readonly ChangeSet<object>[], em: EntityManager): void {
    this.#before.begin(em, changeSets)
    for (const changeSet of changeSets) {
      // MikroORM forgets them during the flush.
      const original = isDelete(changeSet) ? helper(changeSet.entity).__originalEntityData : undefined
      if (original !== undefined) this.#deleted.set(changeSet.entity, original as Values)
    }
  }

  before(em: EntityManager, changeSets: readonly ChangeSet<object>[], transaction: Transaction | undefined): Promise<void> {
    return this.#before.read(em, changeSets, (root) => this.#shapeNames(root), transaction)
  }

  of(changeSet: ChangeSet<object>, em: EntityManager): readonly string[] {
    const { root } = changeSet.meta
    const others = this.#ofOthers(changeSet, em)
    const watched = this.#watched.get(root.className)
    if (watched === undefined) return others
    return [...others, ...(this.#ofRow(changeSet, watched, em) ?? [wholeEntityStamp(root.className)])]
  }

  ofCollection({ property, owner }: Collection<object>, em: EntityManager): readonly string[] {
    const { orphanRemoval = false } = property
    if (property.kind !== '1:m') return this.#ofPivot(em, helper(owner).__meta.root, property)
    // What is written past the change sets is that of a collection which was not loaded.
    return targetsOf(property).flatMap((meta) => this.#ofAny(em, meta.root, { deletes: orphanRemoval }))
  }

  ofAttempt(
    changeSets: readonly ChangeSet<object>[],
    collections: readonly Collection<object>[],
    em: EntityManager,
  ): readonly string[] {
    const keys = new Set<string>()
    const known = new Set<string>()
    for (const changeSet of changeSets) {
      const { root } = changeSet.meta
      const how = { deletes: isDelete(changeSet), renames: this.#renames(changeSet, em) }
      const kind = `${root.className} ${how.deletes} ${how.renames}`
      if (known.has(kind)) continue
      known.add(kind)
      for (const key of this.#ofAny(em, root, how)) keys.add(key)
    }
    for (const collection of collections) for (const key of this.ofCollection(collection, em)) keys.add(key)
    return [...keys]
  }

  ofBulk({ em, meta, deletes, names: { all, changing } }: BulkWrite): readonly string[] {
    const renames = changing.some((name) => this.#cascades.mayChangeKey(em, meta.root, name))
    const pivots = all.flatMap((name) => {
      const property = propertyOfRow(meta, name)
      return property?.kind === 'm:n' ? this.#ofPivot(em, meta.root, property) : []
    })
    return [...this.#ofAny(em, meta.root, { deletes, renames }), ...pivots]
  }

  all(): readonly string[] {
    return [...this.#watched.keys()].map(wholeEntityStamp)
  }

  #watch({ className }: EntityMetadata): Watched {
    const watched = this.#watched.get(className) ?? { rows: false, uniques: new Set(), shapes: new Map() }
    this.#watched.set(className, watched)
    return watched
  }

  #shapeNames({ className }: EntityMetadata): readonly string[] {
    return [...new Set([...(this.#watched.get(className)?.shapes.values() ?? [])].flat())]
  }

  /** All that may change with any row of an entity. */
  #ofAny(em: EntityManager, root: EntityMetadata, { deletes = false, renames = false }): readonly string[] {
    const rules = [...(deletes ? (['deleteRule'] as const) : []), ...(renames ? (['updateRule'] as const) : [])]
    const below = rules.flatMap((rule) => this.#cascades.below(em, root, rule))
    const entities = [root.className, ...this.#cascades.showing(em, root).map(({ entity }) => entity), ...below]
    const going = rules.flatMap((rule) => this.#cascades.going(em, root, rule))
    return [...this.#whole(entities), ...this.#ofEnds(em, root, going)]
  }

  /** What changes when relations of many to many do. */
  #ofPivot(em: EntityManager, root: EntityMetadata, property: EntityProperty): readonly string[] {
    const pivot = em.getMetadata().find(property.pivotEntity as never)
    const ends = [root, ...targetsOf(property).map((meta) => meta.root)].flatMap((end) => this.#ofRelated(end))
    return pivot === undefined ? ends : [...ends, ...this.#ofAny(em, pivot.root, { deletes: true })]
  }

  /** A row to which another one is related, or no more, stays as it is; what is found by the relation does not. */
  #ofRelated({ className }: EntityMetadata): readonly string[] {
    const shapes = this.#watched.get(className)?.shapes
    if (shapes === undefined || shapes.size === 0) return []
    return shapes.size === 1 && shapes.has('') ? [shapeStamp(className, {})] : [wholeEntityStamp(className)]
  }

  /** What is found by relations of many to many whose pivot table is that of this entity, or of one whose rows go; or of which such a one is an end. */
  #ofEnds(em: EntityManager, { className: root }: EntityMetadata, going: readonly string[]): readonly string[] {
    const relations = [...new Set([root, ...going])].flatMap((entity) => this.#cascades.relatedBy(em, entity))
    // Where an end goes, only the other one is left to be found.
    const byPivot = relations.filter((ends) => !ends.some(({ className }) => going.includes(className)))
    const others = going.flatMap((entity) => this.#cascades.relatedTo(em, entity))
    return [...byPivot.flat(), ...others].flatMap((end) => this.#ofRelated(end))
  }

  /** What changes in rows of others: those that the database deletes or changes with the row, and those that show it. */
  #ofOthers(changeSet: ChangeSet<object>, em: EntityManager): readonly string[] {
    const { type, meta, payload, entity } = changeSet
    const written = payload as Values
    const keys: string[] = []
    for (const { entity: other, by, chosen } of this.#cascades.showing(em, meta.root)) {
      if (this.#watched.get(other)?.rows !== true) continue
      const property = propertyOfRow(meta, by)
      const value = type === 'create' ? (em.getComparator().prepareEntity(entity) as Values)[by] : undefined
      // What a relation has by its `targetKey` is not the id.
      const isId = property !== undefined && property.targetKey === undefined
      const id = isId && value != null ? spellingOf(property, value, dialectOf(em)) : undefined
      if (type === 'create' && value == null) continue
      if (id !== undefined) keys.push(rowKey(other, id))
      // By the believed old value it could be the wrong one.
      else if (type === 'create' || isDelete(changeSet) || chosen || by in written || this.#renames(changeSet, em))
        keys.push(wholeEntityStamp(other))
    }
    const rule = isDelete(changeSet) ? 'deleteRule' : this.#renames(changeSet, em) ? 'updateRule' : undefined
    const below = rule === undefined ? [] : this.#cascades.below(em, meta.root, rule)
    if (rule === undefined && !mayRelate(changeSet, this.#cascades.ordersOf(em, meta.root.className))) return keys
    const going = rule === undefined ? [] : this.#cascades.going(em, meta.root, rule)
    return [...keys, ...this.#whole(below), ...this.#ofEnds(em, meta.root, going)]
  }

  /** `undefined` if what the row had or has is not known for certain. */
  #ofRow(changeSet: ChangeSet<object>, watched: Watched, em: EntityManager): readonly string[] | undefined {
    const { entity, type, meta, originalEntity } = changeSet
    const names = this.#shapeNames(meta.root)
    const before = this.#before.of(em, changeSet)
    // One that was not there when it was looked for may have come since, if it is written after all.
    if (type !== 'create' && names.length > 0 && before == null) return undefined
    // The database makes these itself, and MikroORM does not ask for them.
    if ([...names, ...watched.uniques].some((name) => propertyOfRow(meta, name)?.generated !== undefined)) return undefined
    const believed = (isDelete(changeSet) ? this.#deleted.get(entity) : originalEntity) as Values | undefined
    const old = before ? { ...believed, ...before } : believed
    const written = writtenValues(changeSet, em, before ?? undefined)
    const appearsOrGoes = type === 'create' || isDelete(changeSet)
    if (type !== 'create' && lacksValues(old, [...meta.root.primaryKeys, ...watched.uniques, ...names])) return undefined
    if (!isDelete(changeSet) && lacksValues(written, names)) return undefined
    const states = appearsOrGoes ? [isDelete(changeSet) ? (old ?? written) : written] : [old ?? {}, written]
    return keysOf(meta, watched, states, appearsOrGoes, dialectOf(em))
  }

  /** Whether a key by which others refer to the row changes. An update of several rows at once gives their ids back, as they were. */
  #renames({ type, meta, payload, originalEntity }: ChangeSet<object>, em: EntityManager): boolean {
    if (!type.startsWith('update')) return false
    const [written, before] = [payload as Values, originalEntity as Values | undefined]
    const keys = this.#cascades.keys(em, meta.root)
    return Object.keys(written).some((name) => keys.has(name) && String(written[name]) !== String(before?.[name]))
  }

  #whole(entities: readonly string[]): readonly string[] {
    return [...new Set(entities)].filter((name) => this.#watched.has(name)).map(wholeEntityStamp)
  }
}

/** Whether a row of a pivot table may then relate others than before, or in another order. */
function mayRelate({ type, meta, payload }: ChangeSet<object>, orders: ReadonlySet<string>): boolean {
  if (!type.startsWith('update')) return true
  return Object.keys(payload).some((name) => {
    const property = propertyOfRow(meta, name)
    if (property === undefined || property.primary || property.kind !== 'scalar') return true
    return property.fieldNames.some((column) => orders.has(column))
  })
}

function lacksValues(state: Values | undefined, names: readonly string[]): boolean {
  return state === undefined || names.some((name) => state[name] === undefined)
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
    const spelling = value === null ? null : spellingOf(propertyOfRow(meta, name) as EntityProperty, value, dialect)
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
    const kept = hasSpellings(propertyOfRow(meta, name) as EntityProperty, dialect)
    for (const value of values) {
      // Of a column without spellings no absence is kept, and what is found there is looked at again.
      if (value != null) keys.add(uniqueKey(entity, name, kept ? spelled(name, value) : plainText(value)))
    }
  }
  return certain ? [...keys] : undefined
}
