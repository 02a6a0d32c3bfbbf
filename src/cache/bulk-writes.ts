import { type EntityManager, type EntityMetadata, type MikroORM, Utils } from '@mikro-orm/core'

/** A write that passed an entity manager without change sets. */
export interface BulkWrite {
  /** The entity manager in whose transaction it ran, if it is in one. */
  readonly em: EntityManager
  readonly meta: EntityMetadata
  readonly deletes: boolean
}

/** The methods of an entity manager, and so of its repositories, that write without change sets. */
const methods = ['insert', 'insertMany', 'upsert', 'upsertMany', 'clone', 'nativeUpdate', 'nativeDelete'] as const

type Method = (...args: readonly unknown[]) => Promise<unknown>

/**
 * Tells of every bulk write through an ORM's entity managers, before the caller hears of it: MikroORM raises no event for them.
 * Also of a write that failed, since after a lost connection it may have taken place. Entity managers forked earlier are not
 * watched.
 */
export function watchBulkWrites(orm: MikroORM, wrote: (write: BulkWrite) => Promise<void>): void {
  const Base = orm.em.constructor as new (...args: never[]) => EntityManager
  const Watched = class extends Base {}
  Object.defineProperty(Watched, 'name', { value: Base.name })
  for (const method of methods) {
    Object.defineProperty(Watched.prototype, method, {
      configurable: true,
      writable: true,
      async value(this: EntityManager, ...args: unknown[]): Promise<unknown> {
        try {
          return await ((Base.prototype as unknown as Record<string, Method>)[method] as Method).apply(this, args)
        } finally {
          const meta = metadataOf(orm, args[0])
          if (meta !== undefined) await wrote({ em: this.getContext(false), meta, deletes: method === 'nativeDelete' })
        }
      },
    })
  }
  // MikroORM makes every fork with the constructor of the entity manager that it forks.
  Object.setPrototypeOf(orm.em, Watched.prototype)
}

/** Bulk writes take an entity's class, schema or name, or entities themselves. */
function metadataOf(orm: MikroORM, what: unknown): EntityMetadata | undefined {
  const first: unknown = Array.isArray(what) ? what[0] : what
  if (first === undefined) return undefined
  return orm.getMetadata().find((Utils.isEntity(first) ? (first as object).constructor : first) as never)
}
