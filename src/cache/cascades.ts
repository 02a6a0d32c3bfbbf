import type { EntityManager, EntityMetadata, EntityProperty } from '@mikro-orm/core'
import { isOwningToOne } from '../database/key-lookup.ts'

/** What may happen to a row, of its own and to those that refer to it, by which rules of their foreign keys. */
export type Cascade = 'deleteRule' | 'updateRule'

/**
 * An entity whose rows hold the id of a row of another table: since MikroORM joins the owner of a one-to-one relation, and makes a
 * subquery of one `through()` another entity.
 */
export interface Showing {
  readonly entity: string
  /** The property of that table's rows by which they are found. */
  readonly by: string
  /** Whether other properties decide as well which row is shown. */
  readonly chosen: boolean
}

/** Rules by which a row that refers to another one stays when that goes. */
const staying: ReadonlySet<string | undefined> = new Set(['restrict', 'no action', 'set null', 'set default'])

/** Knows the entities whose rows change, without a change set of their own, together with those of another one. */
export class Cascades {
  readonly #below = new Map<string, readonly string[]>()
  readonly #going = new Map<string, readonly string[]>()
  readonly #showing = new Map<string, readonly Showing[]>()
  readonly #keys = new Map<string, ReadonlySet<string>>()
  readonly #related = new Map<string, readonly (readonly EntityMetadata[])[]>()
  readonly #others = new Map<string, readonly EntityMetadata[]>()
  readonly #orders = new Map<string, ReadonlySet<string>>()

  /**
   * Those whose rows the database may delete or change by itself when a row of this entity goes, or when one of its keys changes, and those
   * that show such rows.
   */
  below(em: EntityManager, root: EntityMetadata, cascade: Cascade): readonly string[] {
    return known(this.#below, `${cascade} ${root.className}`, () => {
      const found = new Set<string>()
      const visited = new Set<string>()
      const visit = (from: EntityMetadata) => {
        for (const { entity } of this.showing(em, from)) found.add(entity)
        for (const { meta: child, prop } of referringTo(em, from)) {
          if (!isOwningToOne(prop) || prop[cascade] === 'restrict' || prop[cascade] === 'no action') continue
          found.add(child.root.className)
          if (visited.has(child.root.className)) continue
          visited.add(child.root.className)
          visit(child.root)
        }
      }
      visit(root)
      return [...found]
    })
  }

  /** This entity and those whose own rows may go, or get another key, with one of it: what only changes, or shows it, stays related as it was. */
  going(em: EntityManager, root: EntityMetadata, cascade: Cascade): readonly string[] {
    return known(this.#going, `${cascade} ${root.className}`, () => {
      const found = new Set([root.className])
      const visit = (from: EntityMetadata) => {
        for (const { meta: child, prop } of referringTo(em, from)) {
          if (!isOwningToOne(prop) || staying.has(prop[cascade]) || found.has(child.root.className)) continue
          found.add(child.root.className)
          visit(child.root)
        }
      }
      visit(root)
      return [...found]
    })
  }

  /** The properties by which rows of others refer to one of this entity: its id, and what a relation names as its `targetKey`. */
  keys(em: EntityManager, root: EntityMetadata): ReadonlySet<string> {
    return known(this.#keys, root.className, () => {
      return new Set<string>([...root.primaryKeys, ...referringTo(em, root).flatMap(({ prop }) => prop.targetKey ?? [])])
    })
  }

  /** Whether a write to this property, or column, may change a key. */
  mayChangeKey(em: EntityManager, root: EntityMetadata, name: string): boolean {
    const plain = name.slice(name.lastIndexOf('.') + 1)
    const properties = classesOf(em, root).flatMap(({ props }) => props as EntityProperty[])
    const named = properties.filter((property) => property.name === plain || property.fieldNames?.includes(plain))
    const keys = this.keys(em, root)
    // The database makes a generated one of others.
    const follows = properties.some(({ name, generated }) => generated !== undefined && keys.has(name))
    return follows || named.length === 0 || named.some((property) => keys.has(property.name))
  }

  /** Those whose rows show which row of this entity belongs to them. */
  showing(em: EntityManager, { root }: EntityMetadata): readonly Showing[] {
    return known(this.#showing, root.className, () => {
      const found: Showing[] = []
      for (const { relations, root: other } of em.getMetadata()) {
        for (const relation of relations) {
          const shown = shownBy(em, relation)
          if (shown?.table.root.className !== root.className) continue
          found.push({ entity: other.className, by: shown.by, chosen: relation.through !== undefined })
        }
      }
      return found
    })
  }

  /** The ends of each relation of many to many whose pivot table is that of this entity. */
  relatedBy(em: EntityManager, className: string): readonly (readonly EntityMetadata[])[] {
    return known(this.#related, className, () => relationsBy(em, className).map(endsOf))
  }

  /** The other ends of the relations of many to many of an entity: the rows of their pivot tables go with its own. */
  relatedTo(em: EntityManager, className: string): readonly EntityMetadata[] {
    return known(this.#others, className, () => {
      const found = pivotRelations(em).flatMap((relation) => {
        const ends = endsOf(relation)
        const own = ends.findIndex((end) => end.className === className)
        return own < 0 ? [] : ends.toSpliced(own, 1)
      })
      return [...new Set(found)]
    })
  }

  /** The columns of a pivot entity by which its relations are ordered. */
  ordersOf(em: EntityManager, className: string): ReadonlySet<string> {
    return known(this.#orders, className, () => {
      return new Set(relationsBy(em, className).flatMap(({ property }) => property.fixedOrderColumn ?? []))
    })
  }
}

