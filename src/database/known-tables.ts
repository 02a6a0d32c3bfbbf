import type { EntityMetadata, EntityName, MikroORM } from '@mikro-orm/core'
import type { Optional } from '../kernel/options.ts'
import { type Dialect, dialectOf } from './sql.ts'

/** The part of a module that tells where its tables come from. */
export interface TableOwner {
  readonly name: string
  readonly entities?: readonly EntityName[] | undefined
  readonly migrations?: Optional<Record<Dialect, readonly unknown[]>> | undefined
}

/** The tables that our migrations and the modules' bring; those of an application's own are not among them. */
export class KnownTables {
  readonly #orm: MikroORM
  readonly #ours: readonly string[]
  readonly #owners: readonly TableOwner[]

  /** @param ours the tables that need no module. */
  constructor(orm: MikroORM, ours: readonly string[], owners: readonly TableOwner[]) {
    this.#orm = orm
    this.#ours = ours
    this.#owners = owners
  }

  /** What to do when a table is missing; `undefined` for one that is not known here. */
  cureOf(table: string): string | undefined {
    if (this.#ours.includes(table)) return 'Run `await data.migrate()`'
    const owner = this.#owners.find(({ entities = [] }) => entities.some((entity) => this.#tablesOf(entity).includes(table)))
    if (owner === undefined) return undefined
    const dialect = dialectOf(this.#orm)
    const add = `add one that creates it to \`migrations.${dialect}\` of the module, and run \`await data.migrate()\``
    if ((owner.migrations?.[dialect] ?? []).length === 0) return `Module "${owner.name}" has no migration for ${dialect}: ${add}`
    return `Run \`await data.migrate()\`. If it has run, module "${owner.name}" has no migration for this table: ${add}`
  }

  #tablesOf(entity: EntityName): readonly string[] {
    const meta: EntityMetadata | undefined = this.#orm.getMetadata().find(entity)
    return meta === undefined ? [] : [meta.tableName, ...meta.props.flatMap(({ pivotTable }) => pivotTable ?? [])]
  }
}
