import { Collection, helper } from '@mikro-orm/core'

/** Of more items MikroORM takes seconds to take them out one by one: for each it writes down the place of all others. */
const many = 500

/** A relation to many, as it stood or stands in the database. */
export interface Items {
  readonly collection: Collection<object> | undefined
  /** Undefined if they are not loaded. */
  readonly items: readonly object[] | undefined
  /** Whether they are only a part. */
  readonly partial: boolean
}

/** Takes down what a relation holds. */
export function itemsOf(collection: Collection<object> | undefined): Items {
  const items = collection?.isInitialized() === true ? collection.getItems(false) : undefined
  return { collection, items, partial: collection?.isPartial() === true }
}

/** The relations to many that are loaded now, and were not before: as a whole, since no other query is known that asks for a part. */
export function loadedRelations(entity: object, before?: ReadonlyMap<string, Items>): Map<string, Collection<object>> {
  const loaded = new Map<string, Collection<object>>()
  for (const { name, kind } of helper<object>(entity).__meta.relations) {
    if (kind !== '1:m' && kind !== 'm:n') continue
    const collection = entity[name] as Collection<object> | undefined
    if (before?.get(name)?.items !== undefined || collection?.isInitialized() !== true) continue
    if (!collection.isPartial() && !isReadonly(collection)) loaded.set(name, collection)
  }
  return loaded
}

/** Puts a relation back, and keeps its object where it can: who has that in a variable may go on with it. */
export function putBackItems(entity: Record<string, unknown>, name: string, { collection: kept, items, partial }: Items): void {
  // One that was only a reference had none.
  const collection = kept ?? (entity[name] as Collection<object> | undefined)
  if (collection === undefined) return
  if (entity[name] !== collection) entity[name] = collection
  const readonly = isReadonly(collection)
  const anew = collection.isInitialized() || collection.getItems(false).length > many
  if (items === undefined && anew) Collection.create(entity as object, name as never, undefined, false)
  else if (items !== undefined && !readonly && collection.property.kind === 'm:n') collection.hydrate([...items], true, partial)
  else {
    if (items !== undefined && !readonly) collection.hydrate([], false, partial)
    // Without a word to the other end, whose row knows better who its owner is.
    for (const item of collection.getItems(false)) collection.removeWithoutPropagation(item)
    for (const item of items ?? []) collection.addWithoutPropagation(item)
    collection.takeSnapshot()
  }
}

/** Leaves a relation with those of its items that have a row, and as one that was not edited. */
export function keepStored(collection: Collection<object>): void {
  const items = collection.getItems(false)
  const stored = items.filter((item) => !helper(item).__initialized || helper(item).__originalEntityData !== undefined)
  if (stored.length < items.length) {
    collection.hydrate([])
    for (const item of stored) collection.addWithoutPropagation(item)
  }
  collection.takeSnapshot()
}

/** MikroORM does not say so, but refuses an edit. */
function isReadonly(collection: Collection<object>): boolean {
  try {
    collection.add([])
    return false
  } catch {
    return true
  }
}