/** What a map knows under a key: it is found out once, since metadata stay as they are. */
function known<Value>(map: Map<string, Value>, key: string, find: () => Value): Value {
  const value = map.get(key) ?? find()
  map.set(key, value)
  return value
}

/** The relations that lead to an entity. What refers to a subclass stands in the subclass's own list. */
function referringTo(em: EntityManager, root: EntityMetadata) {
  return classesOf(em, root).flatMap(({ referencingProperties }) => referencingProperties)
}

interface PivotRelation {
  readonly root: EntityMetadata
  readonly property: EntityProperty
}

/** All relations of many to many. */
function pivotRelations(em: EntityManager): readonly PivotRelation[] {
  return [...em.getMetadata()].flatMap(({ relations, root }) =>
    relations.filter(({ kind }) => kind === 'm:n').map((property) => ({ root, property })),
  )
}

/** Those whose rows are those of a pivot entity. */
function relationsBy(em: EntityManager, className: string): readonly PivotRelation[] {
  return pivotRelations(em).filter(
    ({ property }) => em.getMetadata().find(property.pivotEntity as never)?.root.className === className,
  )
}

function endsOf({ root, property }: PivotRelation): readonly EntityMetadata[] {
  return [root, ...targetsOf(property).map((target) => target.root)]
}

/** The table of which a relation shows a row that its own row does not refer to. */
function shownBy(em: EntityManager, { kind, owner, targetMeta, mappedBy, through }: EntityProperty) {
  if (through !== undefined) return { table: em.getMetadata().get(through.entity), by: through.ownerProperty }
  return kind === '1:1' && !owner && targetMeta !== undefined ? { table: targetMeta, by: mappedBy } : undefined
}

/** The entities that a relation may lead to: several, if it is a polymorphic one. */
export function targetsOf({ targetMeta, polymorphTargets }: EntityProperty): readonly EntityMetadata[] {
  return (polymorphTargets ?? [targetMeta]).filter((meta) => meta !== undefined)
}

/** All classes whose rows are kept under one root, told by name: entities know the metadata of the ORM that was opened last. */
export function classesOf(orm: Pick<EntityManager, 'getMetadata'>, { root }: EntityMetadata): readonly EntityMetadata[] {
  return [...orm.getMetadata()].filter((meta) => meta.embeddable !== true && meta.root.className === root.className)
}
