import { type EntityManager, type EntityMetadata, type MikroORM, Utils } from '@mikro-orm/core'
import { descriptorOf } from '../kernel/descriptor.ts'
import { type ManagerMethod, overrideManagers } from './override-managers.ts'

type RuntimeFilter = Parameters<EntityManager['addFilter']>[0]

/** What was set on an entity manager, by which it may show other rows than the rest of the program sees. */
interface RowView {
  readonly filters: Map<string, RuntimeFilter>
}

/** Those that may have one. */
const views = new WeakMap<EntityManager, RowView>()
/** False in a program that never set anything of the kind: then nobody looks for more. */
let anyView = false

/** Where an ORM's entity managers are watched already. */
const watchedDrivers = new WeakSet<object>()

/**
 * Learns what narrows the view of an ORM's entity managers at run time: filters, a session for row level security, another schema.
 * MikroORM tells of filters nowhere. Those made before it was called are not watched.
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

/**
 * The entity manager to which this one leads here. ORMs may share a name, and with it the context: in a transaction or request of
 * another one it is a fork of this one, which no context changes.
 */
export function ownContext(em: EntityManager): EntityManager {
  const context = em.getContext(false)
  if (context.getDriver() === em.getDriver()) return context
  return em.fork({ disableContextResolution: true, keepTransactionContext: true })
}

/**
 * True if the entity manager to which this one leads here may show other rows than others do.
 *
 * @param metas of these entities; left out, of any.
 */
export function hasOwnView(em: EntityManager, metas?: readonly EntityMetadata[]): boolean {
  if (!anyView) return false
  const own = ownContext(em)
  const view = views.get(own)
  if (view === undefined) return false
  if (hasSession(own)) return true
  const filters = [...view.filters.values()].filter((filter) => filter.default !== false)
  return filters.some((filter) => metas === undefined || metas.some((meta) => concerns(filter, meta)))
}

/** True if the entity manager to which this one leads here has a session for row level security, or another schema. */
export function hasOwnSession(em: EntityManager): boolean {
  if (!anyView) return false
  const own = ownContext(em)
  return views.has(own) && hasSession(own)
}

function hasSession(em: EntityManager): boolean {
  return em.schema !== undefined || em.getSessionContext() !== undefined
}

/** Whether a filter is one of this entity's too. */
export function concerns({ entity }: Pick<RuntimeFilter, 'entity'>, meta: EntityMetadata): boolean {
  if (entity === undefined) return true
  // A class by itself: its name need not be that of its entity.
  return Utils.asArray<never>(entity as never).some((each) => [meta, meta.root].some((one) => Utils.matchesEntity(each, one)))
}

function openView(em: EntityManager): RowView {
  anyView = true
  const known = views.get(em)
  if (known !== undefined) return known
  const view = { filters: new Map() }
  views.set(em, view)
  return view
}

function watch(em: EntityManager): void {
  overrideManagers(em, ({ own, define }) => {
    define('addFilter', function (options: RuntimeFilter) {
      own.addFilter.call(this, options)
      openView(this.getContext(false)).filters.set(options.name, options)
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
      if (view !== undefined) views.set(fork, { filters: new Map(view.filters) })
      else if (options.schema !== undefined) openView(fork)
      return fork
    })
    const schema = descriptorOf(own, 'schema')
    define('schema', {
      ...schema,
      set(this: EntityManager, value: string | null | undefined) {
        schema?.set?.call(this, value)
        openView(this.getContext(false))
      },
    })
  })
}
