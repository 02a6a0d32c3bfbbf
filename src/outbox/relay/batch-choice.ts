import { DataAccessError } from '../../errors.ts'
import { permanent } from '../publishing/publisher.ts'
import type { EventStore } from '../store/event-store.ts'
import type { SettlementStore } from '../store/settlement-store.ts'
import { crashSize } from '../store/stored-event.ts'
import type { EventInHand } from './event-in-hand.ts'
import { laneOf } from './waves.ts'

/** After so many crashes with this event alone in hand it is a dead letter. */
const crashLimit = 3

/** Of so many suspects at most each is tried alone. */
const fewSuspects = 25

/** What is published together, and which suspects come later. */
export interface Choice {
  readonly batch: readonly EventInHand[]
  readonly waiting: readonly EventInHand[]
}

/**
 * Narrows a reading to what may be published together. While the publisher is being probed that is a single event, if there is one
 * that has not failed. Suspects, which were in hand when a relay crashed, go without others, in groups that become smaller with each
 * crash, so that the one that kills is found; and in turn with the others, which must not wait for all of them.
 */
export class BatchChoice {
  readonly #events: EventStore
  readonly #settlements: SettlementStore
  /** Whoever restarts again and again must not begin with what may end it each time. */
  #othersNext = true

  constructor(events: EventStore, settlements: SettlementStore) {
    this.#events = events
    this.#settlements = settlements
  }

  async choose(hands: readonly EventInHand[], probing: boolean): Promise<Choice> {
    const batch = await this.#narrow(hands, probing)
    if (batch.length === hands.length) return { batch, waiting: [] }
    const chosen = new Set(batch.map(({ id }) => id))
    return { batch, waiting: hands.filter(({ id, row }) => row.suspect && !chosen.has(id)) }
  }

  async #narrow(hands: readonly EventInHand[], probing: boolean): Promise<readonly EventInHand[]> {
    if (!hands.some(({ row }) => row.suspect)) return probing ? [probeOf(hands)] : hands
    const others = leading(hands, ({ row }) => !row.suspect)
    const suspects = leading(hands, ({ row }) => row.suspect)
    const takesOthers = suspects.length === 0 || (others.length > 0 && (probing || this.#othersNext))
    this.#othersNext = !takesOthers
    if (takesOthers) return probing ? [probeOf(others)] : others
    const group = await this.#groupOf(suspects)
    return probing ? group.slice(0, 1) : group
  }

  /** Some of those that were in hand together, and with the fewest others. */
  async #groupOf(suspects: readonly EventInHand[]): Promise<readonly EventInHand[]> {
    const texts = await this.#events.lastErrors(suspects.map(({ id }) => id))
    const textOf = ({ id }: EventInHand) => texts.get(id) ?? ''
    const first = headsOf(suspects).reduce((least, head) => (crashSize(textOf(head)) < crashSize(textOf(least)) ? head : least))
    const size = crashSize(textOf(first))
    if (size <= fewSuspects) return [await this.#alone(first)]
    return leading(suspects, (hand) => textOf(hand) === textOf(first)).slice(0, Math.ceil(Math.sqrt(size)))
  }

  /** A suspect to be tried without any other, or as the dead letter that it is. */
  async #alone(suspect: EventInHand): Promise<EventInHand> {
    const { id, orderingKey, row, epoch } = suspect
    const crashes = row.attempts === 0 ? 0 : await this.#settlements.crashesOf(id)
    if (crashes < crashLimit) return suspect
    const fault = new DataAccessError(
      'RELAY_CRASHED',
      `Event ${id} of type "${row.type}" was alone in hand when ${crashes} relays crashed, so it is published no more. Find out why the publisher ends the process, then redrive it`,
      { context: { event: id, crashes } },
    )
    return { id, orderingKey, row, epoch, event: undefined, fault: permanent(fault) }
  }
}

/** Those with a trait that come before any without it in their lanes. */
function leading(hands: readonly EventInHand[], trait: (hand: EventInHand) => boolean): EventInHand[] {
  const ended = new Set<string>()
  return hands.filter((hand) => {
    if (!ended.has(laneOf(hand)) && trait(hand)) return true
    ended.add(laneOf(hand))
    return false
  })
}

/** The first event that may be published and has not failed: one that fills the way of all others would be its own probe for ever. */
function probeOf(hands: readonly EventInHand[]): EventInHand {
  return headsOf(hands).find(({ row }) => row.attempts === 0) ?? (hands[0] as EventInHand)
}

/** The first event of each lane. */
function headsOf(hands: readonly EventInHand[]): EventInHand[] {
  const lanes = new Set<string>()
  return hands.filter((hand) => lanes.size < lanes.add(laneOf(hand)).size)
}
