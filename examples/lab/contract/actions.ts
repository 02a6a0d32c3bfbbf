import { z } from 'zod'
import type {
  BrokerSwitches,
  CacheRead,
  CreatedUser,
  FetchComparison,
  InitialisedDatabase,
  RelayRun,
  StaleRace,
  StoredScore,
  TableCounts,
} from './results.ts'

const nothing = z.object({}).strict()
const id = z.uuid('This is no id of a row')
const text = (what: string, most: number) =>
  z
    .string()
    .trim()
    .min(1, `Give ${what}`)
    .max(most, { error: ({ input }) => `At most ${most} characters fit; these are ${String(input).length}` })

/** What each button of the lab takes; checked here, at the door, before anything reaches the database. */
export const actionInputs = {
  'create-user': z.object({
    email: text('an e-mail address', 255).pipe(z.email('This is no e-mail address: it needs an @ and a domain')),
    name: text('a name', 255),
  }),
  'remove-user': z.object({ id }),
  'start-afresh': nothing,
  initialise: nothing,
  'run-load': z.object({
    requests: z.number().int().min(1).max(5000),
    concurrency: z.number().int().min(1).max(128),
  }),
  'sweep-load': z.object({ requests: z.number().int().min(1).max(5000) }),
  'stop-load': nothing,
  'add-sample-scores': z.object({ users: z.number().int().min(1).max(500) }),
  'fetch-scores': z.object({ users: z.number().int().min(1).max(500) }),
  'read-user': nothing,
  'read-latest-score': nothing,
  'invalidate-user': nothing,
  'rename-user': nothing,
  'commit-score': nothing,
  'read-many': z.object({ reads: z.number().int().min(1).max(5000) }),
  'step-race': nothing,
  'restart-race': nothing,
  'calculate-score': z.object({ poisoned: z.boolean() }),
  'record-batch': z.object({ users: z.number().int().min(1).max(12), scores: z.number().int().min(1).max(20) }),
  'start-relay': nothing,
  'stop-relay': nothing,
  'drain-outbox': nothing,
  'set-broker': z.object({ up: z.boolean(), latencyMs: z.number().int().min(0).max(1000) }),
  'poison-event': z.object({ id }),
  'redrive-letter': z.object({ id }),
  'discard-letter': z.object({ id }),
} as const

/** What each button gives back; what changes beside it comes by the live feed. */
export interface ActionResults {
  'create-user': CreatedUser
  'remove-user': TableCounts
  'start-afresh': TableCounts
  initialise: InitialisedDatabase
  'run-load': null
  'sweep-load': null
  'stop-load': null
  'add-sample-scores': TableCounts
  'fetch-scores': FetchComparison
  'read-user': CacheRead
  'read-latest-score': CacheRead
  'invalidate-user': null
  'rename-user': { readonly name: string }
  'commit-score': { readonly score: number }
  'read-many': { readonly reads: number; readonly commits: number }
  'step-race': StaleRace
  'restart-race': StaleRace
  'calculate-score': StoredScore
  'record-batch': { readonly events: number }
  'start-relay': null
  'stop-relay': null
  'drain-outbox': RelayRun
  'set-broker': BrokerSwitches
  'poison-event': null
  'redrive-letter': { readonly letters: number }
  'discard-letter': { readonly letters: number }
}

export type ActionName = keyof typeof actionInputs
export type ActionInput<Name extends ActionName> = z.infer<(typeof actionInputs)[Name]>

/** Why an action was refused or failed. */
export interface ActionFailure {
  /** A permanent code of the library, or `INPUT_INVALID`, `EMAIL_TAKEN`, `NOT_FOUND`, `BUSY`. */
  readonly code: string
  readonly message: string
  /** Messages by the name of the field that they belong to. */
  readonly fields?: Readonly<Record<string, string>>
}
