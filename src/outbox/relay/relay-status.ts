import type { ServiceState } from '../../kernel/service.ts'
import type { RelayRates } from '../store/relay-rates.ts'
import type { RelayPause } from '../store/sign-of-life.ts'
import type { RelayCounts } from './batch-settler.ts'

/** What `relay.status()` tells. */
export interface RelayStatus extends RelayCounts {
  readonly state: ServiceState
  readonly name: string
  readonly publisher: string
  /** The buckets it holds now. */
  readonly buckets: readonly number[]
  /** Events fetched and not yet marked. */
  readonly inHand: number
  readonly rates: RelayRates
  /** What it waits for, when publisher or database are away; of both, what went last. */
  readonly paused: RelayPause | undefined
}
