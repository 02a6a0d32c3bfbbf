import type { MikroORM } from '@mikro-orm/core'
import type { Clock } from '../../kernel/clock.ts'
import type { Complete } from '../../kernel/options.ts'
import type { Wake } from '../relay/wake.ts'
import type { OutboxStore } from '../store/outbox-store.ts'

/** What the doctor looks at. */
export type CheckName =
  | 'pinned-xmin'
  | 'dead-tuples'
  | 'indexes'
  | 'sequence'
  | 'pooler'
  | 'wake'
  | 'paused-relays'
  | 'oldest-due'
  | 'blocked-keys'
  | 'dead-letters'

/** What came of a check. */
export interface Diagnosis {
  /** Whether all is well, or the check does not apply. */
  readonly ok: boolean
  /** What was found, in a sentence. */
  readonly finding: string
  /** What to do; `undefined` when there is nothing to do. */
  readonly remedy: string | undefined
}

/** From where on the doctor calls something ill: numbers from 0. */
export interface DoctorOptions {
  /** Milliseconds for which a transaction may stay open. Default 60,000. */
  readonly transactionMs?: number | undefined
  /** Dead rows of a table, when they are also more than the live ones. Default 50,000. */
  readonly deadTuples?: number | undefined
  /** Milliseconds for which an event that is due may wait. Default 60,000. */
  readonly oldestDueMs?: number | undefined
  /** Milliseconds for all checks together, at most 2,147,483,647; one that had no time is a finding that is not `ok`. Default 5000. */
  readonly timeoutMs?: number | undefined
}

/** What a check works with. */
export interface CheckContext {
  readonly orm: MikroORM
  readonly store: OutboxStore
  readonly wake: Wake
  readonly clock: Clock
  readonly limits: Complete<DoctorOptions>
}

/** A check; what it throws is its finding. */
export type Check = (context: CheckContext) => Promise<Diagnosis>

/** All is well, or the check does not apply. */
export function fine(finding: string): Diagnosis {
  return { ok: true, finding, remedy: undefined }
}
