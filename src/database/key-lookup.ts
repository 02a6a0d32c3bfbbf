import { type EntityMetadata, type EntityProperty, type MetadataStorage, ReferenceKind } from '@mikro-orm/core'

/** A query that reads what belongs to one key, and could have read what belongs to many. */
export interface KeyLookup {
  readonly table: string
  readonly column: string
  /** Which of the parameters is the key. */
  readonly position: number
}

/** A relation as one writes it, `User.scores`, and what loads it along: an entity and a path to populate. */
export interface NamedRelation {
  readonly name: string
  readonly entity: string
  readonly property: string
}

const tableWithAlias = /["`](\w+)["`] as ["`](\w+)["`]/gi
const oneKey = /["`](\w+)["`]\.["`](\w+)["`] (?:= \?|in \(\?\))/g

/**
 * Finds the conditions of a query, written by MikroORM, that pick one key. A list of several keys is none: that is the query
 * which loads for many at once. Nor is a query that locks, since it prepares a write.
 */
export function keyLookups(sql: string): KeyLookup[] {
  const where = sql.lastIndexOf(' where ')
  if (where < 0 || !/^select\b/i.test(sql) || /\bfor (no key )?(update|share)\b/i.test(sql)) return []
  const tables = new Map<string, string>()
  for (const [, table = '', alias = ''] of sql.slice(0, where).matchAll(tableWithAlias)) tables.set(alias, table)
  const before = placeholders(sql.slice(0, where))
  const conditions = sql.slice(where)
  return [...conditions.matchAll(oneKey)].flatMap(({ 1: alias = '', 2: column = '', index }) => {
    const table = tables.get(alias)
    return table === undefined ? [] : [{ table, column, position: before + placeholders(conditions.slice(0, index)) }]
  })
}

/** What a looked-up key tells of the relation that is being loaded. */
export interface KeyMeaning {
  /** `column`: exactly one, told by a foreign key. `candidates`: a primary key serves every relation to its entity. */
  readonly told: 'column' | 'candidates'
  readonly relations: readonly NamedRelation[]
}

/** Tells which relations a lookup may load; undefined when its column is no key at all. */
export function meaningOf({ table, column }: KeyLookup, metadata: MetadataStorage): KeyMeaning | undefined {
  const all = [...metadata.getAll().values()]
  const owner = all.find(({ tableName }) => tableName === table)
  const property = owner?.props.find(({ fieldNames }) => fieldNames?.length === 1 && fieldNames[0] === column)
  if (owner === undefined || property === undefined) return undefined
  if (owner.pivotTable) return { told: 'column', relations: throughPivot(owner, column, all) }
  if (isOwningToOne(property)) return { told: 'column', relations: [inverseOf(owner, property) ?? named(owner, property)] }
  if (property.primary) return { told: 'candidates', relations: relationsTo(owner, all) }
  return property.unique ? { told: 'candidates', relations: [] } : undefined
}

/** The entity of a table, as one writes it. */
export function entityOf(table: string, metadata: MetadataStorage): string {
  return [...metadata.getAll().values()].find(({ tableName }) => tableName === table)?.className ?? table
}

/** Whether an entity's own row refers to another one by this property. */
export function isOwningToOne({ kind, owner }: EntityProperty): boolean {
  return kind === ReferenceKind.MANY_TO_ONE || (kind === ReferenceKind.ONE_TO_ONE && owner)
}

/** `inversedBy` names it, or else the other side says `mappedBy`. Metadata of a target is a copy, so names are compared. */
function inverseOf(owner: EntityMetadata, { name, targetMeta, inversedBy }: EntityProperty): NamedRelation | undefined {
  const inverse = targetMeta?.props.find(
    (property) => property.name === inversedBy || (property.mappedBy === name && isTarget(property, owner)),
  )
  return targetMeta === undefined || inverse === undefined ? undefined : named(targetMeta, inverse)
}

function isTarget({ targetMeta }: EntityProperty, meta: EntityMetadata): boolean {
  return targetMeta?.className === meta.className
}

function relationsTo(target: EntityMetadata, all: readonly EntityMetadata[]): NamedRelation[] {
  return all.flatMap((meta) =>
    meta.props
      .filter((property) => isOwningToOne(property) && isTarget(property, target))
      .map((property) => named(meta, property)),
  )
}

function throughPivot(pivot: EntityMetadata, column: string, all: readonly EntityMetadata[]): NamedRelation[] {
  return all.flatMap((meta) =>
    meta.props
      .filter((property) => property.kind === ReferenceKind.MANY_TO_MANY && property.pivotTable === pivot.tableName)
      .filter(({ joinColumns }) => joinColumns?.includes(column))
      .map((property) => named(meta, property)),
  )
}

function named({ className }: EntityMetadata, { name }: EntityProperty): NamedRelation {
  return { name: `${className}.${name}`, entity: className, property: name }
}

function placeholders(sql: string): number {
  return sql.split('?').length - 1
}
