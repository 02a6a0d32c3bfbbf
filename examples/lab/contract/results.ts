export interface CreatedUser {
  readonly id: string
  readonly email: string
  readonly name: string
}

export interface TableCounts {
  readonly users: number
  readonly assessments: number
  readonly scores: number
}

export interface InitialisedDatabase {
  /** The migrations that ran just now: none when the tables were up to date. */
  readonly migrations: readonly string[]
  readonly users: readonly CreatedUser[]
}

/** One statement that the database was asked. */
export interface SqlStatement {
  readonly sql: string
  readonly params: string
  readonly rows: number
  readonly durationMs: number
}

/** What one way of fetching cost. */
export interface FetchCost {
  readonly users: number
  readonly scores: number
  readonly queries: number
  readonly milliseconds: number
  readonly shapes: readonly { readonly sql: string; readonly count: number }[]
  readonly statements: readonly SqlStatement[]
}

export interface FetchComparison {
  readonly loop: FetchCost
  readonly eager: FetchCost
  /** What the N+1 guard says of the loop, with its remedy; `undefined` for so few users that nothing is suspect. */
  readonly guard: string | undefined
}

/** One read through the cache. */
export interface CacheRead {
  readonly what: string
  readonly gives: string
  readonly outcome: 'hit' | 'miss'
  /** What answered: the cache's name, or the database's. */
  readonly tier: string
  readonly queries: number
  readonly milliseconds: number
}

/** One of the two caches of the race. */
export interface RaceLane {
  /** What the cache holds; `null`: nothing. */
  readonly cached: number | null
  /** What the slow reader has in its hand, read before the commit. */
  readonly inHand: number | null
  /** What a reader gets who comes after all of that. */
  readonly answer: number | null
  /** Whether the slow reader's fill was refused; `null` before it tries. */
  readonly refused: boolean | null
}

/** The stale-set race, step by step. */
export interface StaleRace {
  readonly step: number
  /** What the database holds. */
  readonly database: number
  readonly naive: RaceLane
  readonly ours: RaceLane
}

export interface StoredScore {
  readonly scoreId: string
  readonly airScore: number
  readonly eventId: string
  readonly status: string
}

export interface BrokerSwitches {
  readonly up: boolean
  readonly latencyMs: number
}

export interface RelayRun {
  readonly published: number
  readonly retried: number
  readonly deadLettered: number
}
