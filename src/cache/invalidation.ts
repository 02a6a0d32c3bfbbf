import type { ChangeSet, EntityManager, FlushEventArgs, Transaction } from '@mikro-orm/core'
import type { CommitParticipant } from '../database/commit-participant.ts'
import { changesOf, type FlushedChanges } from '../database/flushed-changes.ts'
import type { MigrationObserver } from '../database/migrations.ts'
import { type CommitScope, Journal } from '../kernel/commit-scope.ts'
import type { Logger } from '../kernel/logger.ts'
import type { BulkWrite, BulkWriteObserver } from './bulk-writes.ts'
import type { CacheStore } from './cache-store.ts'
import type { ExpiringKeys } from './expiring-keys.ts'
import { FlushAttempts } from './flush-attempts.ts'
import type { InvalidationFigures } from './invalidation-figures.ts'
import type { InvalidationLog } from './invalidation-log.ts'
import { InvalidationSweep } from './invalidation-sweep.ts'
import { atMostKeys } from './key.ts'
import type { FlushObserver } from './orm-hooks.ts'
import { WaitingKeys } from './waiting-keys.ts'

/** What an {@link Invalidation} works with. */
export interface InvalidationParts {
  readonly store: CacheStore
  readonly keys: ExpiringKeys
  /** The root transaction that an entity manager is in. */
  readonly scopeOf: (em: EntityManager) => CommitScope | undefined
  /** Ends what is loading these keys now. */
  readonly fence: (keys: ReadonlySet<string>) => void
  readonly logger: Logger
  /** For a store that processes share: where they find what one of them did not get to expire, and within what time in ms. */
  readonly sweep?: { readonly log: InvalidationLog; readonly everyMs: number } | undefined
}

/** More keys than this at once are expired with all entries of their entities: the store has a bounded time. */
const mostAtOnce = 5000

/**
 * Expires what a root transaction has changed, once it has committed and before anybody is told so. Not before: a reader in
 * between would fill the cache with the old row. While the store is away the keys are remembered, and swept before this
 * process reads from the store again.
 */
export class Invalidation implements CommitParticipant, BulkWriteObserver, FlushObserver, MigrationObserver {
  readonly name = 'cache'
  readonly #parts: InvalidationParts
  readonly #journal = new Journal<readonly string[]>('cache keys')
  readonly #attempts = new FlushAttempts()
  readonly #waiting: WaitingKeys
  readonly #sweep: InvalidationSweep | undefined
  /** The rows written by the transactions that are about to commit. */
  readonly #rows = new WeakMap<CommitScope, string>()
  #keys = 0
  #unacknowledged = 0

  constructor(parts: InvalidationParts) {
    this.#parts = parts
    this.#waiting = new WaitingKeys(parts.store, () => parts.keys.all())
    const { sweep, logger } = parts
    if (sweep === undefined) return
    this.#sweep = new InvalidationSweep({ ...sweep, logger, expire: (keys) => this.#expireNow(keys) })
  }

  /** Begins to sweep; until it is closed. */
  start(): void {
    this.#sweep?.start()
  }

  /** A flush is about to write. */
  async flushing({ em, uow }: FlushEventArgs): Promise<void> {
    const { keys, scopeOf } = this.#parts
    const changeSets = changesOf(uow)
    keys.begin(changeSets, em)
    const attempted = keys.ofAttempt(changeSets, uow.getCollectionUpdates(), em)
    this.#attempts.begin(em, scopeOf(em), attempted)
  }

  /** A step of a flush is about to change or delete rows. */
  async writing(
    em: EntityManager,
    changeSets: readonly ChangeSet<object>[],
    transaction: Transaction | undefined,
  ): Promise<void> {
    await this.#parts.keys.before(em, changeSets, transaction)
  }

