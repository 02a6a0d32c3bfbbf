import type { ServiceState } from '../../kernel/service.ts'
import type { RelayRates } from '../store/relay-rates.ts'
import type { RelayPause } from '../store/sign-of-life.ts'
import type { RelayCounts } from './batch-settler.ts'

/** What `relay.status()` tells. */
export interface RelayStatus extends RelayCounts {
  /** Where it is between `start()` and the end of `stop()`: `idle` until it runs. A `drain()` does not show in it. */
  readonly state: ServiceState
  /** The `name` of its options. */
  readonly name: string
  /** The name of its publisher. */
  readonly publisher: string
  /** The buckets it holds now, by their numbers, 0 … 63; none while it does not run. */
  readonly buckets: readonly number[]
  /** Events fetched and not yet marked. */
  readonly inHand: number
  /** What it does in a second. */
  readonly rates: RelayRates
  /** What it waits for, when publisher or database are away; of both, what went last. */
  readonly paused: RelayPause | undefined
}
