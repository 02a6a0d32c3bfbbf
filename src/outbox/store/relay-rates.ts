/** How many events go which way in a second: an average over the last ten seconds, or since the relay was made. */
export interface RelayRates {
  readonly published: number
  readonly retried: number
  readonly deadLettered: number
}
