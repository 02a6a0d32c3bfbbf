import type { EntityName, MigrationObject } from '@mikro-orm/core'
import type { CachedQuery } from './cache/cached-query.ts'
import type { CachePolicy } from './cache/policy.ts'
import type { Dialect } from './database/sql.ts'
import { DataAccessError } from './errors.ts'
import { checkOptions, list, record, text } from './kernel/options.ts'
import type { DomainEventDefinition } from './outbox/define-event.ts'

/**
 * A domain's share of the data layer: its entities, the migrations of their tables, its events. `assessment` is one, and the
 * pattern for your own.
 */
export interface DataModule {
  /** Names the module in errors. */
  readonly name: string
  /** Default: none, as in a module that only lists events. */
  readonly entities?: readonly EntityName[]
  /** Per dialect the migrations in the order in which they run. Their names are permanent and unique across modules. */
  readonly migrations?: Readonly<Record<Dialect, readonly MigrationObject[]>>
  /**
   * The events that its units of work record, and that its relay reads; others are refused. Of an event that changed its shape
   * every version that is still stored.
   */
  readonly events?: readonly DomainEventDefinition[]
  /** How its rows and queries are cached. Every process that writes them must know them all. */
  readonly caches?: readonly (CachePolicy<never> | CachedQuery<never>)[]
}

/**
 * Checks the list of modules.
 *
 * @throws DataAccessError `OPTION_INVALID` for what is no module, an unknown part of one, or a name that two of them have.
 */
export function checkModules(modules: readonly DataModule[]): void {
  for (const [index, module] of modules.entries()) {
    checkOptions({ door: `modules[${index}]` }, module, {
      name: text,
      entities: list,
      migrations: record,
      events: list,
      caches: list,
    })
    const { name, migrations } = module
    const refuse = (why: string) => new DataAccessError('OPTION_INVALID', `modules[${index}]${why}`)
    if (name === undefined || name === '') throw refuse(' has no name; give it one, which errors call it by')
    if (migrations !== undefined) {
      checkOptions({ door: `modules[${index}]`, under: 'migrations' }, migrations, { postgresql: list, sqlite: list })
    }
    const first = modules.findIndex((each) => each.name === name)
    if (first === index) continue
    throw modules[first] === module
      ? refuse(`, "${name}", stands there twice; list it once`)
      : refuse(` has the name "${name}", as modules[${first}] has; give one of them another name`)
  }
}
