import type { FlushedChanges } from '../database/flushed-changes.ts'
import type { CommitParticipant } from '../database/transaction-subscriber.ts'
import type { Logger } from '../kernel/logger.ts'
import type { CachedQuery } from './cached-query.ts'
import type { CachePolicy } from './policy.ts'

/**
 * Takes the place of a cache in a process that has none: what it writes expires nothing, and processes that do cache would serve what was
 * before until its ttl. Warns of that once, when it first writes what modules cache.
 */
export class UncachedWrites implements CommitParticipant {
  readonly name = 'cache'
  readonly #cached: ReadonlySet<string>
  readonly #logger: Logger
  #warned = false

  constructor(
    modules: readonly { readonly caches?: readonly (CachePolicy<never> | CachedQuery<never>)[] | undefined }[],
    logger: Logger,
  ) {
    const caches = modules.flatMap((module) => module.caches ?? [])
    const entities = caches.flatMap((cache) =>
      cache.kind === 'policy' ? [cache.entity] : cache.shapes.map(({ entity }) => entity),
    )
    this.#cached = new Set(entities.map(({ name }) => name))
    this.#logger = logger
  }

  flushed({ changeSets }: FlushedChanges): void {
    if (this.#warned) return
    const written = changeSets.find(({ meta }) => this.#cached.has(meta.className) || this.#cached.has(meta.root.className))
    if (written === undefined) return
    this.#warned = true
    this.#logger.warn(
      `This process writes ${written.meta.className}, which a module caches, and has no cache itself: where other processes cache, give it the same one, ` +
        'createDataAccess({ cache: redisCache({ url, prefix }) }), or they serve what was before until its ttl',
    )
  }
}
