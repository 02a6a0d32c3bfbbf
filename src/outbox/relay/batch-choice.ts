import { DataAccessError } from '../../errors.ts'
import { permanent } from '../publishing/publisher.ts'
import type { SettlementStore } from '../store/settlement-store.ts'
import type { EventInHand } from './held-event.ts'
import { laneOf } from './waves.ts'

/** After so many crashes with this event alone in hand it is a dead letter. */
const crashLimit = 3

/**
 * Narrows a reading to what may be published together: a single event while the publisher is being probed, if there is one that has
 * not failed, and a single one that was in hand when a relay crashed, so that the one that kills is found.
 */
export async function chooseBatch(
  hands: readonly EventInHand[],
  probing: boolean,
  settlements: SettlementStore,
): Promise<readonly EventInHand[]> {
  const suspect = hands.find(({ row }) => row.suspect)
  if (suspect === undefined) return probing ? [probeOf(hands)] : hands
  const first = hands.find((hand) => laneOf(hand) === laneOf(suspect)) as EventInHand
  if (!first.row.suspect || first.row.attempts === 0) return [first]
  const crashes = await settlements.crashesOf(first.id)
  if (crashes < crashLimit) return [first]
  const fault = new DataAccessError(
    'RELAY_CRASHED',
    `Event ${first.id} of type "${first.row.type}" was alone in hand when ${crashes} relays crashed, so it is published no more. Find out why the publisher ends the process, then redrive it`,
    { context: { event: first.id, crashes } },
  )
  return [{ ...first, event: undefined, fault: permanent(fault) }]
}

/** The first event that may be published and has not failed: one that fills the way of all others would be its own probe for ever. */
function probeOf(hands: readonly EventInHand[]): EventInHand {
  const behind = new Set<string>()
  for (const hand of hands) {
    const lane = laneOf(hand)
    if (!behind.has(lane) && hand.row.attempts === 0) return hand
    behind.add(lane)
  }
  return hands[0] as EventInHand
}
