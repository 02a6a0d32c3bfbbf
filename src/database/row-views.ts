import { type EntityManager, type EntityMetadata, type MikroORM, Utils } from '@mikro-orm/core'
import { type ManagerMethod, overrideManagers } from './override-managers.ts'

type RuntimeFilter = Parameters<EntityManager['addFilter']>[0]

/** What was set on an entity manager, by which it may show other rows than the rest of the program sees. */
interface RowView {
  readonly filters: Map<string, RuntimeFilter>
  hasParams: boolean
}

/** Those that may have one. */
const views = new WeakMap<EntityManager, RowView>()
/** False in a program that never set anything of the kind: then nobody looks for more. */
let anyView = false

/** Where an ORM's entity managers are watched already. */
const watchedDrivers = new WeakSet<object>()

/**
 * Learns what narrows the view of an ORM's entity managers at run time: filters and their parameters, a session for row level
 * security, another schema. MikroORM tells of filters nowhere. Those made before it was called are not watched.
 */
export function watchViews({ driver, em }: MikroORM): void {
  if (watchedDrivers.has(driver)) return
  watchedDrivers.add(driver)
  if (em !== undefined) {
    watch(em)
    return
  }
  // An extension is registered before the first entity manager is made.
  const create = driver.createEntityManager
  driver.createEntityManager = (...args) => {
    const made = create.apply(driver, args)
    watch(made as EntityManager)
    return made
  }
}

/** True if the entity manager to which this one leads here may show other rows of these entities than others do. */
export function hasOwnView(em: EntityManager, metas: readonly EntityMetadata[]): boolean {
  const view = viewOf(em)
  if (view === undefined) return false
  return (
    hasOwnSession(em) ||
    [...view.filters.values()].some((filter) => filter.default !== false && metas.some((meta) => concerns(filter, meta)))
  )
}

/** True if the entity manager to which this one leads here has a session for row level security, or another schema. */
export function hasOwnSession(em: EntityManager): boolean {
  return viewOf(em) !== undefined && (em.schema !== undefined || em.getSessionContext() !== undefined)
}

/** True if filters that are on by default may get other parameters from it than from others. */
export function hasOwnFilterParams(em: EntityManager): boolean {
  return viewOf(em)?.hasParams === true
}

function viewOf(em: EntityManager): RowView | undefined {
  return anyView ? views.get(em.getContext(false)) : undefined
}

function concerns({ entity }: RuntimeFilter, { className, root }: EntityMetadata): boolean {
  if (entity === undefined) return true
  const names = Utils.asArray(entity as never).map((each) => Utils.className(each))
  return names.includes(className) || names.includes(root.className)
}

function openView(em: EntityManager): RowView {
  anyView = true
  const known = views.get(em)
  if (known !== undefined) return known
  const view = { filters: new Map(), hasParams: false }
  views.set(em, view)
  return view
}

function watch(em: EntityManager): void {
  overrideManagers(em, ({ own, define }) => {
    define('addFilter', function (options: RuntimeFilter) {
      own.addFilter.call(this, options)
      openView(this.getContext(false)).filters.set(options.name, options)
    })
    define('setFilterParams', function (...args: Parameters<EntityManager['setFilterParams']>) {
      own.setFilterParams.apply(this, args)
      openView(this.getContext(false)).hasParams = true
    })
    // Whatever sets a session comes by here.
    define('mergeSessionContext', function (...args: never[]) {
      ;(own as unknown as { mergeSessionContext: ManagerMethod }).mergeSessionContext.apply(this, args)
      openView(this)
    })
    define('fork', function (options: Parameters<EntityManager['fork']>[0] = {}) {
      const from = options.disableContextResolution ? this : this.getContext(false)
      const fork = own.fork.call(this, options)
      const view = views.get(from)
      if (view !== undefined) views.set(fork, { filters: new Map(view.filters), hasParams: view.hasParams })
      else if (options.schema !== undefined) openView(fork)
      return fork
    })
    const schema = accessorOf(own, 'schema')
    define('schema', {
      ...schema,
      set(this: EntityManager, value: string | null | undefined) {
        schema?.set?.call(this, value)
        openView(this.getContext(false))
      },
    })
  })
}

function accessorOf(own: object, name: string): PropertyDescriptor | undefined {
  for (let object: object | null = own; object !== null; object = Object.getPrototypeOf(object)) {
    const found = Object.getOwnPropertyDescriptor(object, name)
    if (found !== undefined) return found
  }
  return undefined
}
