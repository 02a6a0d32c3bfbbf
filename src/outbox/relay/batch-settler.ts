import { toError } from '../../kernel/thrown-error.ts'
import { errorText, type Settlement, settle } from '../publishing/retry-policy.ts'
import type { ProgressStore } from '../store/progress-store.ts'
import type { SettlementStore } from '../store/settlement-store.ts'
import type { EventInHand } from './event-in-hand.ts'
import type { RelayListeners } from './relay-events.ts'
import type { RelaySettings } from './relay-options.ts'
import type { Published } from './waves.ts'

/** An event with what the relay decided about it. */
export interface SettledEvent {
  /** The event as it was fetched, with the lease under which it is written down. */
  readonly hand: EventInHand
  /** Published, to be tried again, a dead letter, or left pending by a pause. */
  readonly settlement: Settlement
}

/** What became of the decisions of a batch. */
export interface WrittenBatch {
  readonly kept: readonly SettledEvent[]
  /** What is somebody else's: nothing is known of it any more. */
  readonly refused: readonly EventInHand[]
  /**
   * Nothing was written, since marks before it were undone: all of it comes again, behind what they were of. Or what was to become a
   * letter is none, and comes again.
   */
  readonly undone?: boolean
}

/** How many events went which way: in one `drain()`, or since a relay was made. */
export interface RelayCounts {
  /** Events that were acknowledged by the publisher, and marked. */
  readonly published: number
  /** Tries that failed and will be followed by another: an event may count several times. */
  readonly retried: number
  /** Events that became dead letters. */
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
   * Writes the decisions; safe to call again after an error. Resolves to those that were kept and those that the fence refused.
   *
   * @param again after an error it is unknown what was written before.
   * @param known how many marks are written before this one.
   */
  async write(settled: readonly SettledEvent[], again: boolean, known: number): Promise<WrittenBatch> {
    const published = settled.filter(({ settlement }) => settlement.kind === 'published')
    const retries = settled.flatMap(({ hand, settlement }) => (settlement.kind === 'retry' ? [{ hand, settlement }] : []))
    const letters = settled.flatMap(({ hand, settlement }) => (settlement.kind === 'dead-letter' ? [{ hand, settlement }] : []))
    const refused = new Set<string>()
    const unmade = new Set<string>()
    if (published.length > 0) {
      const fences = published.map(({ hand }) => fenceOf(hand))
      const unmarked = await this.#progress.markPublished(fences, this.#settings.mark, known)
      if (unmarked === 'undone') return { kept: [], refused: [], undone: true }
      for (const { id } of unmarked) refused.add(id)
    }
    if (retries.length > 0) {
      const writes = retries.map(({ hand, settlement: { attempts, delayMs, error } }) => {
        return { ...fenceOf(hand), attempts, delayMs, error: errorText(error) }
      })
      const kept = await this.#settlements.markRetries(writes)
      for (const { id } of writes) if (!kept.has(id)) refused.add(id)
    }
    if (letters.length > 0) {
      const writes = letters.map(({ hand, settlement: { attempts, reason, blocksKey, error } }) => {
        return { ...fenceOf(hand), attempts, reason, blocksKey, error: errorText(error) }
      })
      const kept = await this.#settlements.moveToDeadLetters(writes, again)
      for (const { id } of writes) if (!kept.has(id)) (again ? unmade : refused).add(id)
    }
    // After an error an event that is gone proves nothing; but what is no letter now must not be told as one.
    const kept = settled.filter(({ hand: { id } }) => !unmade.has(id) && (again || !refused.has(id)))
    if (again || refused.size === 0) return { kept, refused: [], undone: unmade.size > 0 }
    return {
      kept,
      refused: settled.flatMap(({ hand }) => (refused.has(hand.id) ? [hand] : [])),
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

/** What pauses the relay, if anything does: the longest pause that was asked for. */
export function pauseOf(settled: readonly SettledEvent[]): Extract<Settlement, { kind: 'pause' }> | undefined {
  let longest: ReturnType<typeof pauseOf>
  for (const { settlement } of settled) {
    if (settlement.kind === 'pause' && (longest === undefined || settlement.afterMs > longest.afterMs)) longest = settlement
  }
  return longest
}

/** Counts what became of events. */
export function countsOf(settled: readonly SettledEvent[]): RelayCounts {
  const count = (kind: Settlement['kind']) => settled.filter(({ settlement }) => settlement.kind === kind).length
  return { published: count('published'), retried: count('retry'), deadLettered: count('dead-letter') }
}

export function sumOf(one: RelayCounts, other: RelayCounts): RelayCounts {
  return {
    published: one.published + other.published,
    retried: one.retried + other.retried,
    deadLettered: one.deadLettered + other.deadLettered,
  }
}

function fenceOf({ id, row, epoch }: EventInHand) {
  return { id, bucket: row.bucket, epoch }
}
