import { type EntityManager, FlushMode, type MikroORM } from '@mikro-orm/core'
import { overrideManagers } from './override-managers.ts'

/** MikroORM does not tell the mode of an entity manager. */
const always = new WeakSet<EntityManager>()
const watched = new WeakSet<MikroORM>()

/** Whether an entity manager writes all its changes before each find, also edits. */
export function flushesAlways(em: EntityManager): boolean {
  return always.has(em) || em.config.get('flushMode') === FlushMode.ALWAYS
}

/** Learns the flush modes of all entity managers that will be forked from an ORM's, by `fork()` or `setFlushMode()`. May be called twice. */
export function watchFlushModes(orm: MikroORM): void {
  if (watched.has(orm)) return
  watched.add(orm)
  overrideManagers(orm.em, ({ own, define }) => {
    // A fork gets its mode here too.
    define('setFlushMode', function (mode: Parameters<EntityManager['setFlushMode']>[0]) {
      own.setFlushMode.call(this, mode)
      const em = this.getContext(false)
      if (mode === FlushMode.ALWAYS) always.add(em)
      else always.delete(em)
    })
  })
}
