/** How many events go which way in a second, to a tenth: an average over the last ten seconds, or since the relay was made. */
export interface RelayRates {
  /** Events that were published and marked. */
  readonly published: number
  /** Tries that failed and will be followed by another: an event may count several times. */
  readonly retried: number
  /** Events that became dead letters. */
  readonly deadLettered: number
}
