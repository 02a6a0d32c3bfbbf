import { toError } from '../../kernel/thrown-error.ts'
import { errorText, type Settlement, settle } from '../publishing/retry-policy.ts'
import type { HeldEvent, ProgressStore } from '../store/progress-store.ts'
import type { SettlementStore } from '../store/settlement-store.ts'
import type { EventInHand } from './held-event.ts'
import type { RelayListeners } from './relay-events.ts'
import type { RelaySettings } from './relay-options.ts'
import type { Published } from './waves.ts'

/** An event with what the relay decided about it. */
export interface SettledEvent {
  readonly hand: EventInHand
  readonly settlement: Settlement
}

/** How many events went which way. */
export interface RelayCounts {
  readonly published: number
  readonly retried: number
  readonly deadLettered: number
}

/** Decides what follows from a batch's outcomes, writes it down, and tells the listeners. */
export class BatchSettler {
  readonly #progress: ProgressStore
  readonly #settlements: SettlementStore
  readonly #settings: RelaySettings
  readonly #listeners: RelayListeners

  constructor(progress: ProgressStore, settlements: SettlementStore, settings: RelaySettings, listeners: RelayListeners) {
    this.#progress = progress
    this.#settlements = settlements
    this.#settings = settings
    this.#listeners = listeners
  }

  decide(tried: readonly Published<EventInHand>[]): SettledEvent[] {
    const { retry, rules } = this.#settings
    return tried.map(({ event: hand, outcome }) => ({ hand, settlement: settle(hand.row, outcome, retry, rules) }))
  }

  /**
   * Writes the decisions; safe to call again after an error. Resolves to the counts, and to the buckets of events that the
   * fence refused.
   *
   * @param again after an error it is unknown what was written before.
   */
  async write(settled: readonly SettledEvent[], again: boolean): Promise<{ counts: RelayCounts; lost: number[] }> {
    const published = settled.filter(({ settlement }) => settlement.kind === 'published')
    const retries = settled.flatMap(({ hand, settlement }) => (settlement.kind === 'retry' ? [{ hand, settlement }] : []))
    const letters = settled.flatMap(({ hand, settlement }) => (settlement.kind === 'dead-letter' ? [{ hand, settlement }] : []))
    const lost: number[] = []
    // After an error an event that is gone proves nothing.
    const noteLost = (refused: readonly HeldEvent[]) => {
      if (!again) lost.push(...refused.map(({ bucket }) => bucket))
    }
    if (published.length > 0) {
      const fences = published.map(({ hand }) => fenceOf(hand))
      noteLost(await this.#progress.markPublished(fences, this.#settings.mark))
    }
    if (retries.length > 0) {
      const writes = retries.map(({ hand, settlement: { attempts, delayMs, error } }) => {
        return { ...fenceOf(hand), attempts, delayMs, error: errorText(error) }
      })
      const kept = await this.#settlements.markRetries(writes)
      noteLost(writes.filter(({ id }) => !kept.has(id)))
    }
    if (letters.length > 0) {
      const writes = letters.map(({ hand, settlement: { attempts, reason, blocksKey, error } }) => {
        return { ...fenceOf(hand), attempts, reason, blocksKey, error: errorText(error) }
      })
      const kept = await this.#settlements.moveToDeadLetters(writes)
      noteLost(writes.filter(({ id }) => !kept.has(id)))
    }
    return {
      counts: { published: published.length, retried: retries.length, deadLettered: letters.length },
      lost: [...new Set(lost)],
    }
  }

  /** Tells the listeners what was decided and written. */
  tell(settled: readonly SettledEvent[]): void {
    const events = settled.flatMap(({ hand, settlement }) => {
      return settlement.kind === 'published' && hand.event !== undefined ? [hand.event] : []
    })
    if (events.length > 0) this.#listeners.tell('published', { events })
    for (const { hand, settlement } of settled) {
      const facts = { eventId: hand.id, type: hand.row.type }
      if (settlement.kind === 'retry') {
        const { attempts, delayMs, error } = settlement
        this.#listeners.tell('retried', { ...facts, attempts, delayMs, error: toError(error) })
      } else if (settlement.kind === 'dead-letter') {
        const { attempts, reason, blocksKey, error } = settlement
        this.#listeners.tell('deadLettered', { ...facts, attempts, reason, blocksKey, error: toError(error) })
      }
    }
  }
}

function fenceOf({ id, row, epoch }: EventInHand) {
  return { id, bucket: row.bucket, epoch }
}