  flushed({ em, changeSets, collections, scope }: FlushedChanges): void {
    this.#attempts.told(em)
    const rows = changeSets.flatMap((changeSet) => this.#parts.keys.of(changeSet, em))
    const keys = [...rows, ...collections.flatMap((collection) => this.#parts.keys.ofCollection(collection, em))]
    this.#keep(scope, em, keys)
  }

  /** A flush has ended well: one that was told of before, or one in a transaction that began where we did not see it. */
  async flushEnded({ em }: FlushEventArgs): Promise<void> {
    const untold = this.#attempts.endedUntold(em)
    if (untold !== undefined) await this.#expireUnseen(em, untold)
  }

  /** What it had written is told by no commit where its transaction began out of our sight, and is not rolled back with it for certain. */
  async flushFailed(em: EntityManager): Promise<void> {
    const untold = em.isInTransaction() ? this.#attempts.failedUntold(em) : undefined
    if (untold !== undefined) await this.#expireUnseen(em, untold)
  }

  /** Processes that share the store sweep for each other, by a row that only a transaction can write together with the change. */
  wantsTransaction(write: BulkWrite): boolean {
    return this.#parts.sweep !== undefined && this.#parts.keys.ofBulk(write).length > 0
  }

  /** Expires after the commit of the transaction in which the write ran, or at once. */
  async wrote(write: BulkWrite): Promise<void> {
    const keys = this.#parts.keys.ofBulk(write)
    if (keys.length === 0) return
    const scope = this.#parts.scopeOf(write.em)
    if (scope === undefined) await this.#expireUnseen(write.em, new Set(keys))
    else this.#keep(scope, write.em, keys)
  }

  /** Writes down what will expire: whoever dies after the commit leaves it for others to do. */
  async beforeCommit({ em, scope }: { em: EntityManager; scope: CommitScope }): Promise<void> {
    const keys = this.#keysOf(scope)
    const { sweep } = this.#parts
    if (sweep !== undefined && keys.size > 0) this.#rows.set(scope, await sweep.log.write(em, [...keys]))
  }

  async afterCommit({ scope }: { scope: CommitScope }): Promise<void> {
    const keys = this.#keysOf(scope)
    if (keys.size === 0 || !(await this.expire(keys))) return
    const row = this.#rows.get(scope)
    if (row !== undefined) this.#sweep?.acknowledged(row)
  }

  /**
   * The commit may have taken place all the same, so what it would have changed expires too. It may even take place later, after
   * somebody has filled the cache again: the row then stands, and is swept.
   */
  async commitFailed({ scope }: { scope: CommitScope }): Promise<void> {
    const keys = this.#keysOf(scope)
    if (keys.size > 0) await this.expire(keys)
  }

  /** Expires all that is cached, once the transaction has ended. A migration may have made the table for it, or taken it away. */
  async migrated(em: EntityManager): Promise<(committed: boolean) => Promise<void>> {
    const keys = new Set(this.#parts.keys.all())
    const { sweep } = this.#parts
    const kept = sweep !== undefined && keys.size > 0 && (await sweep.log.exists(em))
    const row = kept ? await sweep.log.write(em, [...keys]) : undefined
    return async (committed) => {
      const expired = keys.size === 0 || (await this.expire(keys))
      if (expired && committed && row !== undefined) this.#sweep?.acknowledged(row)
    }
  }

  /** Ends entries, leases and stamps, here at once and in the store within its bounded time. Tells whether the store did; never rejects. */
  async expire(keys: ReadonlySet<string>): Promise<boolean> {
    this.#keys += keys.size
    try {
      await this.#expireNow(keys)
      return true
    } catch (error) {
      this.#unacknowledged += 1
      // Once for an outage, not once for each commit in it.
      if (this.#waiting.size === 0) {
        const { store, logger } = this.#parts
        logger.warn(`The ${store.name} cache did not acknowledge an invalidation; reads go to the database until it does`, {
          cause: error instanceof Error ? error.message : String(error),
        })
      }
      this.#waiting.add(keys)
      return false
    }
  }

  /**
   * Expires what changed outside a transaction that this library saw. What the store does not acknowledge is left to the sweeps too.
   *
   * @param em the caller's: what he changed in a transaction by SQL of his own is seen by others only after its commit, so that it expires
   * then once more.
   */
  async expireByHand(keys: ReadonlySet<string>, em?: EntityManager): Promise<void> {
    const { sweep, logger, scopeOf } = this.#parts
    if (em !== undefined) {
      const scope = scopeOf(em)
      if (scope !== undefined && !scope.over) this.#keep(scope, em, [...keys])
      else if (scope === undefined && em.isInTransaction()) return this.#expireUnseen(em, keys)
    }
    if ((await this.expire(keys)) || sweep === undefined) return
    try {
      await sweep.log.writeAlone([...keys])
    } catch (error) {
      logger.warn('What the cache did not acknowledge could not be left to the sweeps of other processes either', { error })
    }
  }

  /**
   * Tells whether the store knows all that this process has changed, and what was left to be swept before it came. If not, tells it meanwhile;
   * nobody waits for that, but for the first look after what was left.
   */
  settled(): boolean | Promise<boolean> {
    const sweep = this.#sweep
    if (sweep === undefined || sweep.caughtUp) return this.#waiting.settled()
    return sweep.firstLook().then(() => sweep.caughtUp && this.#waiting.settled())
  }

  /** Tells whether an entity manager is in a transaction that has committed. */
  readonly hasCommitted = (em: EntityManager): boolean => {
    const scope = this.#parts.scopeOf(em)
    return scope?.over === true && scope.phase === 'committed'
  }

  figures(): InvalidationFigures {
    return { keys: this.#keys, unacknowledged: this.#unacknowledged, waiting: this.#waiting.size, swept: this.#sweep?.swept ?? 0 }
  }

  /** Ends the sweeps. May be called twice. */
  async close(): Promise<void> {
    await this.#sweep?.stop()
  }

  /** In the layer of the entity manager's own transaction: a savepoint that is open beside it takes back only what is its own. */
  #keep(scope: CommitScope, em: EntityManager, keys: readonly string[]): void {
    if (keys.length > 0) scope.append(this.#journal, keys, scope.layerOf(em.getTransactionContext() as object | undefined))
  }

  #keysOf(scope: CommitScope): ReadonlySet<string> {
    return new Set([...scope.read(this.#journal).flat(), ...this.#attempts.failedIn(scope)])
  }

  /**
   * Expires what was written in a transaction whose commit nobody will tell us of: now, and after that commit by the sweep, which finds
   * the row that is written with it. Rejects if that cannot be written: on PostgreSQL the transaction is then aborted, and nobody else would say so.
   */
  async #expireUnseen(em: EntityManager, keys: ReadonlySet<string>): Promise<void> {
    if (!em.isInTransaction()) return this.expireByHand(keys)
    await this.expire(keys)
    await this.#parts.sweep?.log.write(em, [...keys])
  }

  async #expireNow(keys: ReadonlySet<string>): Promise<void> {
    const few = atMostKeys(keys, mostAtOnce)
    this.#parts.fence(few)
    await this.#parts.store.invalidate([...few])
  }
}
