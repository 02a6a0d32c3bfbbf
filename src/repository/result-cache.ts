import type { EntityManager } from '@mikro-orm/core'

/**
 * Lets an entity manager and its forks read past MikroORM's own result cache, which is asked by `cache` of a find and by `resultCache.global`
 * of the configuration: no commit ends what is in there.
 */
export function pastResultCache<Manager extends EntityManager>(em: Manager): Manager {
  const { fork } = em
  return Object.assign(em, {
    tryCache: async () => undefined,
    storeCache: async () => {},
    fork: (options?: Parameters<EntityManager['fork']>[0]) => pastResultCache(fork.call(em, options)),
  })
}
