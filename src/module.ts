import type { EntityName, MigrationObject } from '@mikro-orm/core'
import type { CachedQuery } from './cache/cached-query.ts'
import type { CachePolicy } from './cache/policy.ts'
import type { Dialect } from './database/sql.ts'
import { DataAccessError } from './errors.ts'
import { checkOptions, describeValue, list, record, text } from './kernel/options.ts'
import type { DomainEventDefinition } from './outbox/event/define-event.ts'

/**
 * A domain's share of the data layer: its entities, the migrations of their tables, its events. `assessment` is one, and the
 * pattern for your own.
 */
export interface DataModule {
  /** Names the module in errors; not empty, and unique among the modules of a data access. */
  readonly name: string
  /** Default: none, as in a module that only lists events. */
  readonly entities?: readonly EntityName[] | undefined
  /**
   * Per dialect the migrations in the order in which they run; a dialect that is never connected to may be left out. Their names are
   * permanent and unique across modules.
   */
  readonly migrations?: { readonly [Each in Dialect]?: readonly MigrationObject[] | undefined } | undefined
  /**
   * The events that its units of work record, and that its relay reads; others are refused. Of an event that changed its shape
   * every version that is still stored.
   */
  readonly events?: readonly DomainEventDefinition[] | undefined
  /** How its rows and queries are cached. Every process that writes them must know them all. */
  readonly caches?: readonly (CachePolicy<never> | CachedQuery<never>)[] | undefined
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
    checkParts(index, module)
    const first = modules.findIndex((each) => each.name === name)
    if (first === index) continue
    throw modules[first] === module
      ? refuse(`, "${name}", stands there twice; list it once`)
      : refuse(` has the name "${name}", as modules[${first}] has; give one of them another name`)
  }
}

/** Types promise more than an import: of two files that import each other, one finds `undefined` in the other. */
function checkParts(index: number, { entities = [], migrations, caches = [] }: DataModule): void {
  const kindOf = (value: unknown) => (typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined)
  const isEntity = (value: unknown) => typeof value === 'function' || (typeof value === 'object' && value !== null)
  const isMigration = (value: unknown) => {
    const { name, class: type } = (value ?? {}) as Partial<Record<'name' | 'class', unknown>>
    return typeof name === 'string' && name !== '' && typeof type === 'function'
  }
  const check = (part: string, values: readonly unknown[], fits: (value: unknown) => boolean, give: string) => {
    const place = values.findIndex((value) => !fits(value))
    if (place < 0) return
    throw new DataAccessError(
      'OPTION_INVALID',
      `modules[${index}].${part}[${place}] is ${describeValue(values[place])}; give ${give}. If it is imported, see whether two files import each other`,
    )
  }
  check('entities', entities, isEntity, 'an entity class or schema')
  for (const [dialect, list = []] of Object.entries(migrations ?? {})) {
    check(`migrations.${dialect}`, list, isMigration, 'an object of name and class')
  }
  const isCache = (value: unknown) => kindOf(value) === 'policy' || kindOf(value) === 'query'
  check('caches', caches, isCache, 'what cachePolicy(User) or cachedQuery({ … }) returned')
}
