/** What the invalidations of this process have done since its data access was opened. */
export interface InvalidationFigures {
  /** Keys of entries and dependencies that were sent to the store. */
  readonly keys: number
  /** Calls that the store did not acknowledge. */
  readonly unacknowledged: number
  /** Keys that wait until the store is back. */
  readonly waiting: number
  /** Commits whose keys were expired by this process's sweep: another process died before it could, or its store was away. */
  readonly swept: number
}
