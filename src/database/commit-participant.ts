import type { EntityManager } from '@mikro-orm/core'
import type { CommitScope } from '../kernel/commit-scope.ts'
import type { FlushedChanges } from './flushed-changes.ts'

/** A part that takes part in every root commit: the outbox writes its events, the cache its invalidations. */
export interface CommitParticipant {
  readonly name: string
  /**
   * A flush has written these changes inside the scope's transaction, which is still open. Called once per flush, after its
   * SQL, with generated keys present. A throw fails the flush.
   */
  flushed?(flush: FlushedChanges): void
  /** The root transaction is about to commit; `em` is in it. A throw rolls it back. Never called for a savepoint. */
  beforeCommit?(commit: { em: EntityManager; scope: CommitScope }): Promise<void>
  /**
   * The root transaction has committed. Never called for a savepoint or a rollback. Participants run one after the other in
   * the order of registration and are awaited; what they throw is reported and cannot undo or reject the commit.
   */
  afterCommit?(commit: { em: EntityManager; scope: CommitScope }): Promise<void>
  /**
   * The root transaction's commit failed, which after a lost connection leaves open whether it took place. Called before the
   * rollback; what it throws is reported.
   */
  commitFailed?(commit: { em: EntityManager; scope: CommitScope }): Promise<void>
}

/** Told of an error that a participant threw after the commit, when nobody is left to catch it. */
export type ReportError = (error: unknown, participant: string) => void
