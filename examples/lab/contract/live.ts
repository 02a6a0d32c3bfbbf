import type { BrokerSwitches, CreatedUser, StaleRace, TableCounts } from './results.ts'

/** What is in use for one part of the lab, and why. */
export interface Wiring {
  readonly name: string
  readonly why: string
}

export interface Health {
  readonly ok: boolean
  readonly latencyMs: number
  readonly error?: string
}

export interface Status {
  /** Another one after a restart of the lab. */
  readonly run: string
  readonly database: Wiring
  readonly cache: Wiring
  readonly broker: Wiring
  /** Whether the rows outlive the lab. */
  readonly keepsRows: boolean
  readonly databaseHealth: Health
  readonly cacheHealth: Health
}

export interface UserRow extends CreatedUser {
  readonly createdAt: string
  readonly assessments: number
  readonly scores: number
}

export interface UserTable {
  readonly counts: TableCounts
  readonly newest: readonly UserRow[]
}

export interface PoolPicture {
  readonly size: number
  readonly max: number
  readonly inUse: number
  readonly idle: number
  readonly waiting: number
}

/** What one load at one concurrency gave. */
export interface LoadPoint {
  readonly concurrency: number
  readonly requests: number
  /** Θ, in requests per second. */
  readonly throughput: number
  readonly medianMs: number
  readonly p95Ms: number
  readonly mostWaiting: number
}

export interface Load {
  readonly running: { readonly concurrency: number; readonly done: number; readonly total: number } | null
  readonly error: string | null
  /** One for each concurrency, the latest, by concurrency. */
  readonly points: readonly LoadPoint[]
}

export interface CacheCounters {
  readonly requests: number
  readonly hits: number
  readonly misses: number
  readonly refusedFills: number
  readonly errors: number
  readonly hitRate: number
  readonly tCache: number
  readonly tDatabase: number
  readonly tAverage: number
}

export interface CachePicture {
  readonly userId: string
  readonly name: string
  readonly latestScore: number | null
  readonly counters: CacheCounters
  /** After so many requests, H and T_avg were: the newest 200. */
  readonly course: readonly { readonly requests: number; readonly hitRate: number; readonly tAverage: number }[]
  readonly race: StaleRace
}

export interface EventRow {
  readonly id: string
  readonly type: string
  readonly key: string
  readonly airScore: number
  readonly createdAt: string
  readonly publishedAt: string | null
  readonly attempts: number
  readonly poisoned: boolean
}

export interface LetterRow extends EventRow {
  readonly reason: string
  readonly error: string
  /** The error of each attempt, the first first. */
  readonly history: readonly string[]
}

/** One call of the publisher: the k-th events of all keys of a batch. */
export interface WavePicture {
  readonly number: number
  /** Milliseconds from the newest commit before it to this call, when the relay was waiting for it. */
  readonly wokenAfterMs: number | null
  readonly events: readonly { readonly id: string; readonly key: string; readonly outcome: string }[]
}

export interface Arrival {
  readonly id: string
  readonly user: string
  readonly airScore: number
  readonly at: string
}

export interface OutboxPicture {
  readonly backlog: number
  readonly pending: readonly EventRow[]
  readonly published: readonly EventRow[]
  readonly publishedCount: number
  readonly letters: readonly LetterRow[]
  readonly relay: {
    readonly state: 'stopped' | 'draining' | 'running'
    readonly paused: string | null
    readonly inHand: number
    readonly retried: number
    readonly deadLettered: number
  }
  /** Of the events that were pending when the relay began, or have come since. */
  readonly progress: { readonly done: number; readonly total: number }
  readonly broker: BrokerSwitches
  readonly waves: readonly WavePicture[]
  readonly arrivals: readonly Arrival[]
  readonly arrivalCount: number
}

/** What the lab tells every open window, by topic; each message is the whole picture of its topic. */
export interface LiveTopics {
  status: Status
  users: UserTable
  pool: PoolPicture
  load: Load
  cache: CachePicture
  outbox: OutboxPicture
}

export type LiveTopic = keyof LiveTopics
