import { notBegun, type Outcome } from '../publishing/publisher.ts'

/** What decides an event's place in a batch. */
export interface Orderable {
  readonly id: string
  readonly orderingKey: string | null
}

/** What must be published one after the other: the events of a key, or an event without one. */
export function laneOf(event: Orderable): string {
  return event.orderingKey === null ? `id ${event.id}` : `key ${event.orderingKey}`
}

/** The ordering key of a lane; `undefined` for the lane of an event without one. */
export function keyOfLane(lane: string): string | undefined {
  return lane.startsWith('key ') ? lane.slice(4) : undefined
}

/**
 * Parts a batch into waves: wave k holds the k-th event of each key, so a wave can be published in one go, in any order.
 * Events without a key are all in the first. Within a key, and within a wave, the given order stays.
 */
export function toWaves<Event extends Orderable>(events: readonly Event[]): Event[][] {
  const waves: Event[][] = []
  const seen = new Map<string, number>()
  for (const event of events) {
    const lane = laneOf(event)
    const depth = seen.get(lane) ?? 0
    seen.set(lane, depth + 1)
    const wave = waves[depth]
    if (wave === undefined) waves.push([event])
    else wave.push(event)
  }
  return waves
}

/** One event with what became of it. */
export interface Published<Event> {
  readonly event: Event
  readonly outcome: Outcome
}

/** What happened to a batch: an outcome for each event that was tried, in the order of the waves. */
export interface WaveResult<Event> {
  readonly tried: readonly Published<Event>[]
  /** Events that were not tried, since one before them failed, the publishing was broken off, or the publisher had no time. */
  readonly untried: readonly Event[]
  /** Of these the first of each key for which the batch had no more time. */
  readonly late: readonly Event[]
}

/**
 * Publishes a batch wave by wave. A key with a failure drops out of the later waves; an `unavailable` ends the batch after
 * its wave, and so does an event that was not begun, which comes before what follows in other keys.
 *
 * @param publish publishes one wave: one outcome per event, in order.
 * @param admit tells before each wave which of its events may still be tried.
 * @param inTime tells before each wave but the first whether it may begin.
 */
export async function publishInWaves<Event extends Orderable>(
  events: readonly Event[],
  publish: (wave: readonly Event[]) => Promise<readonly Outcome[]>,
  admit: (event: Event) => boolean = () => true,
  inTime: () => boolean = () => true,
): Promise<WaveResult<Event>> {
  const tried: Published<Event>[] = []
  const untried: Event[] = []
  const late: Event[] = []
  const stopped = new Set<string>()
  let broken = false
  for (const [depth, wave] of toWaves(events).entries()) {
    const over = depth > 0 && !inTime()
    const open: Event[] = []
    for (const event of wave) {
      const admitted = !broken && !stopped.has(laneOf(event)) && admit(event)
      if (admitted && !over) {
        open.push(event)
      } else {
        if (admitted) late.push(event)
        stopped.add(laneOf(event))
        untried.push(event)
      }
    }
    if (open.length === 0) continue
    const outcomes = await publish(open)
    open.forEach((event, index) => {
      const outcome = outcomes[index] as Outcome
      if (outcome === notBegun) untried.push(event)
      else tried.push({ event, outcome })
      if (outcome.status !== 'published') stopped.add(laneOf(event))
      if (outcome.status === 'unavailable') broken = true // also where it was not begun
    })
  }
  return { tried, untried, late }
}
