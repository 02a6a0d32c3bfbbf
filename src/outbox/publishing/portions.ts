import { untilAborted } from '../../kernel/abortable.ts'
import { notBegun, type OutboxEvent, type Outcome, outcomeOfError, type PublishContext, permanent } from './publisher.ts'
import type { UnbegunEvents } from './unbegun-events.ts'

/**
 * About how much text is one portion, in characters. Ordinary waves are smaller and stay one round trip; a larger one would need
 * longer than a broker has to answer, and the more often it is tried again the more of it arrives more than once.
 */
const portionLength = 1_000_000

/** From so much text on a message goes alone, in characters: others would fail with one that a broker cannot take, and it would be blamed on none. */
const largeLength = 100_000

/** What a broker gets of an event. */
export interface Message {
  /** The channel, stream or topic that it goes to. */
  readonly place: string
  readonly text: string
}

/** How a publisher makes messages of events, and publishes some of them in one round trip. */
export interface MessagePublishing {
  /** What it throws is a failure of this event alone, as marked. */
  place(event: OutboxEvent): string
  /** What it throws is permanent: an event does not change. */
  write(event: OutboxEvent): string
  /**
   * Resolves to one outcome for each; never rejects.
   *
   * @param signal aborts when nobody waits for them any more.
   */
  publish(portion: readonly Message[], signal: AbortSignal): Promise<readonly Outcome[]>
}

/**
 * Publishes events portion by portion, so that what was acknowledged is published whatever becomes of the others. Behind an
 * `unavailable` nothing more goes out, and all of it is; what has not gone out when the time is over was not begun, and goes first with
 * the next call.
 *
 * @param unbegun those of the publisher.
 */
export async function publishInPortions(
  events: readonly OutboxEvent[],
  { signal, mayBegin }: PublishContext,
  unbegun: UnbegunEvents,
  { place, write, publish }: MessagePublishing,
): Promise<Outcome[]> {
  const outcomes = events.map(() => notBegun)
  const open: Placed[] = []
  for (const [index, event] of events.entries()) {
    try {
      open.push({ index, waited: unbegun.waited(event), message: { place: place(event), text: textOf(write, event) } })
    } catch (error) {
      outcomes[index] = outcomeOfError(error)
    }
  }
  let away: Outcome | undefined
  for (const portion of toPortions(open.sort(byTurns))) {
    if (away === undefined && (signal.aborted || mayBegin?.() === false)) break
    const answers = away === undefined ? await publishPortion(portion, signal, publish) : []
    for (const [n, { index }] of portion.entries()) outcomes[index] = away ?? (answers[n] as Outcome)
    away ??= answers.find(({ status }) => status === 'unavailable')
  }
  unbegun.ended(events, outcomes)
  return outcomes
}

/** A message with the place of its event among those of the call. */
interface Placed {
  readonly index: number
  /** For how many calls it has waited for its turn. */
  readonly waited: number
  readonly message: Message
}

const isLarge = ({ message }: Placed) => message.text.length >= largeLength

/** What has waited longest comes first, and among equals the large ones last: one that does not arrive takes the time of all behind it. */
function byTurns(one: Placed, other: Placed): number {
  return other.waited - one.waited || Number(isLarge(one)) - Number(isLarge(other))
}

function textOf(write: (event: OutboxEvent) => string, event: OutboxEvent): string {
  try {
    return write(event)
  } catch (cause) {
    throw permanent(new Error(`Event ${event.id} of type "${event.type}" cannot be written as a message`, { cause }))
  }
}

async function publishPortion(
  portion: readonly Placed[],
  signal: AbortSignal,
  publish: MessagePublishing['publish'],
): Promise<readonly Outcome[]> {
  try {
    const messages = portion.map(({ message }) => message)
    return await untilAborted(publish(messages, signal), signal)
  } catch (error) {
    return portion.map(() => outcomeOfError(error))
  }
}

/** Parts messages in their order; a large one goes alone. */
function toPortions(messages: readonly Placed[]): Placed[][] {
  const portions: Placed[][] = []
  let length = Number.POSITIVE_INFINITY
  for (const placed of messages) {
    const own = placed.message.text.length
    const large = isLarge(placed)
    length += own
    if (length > portionLength || large) {
      portions.push([])
      length = own
    }
    portions.at(-1)?.push(placed)
    if (large) length = Number.POSITIVE_INFINITY
  }
  return portions
}
