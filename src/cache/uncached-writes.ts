import { type EntityMetadata, type MikroORM, Utils } from '@mikro-orm/core'
import type { CommitParticipant } from '../database/commit-participant.ts'
import type { FlushedChanges } from '../database/flushed-changes.ts'
import type { Logger } from '../kernel/logger.ts'
import type { BulkWrite, BulkWriteObserver } from './bulk-writes.ts'
import type { CachedQuery } from './cached-query.ts'
import { listenToBulkWrites } from './orm-hooks.ts'
import type { CachePolicy } from './policy.ts'

type Modules = readonly { readonly caches?: readonly (CachePolicy<never> | CachedQuery<never>)[] | undefined }[]

/**
 * Takes the place of a cache in a process that has none: what it writes expires nothing, and processes that do cache would serve what was
 * before until its ttl. Warns of that once, when it first writes what modules cache.
 */
export function watchUncached(orm: MikroORM, modules: Modules, logger: Logger): CommitParticipant {
  const writes = new UncachedWrites(modules, logger)
  listenToBulkWrites(orm, writes)
  return writes
}

class UncachedWrites implements CommitParticipant, BulkWriteObserver {
  readonly name = 'cache'
  readonly #cached: ReadonlySet<string>
  readonly #logger: Logger
  #warned = false

  constructor(modules: Modules, logger: Logger) {
    const caches = modules.flatMap((module) => module.caches ?? [])
    const entities = caches.flatMap((cache) =>
      cache.kind === 'policy' ? [cache.entity] : cache.shapes.map(({ entity }) => entity),
    )
    this.#cached = new Set(entities.map((entity) => Utils.className(entity)))
    this.#logger = logger
  }

  flushed({ changeSets }: FlushedChanges): void {
    for (const { meta } of changeSets) this.#written(meta)
  }

  wantsTransaction(): boolean {
    return false
  }

  async wrote({ meta }: BulkWrite): Promise<void> {
    this.#written(meta)
  }

  #written({ className, root }: EntityMetadata): void {
    if (this.#warned || !(this.#cached.has(className) || this.#cached.has(root.className))) return
    this.#warned = true
    this.#logger.warn(
      `This process writes ${className}, which a module caches, and has no cache itself: where other processes cache, give it the same one, ` +
        'createDataAccess({ cache: redisCache({ url, prefix }) }), or they serve what was before until its ttl',
    )
  }
}
