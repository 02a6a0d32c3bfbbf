import type { ChangeSet, Collection, EntityManager } from '@mikro-orm/core'
import type { CommitScope } from '../kernel/commit-scope.ts'

/** What a flush has written inside the transaction of a scope. */
export interface FlushedChanges {
  readonly em: EntityManager
  readonly changeSets: readonly ChangeSet<object>[]
  /** Relations of many that were changed in their pivot tables, or by one statement for rows that were not loaded. */
  readonly collections: readonly Collection<object>[]
  readonly scope: CommitScope
}
