import type { EntityManager } from '@mikro-orm/core'

/** A method of an entity manager. */
export type ManagerMethod = (this: EntityManager, ...args: never[]) => unknown

/** What {@link overrideManagers} gives to work with. */
export interface ManagerClass {
  /** The methods as they were. */
  readonly own: EntityManager
  /** Puts a method, or an accessor, in front of the one of this name. */
  define(name: string, what: ManagerMethod | PropertyDescriptor): void
}

/** Overrides methods of an entity manager and of all that will be forked from it. */
export function overrideManagers(em: EntityManager, override: (managers: ManagerClass) => void): void {
  const Base = em.constructor as new (...args: never[]) => EntityManager
  const Overriding = class extends Base {}
  Object.defineProperty(Overriding, 'name', { value: Base.name })
  override({
    own: Base.prototype,
    define: (name, what) => {
      const descriptor = typeof what === 'function' ? { writable: true, value: what } : what
      Object.defineProperty(Overriding.prototype, name, { ...descriptor, configurable: true })
    },
  })
  // MikroORM makes every fork with the constructor of the entity manager that it forks.
  Object.setPrototypeOf(em, Overriding.prototype)
}
