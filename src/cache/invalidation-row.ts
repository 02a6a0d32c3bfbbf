import { defineEntity, p } from '@mikro-orm/core'

/** What a root transaction expires, written in it: found by any process when the one that committed did not get to do it. */
export const CacheInvalidation = defineEntity({
  name: 'CacheInvalidation',
  tableName: 'cache_invalidations',
  properties: {
    id: p.uuid().primary(),
    /** The keys belong to the processes that cache under this name: two applications can share a database and not a cache. */
    space: p.text(),
    keys: p.text(),
    /** By the database's clock. */
    createdAt: p.datetime(3).index(),
  },
})
