import type { ChangeSet, Collection, EntityManager, FlushEventArgs } from '@mikro-orm/core'
import type { CommitScope } from '../kernel/commit-scope.ts'

/** What a flush has written inside the transaction of a scope. */
export interface FlushedChanges {
  readonly em: EntityManager
  readonly changeSets: readonly ChangeSet<object>[]
  /** Relations of many that were changed in their pivot tables, or by one statement for rows that were not loaded. */
  readonly collections: readonly Collection<object>[]
  readonly scope: CommitScope
}

/**
 * What a flush changes, row by row. Where rows of one entity change a unique property together, MikroORM puts off all but the first, which
 * then may not be among its change sets; it fills in what it wrote of them after its SQL.
 */
export function changesOf(uow: FlushEventArgs['uow']): readonly ChangeSet<object>[] {
  const putOff = [...uow.getExtraUpdates()].flatMap(([, , , changeSet]) => changeSet ?? [])
  return [...new Set<ChangeSet<object>>([...uow.getChangeSets(), ...putOff])]
}

/** Whether an entity manager holds rows that a flush would insert or delete, and forget if it fails. */
export function hasPendingRows(em: EntityManager): boolean {
  const uow = em.getUnitOfWork(false)
  return uow.getPersistStack().size + uow.getRemoveStack().size + uow.getOrphanRemoveStack().size > 0
}

const puttingOff = new WeakSet<EntityManager>()

/** Notes, as a flush begins, whether it puts values off: MikroORM takes them out of their entities until it has written the rest. */
export function notePutOff(em: EntityManager, uow: FlushEventArgs['uow']): void {
  if (uow.getExtraUpdates().size > 0) puttingOff.add(em)
  else puttingOff.delete(em)
}

/** Whether the last flush of this entity manager put values off. */
export function hasPutOff(em: EntityManager): boolean {
  return puttingOff.has(em)
}
