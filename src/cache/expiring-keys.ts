import type { ChangeSet, Collection, EntityManager, Transaction } from '@mikro-orm/core'
import type { BulkWrite } from './bulk-writes.ts'

/** Names the keys that changes expire. */
export interface ExpiringKeys {
  /** Runs after the flush's SQL: old values are in the change set's original, new ones in the entity. */
  of(changeSet: ChangeSet<object>, em: EntityManager): readonly string[]
  /** Runs after a flush that changed a relation of many: in its pivot table, or by one statement for rows that were not loaded. */
  ofCollection(collection: Collection<object>, em: EntityManager): readonly string[]
  /** Runs before the flush's SQL: all that it may expire, whatever part of it is written. */
  ofAttempt(
    changeSets: readonly ChangeSet<object>[],
    collections: readonly Collection<object>[],
    em: EntityManager,
  ): readonly string[]
  /** Runs after a write without change sets. */
  ofBulk(write: BulkWrite): readonly string[]
  /** Runs before the flush's SQL. */
  begin(changeSets: readonly ChangeSet<object>[], em: EntityManager): void
  /** Runs right before a step of the flush updates or deletes rows, in the transaction if it is in one: what they have now is known only there. */
  before(em: EntityManager, changeSets: readonly ChangeSet<object>[], transaction: Transaction | undefined): Promise<void>
  /** A few keys that expire everything: for when there are too many to remember. */
  all(): readonly string[]
}
