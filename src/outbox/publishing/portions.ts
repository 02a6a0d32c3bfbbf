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
  const turns = events.map((event, index) => ({ index, event, waited: unbegun.waited(event) })).sort(byTurns)
  const toMessage = ({ index, event }: Turn): Message | undefined => {
    try {
      return { place: place(event), text: textOf(write, event) }
    } catch (error) {
      outcomes[index] = outcomeOfError(error)
      return undefined
    }
  }
  let away: Outcome | undefined
  for (const portion of toPortions(turns, toMessage)) {
    if (away === undefined && (signal.aborted || mayBegin?.() === false)) break
    const answers = away === undefined ? await publishPortion(portion, signal, publish) : []
    for (const [n, { index }] of portion.entries()) outcomes[index] = away ?? (answers[n] as Outcome)
    away ??= answers.find(({ status }) => status === 'unavailable')
  }
  unbegun.ended(events, outcomes)
  return outcomes
}

/** An event with its place among those of the call. */
interface Turn {
  readonly index: number
  readonly event: OutboxEvent
  /** For how many calls it has waited for its turn. */
  readonly waited: number
}

/** A message with the place of its event among those of the call. */
interface Placed {
  readonly index: number
  readonly message: Message
}

/** What has waited longest comes first, and among equals the large ones last: one that does not arrive takes the time of all behind it. */
function byTurns(one: Turn, other: Turn): number {
  const large = ({ event }: Turn) => Number(event.payloadJson.length >= largeLength)
  return other.waited - one.waited || large(one) - large(other)
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

/** Parts messages in their order; a large one goes alone. Each is made when its portion is asked for: the time of one portion is short. */
function* toPortions(turns: readonly Turn[], toMessage: (turn: Turn) => Message | undefined): Generator<Placed[]> {
  let portion: Placed[] = []
  let length = 0
  for (const turn of turns) {
    const message = toMessage(turn)
    if (message === undefined) continue
    const own = message.text.length
    const large = own >= largeLength
    if (portion.length > 0 && (large || length + own > portionLength)) {
      yield portion
      portion = []
      length = 0
    }
    portion.push({ index: turn.index, message })
    length += own
    if (!large) continue
    yield portion
    portion = []
    length = 0
  }
  if (portion.length > 0) yield portion
}
