import type { EntityManager, EntityName } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import { type Complete, callable, checkOptions, oneOf, text, wholeFrom } from '../kernel/options.ts'
import { completeLifetime, type Lifetime, lifetimeOptions } from './policy.ts'

/** The rows on which a query's result depends; made by {@link dep}. */
export interface Dependency {
  /** Its class or schema. */
  readonly entity: EntityName
  /** By property: the rows that have these values, `null` for none. Empty: every row. */
  readonly values: Readonly<Record<string, unknown>>
}

/**
 * Names the rows on which a query's result depends: those whose properties have these values, before or after a change. Give
 * relations by their id. Without values the result depends on every row of the entity.
 */
export function dep<Entity extends object>(
  entity: EntityName<Entity>,
  values?: Readonly<Partial<Record<keyof Entity & string, unknown>>>,
): Dependency {
  return { entity, values: values ?? {} }
}

/** What {@link cachedQuery} takes. */
export interface CachedQueryOptions<Params, Result> extends Lifetime {
  /** Unique among the queries of a data access, not empty, and permanent: it stands in the keys. */
  readonly name: string
  /**
   * The rows on which the result depends. Which entities and properties it names must not depend on the parameters, since
   * processes that never run the query must know what to expire: return an array literal.
   */
  readonly dependsOn: (params: Params) => readonly Dependency[]
  /**
   * Reads from the database through the entity manager that it is given. A result of entities of one class with a cache
   * policy, or null, is kept as ids; anything else must be plain data and is kept as it is.
   */
  readonly run: (em: EntityManager, params: Params) => Promise<Result>
  /**
   * `false` says that `run` reads past all filters, by `{ filters: false }`, and that its parameters name whatever tells callers apart, such
   * as their tenant: then callers with filters get cached results too, also while the ORM has filters whose condition is a function. Without it they are answered by the
   * database.
   */
  readonly filters?: false | undefined
  /** Change it when the meaning of the result changes; a whole number from 0. Default 1. */
  readonly version?: number | undefined
}

/** A query whose results are cached; made by {@link cachedQuery}. */
export interface CachedQuery<Params = never, Result = unknown> {
  /** Tells it from a policy, among the caches of a module. */
  readonly kind: 'query'
  /** Unique among the queries of a data access, and permanent: it stands in the keys. */
  readonly name: string
  /** Gives the rows on which the result for these parameters depends; at least one {@link dep}. */
  readonly dependsOn: (params: Params) => readonly Dependency[]
  /** Reads the result for these parameters from the database, by an entity manager that the cache gives. */
  readonly run: (em: EntityManager, params: Params) => Promise<Result>
  /** Results of another version are no hits; a whole number from 0. */
  readonly version: number
  /** Whether the filters of a caller may change the result. */
  readonly filters: boolean
  /** With the defaults filled in; times in milliseconds. */
  readonly lifetime: Complete<Lifetime>
  /** What it depends on, with the names of the properties alone. */
  readonly shapes: readonly DependencyShape[]
}

/** An entity and the properties by whose values queries depend on it. */
export interface DependencyShape {
  /** Its class or schema. */
  readonly entity: EntityName
  /** Their names, sorted; empty: it depends on every row. */
  readonly properties: readonly string[]
}

/**
 * Declares a query whose results are cached until a row on which they depend changes, or the ttl ends.
 *
 * @throws DataAccessError `OPTION_INVALID` if `dependsOn` does not give an array of at least one dependency whatever the parameters are, an
 * option is missing or unknown, or a time is out of range.
 */
export function cachedQuery<Params, Result>(options: CachedQueryOptions<Params, Result>): CachedQuery<Params, Result> {
  const own = { name: text, dependsOn: callable, run: callable, version: wholeFrom(0), filters: oneOf(false) }
  checkOptions({ door: 'cachedQuery' }, options, { ...lifetimeOptions, ...own })
  const { name, dependsOn, run, version = 1, filters = true, ...lifetime } = options
  if (!name || dependsOn === undefined || run === undefined) {
    throw new DataAccessError('OPTION_INVALID', `cachedQuery ${name ? `"${name}" ` : ''}needs name, dependsOn and run`)
  }
  const shapes = probe(name, dependsOn)
  return { kind: 'query', name, dependsOn, run, version, filters, shapes, lifetime: completeLifetime(lifetime) }
}

/** The dependencies for some parameters, whose shapes are those that every process knows. */
export function dependenciesOf<Params>(query: CachedQuery<Params>, params: Params): readonly Dependency[] {
  const dependencies = query.dependsOn(params)
  for (const dependency of dependencies) {
    const known = query.shapes.some(
      (shape) => shape.entity === dependency.entity && shape.properties.join() === propertiesOf(dependency).join(),
    )
    if (!known) throw shapeError(query.name)
  }
  return dependencies
}

/** Runs `dependsOn` with stand-ins for the parameters, to learn what it names. */
function probe<Params>(name: string, dependsOn: (params: Params) => readonly Dependency[]): readonly DependencyShape[] {
  const standIn: unknown = new Proxy(() => undefined, {
    get: (_target, property) => (property === Symbol.toPrimitive ? () => '' : standIn),
    apply: () => standIn,
  })
  try {
    const dependencies: unknown = dependsOn(standIn as Params)
    if (!Array.isArray(dependencies) || dependencies.length === 0) throw new Error('not a list with at least one dependency')
    return dependencies.map((dependency: Dependency) => ({
      entity: dependency.entity,
      properties: propertiesOf(dependency),
    }))
  } catch (error) {
    throw shapeError(name, error)
  }
}

function propertiesOf({ values }: Dependency): readonly string[] {
  return Object.keys(values).sort()
}

function shapeError(name: string, cause?: unknown): DataAccessError {
  return new DataAccessError(
    'OPTION_INVALID',
    `dependsOn of the cached query ${name} names other entities or properties for other parameters; return an array literal of dep(…)`,
    { cause },
  )
}
