import { type AskedProcess, startAskedProcess } from './asked-process.ts'

/** What a process works on whose loads are counted. */
export interface FailingOptions {
  readonly url: string
  readonly redisUrl: string
  readonly prefix: string
  /** How long a load takes before it succeeds or fails. */
  readonly loadMs: number
  /** Whether its loads fail. */
  readonly fails: boolean
}

/** Lets callers read one entry, each again at once when its read fails, until it has succeeded or the time is over. */
export interface FailingOrder {
  readonly verb: 'read until it succeeds'
  /** Names the entry. */
  readonly entry: number
  readonly callers: number
  readonly forMs: number
}

/** What came of an order. */
export interface FailingAnswer {
  /** What was read in the end, by those who succeeded. */
  readonly gave: readonly unknown[]
  readonly loads: number
  /** How many loads were under way at one time, in whatever process, as far as this one has met them. */
  readonly most: number
  /** How long it held a lease at most. */
  readonly longestLeaseMs: number
  /** How long each of its loads began after the one before it had failed. */
  readonly pausesMs: readonly number[]
}

/** A data access in a process of its own, whose loads may fail. */
export type FailingProcess = AskedProcess<FailingOrder>

/** Starts one; resolves once it is open. */
export function startFailingProcess(options: FailingOptions): Promise<FailingProcess> {
  return startAskedProcess('failing-in-child.ts', options)
}
