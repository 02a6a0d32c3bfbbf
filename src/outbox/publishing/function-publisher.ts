import { DataAccessError } from '../../errors.ts'
import {
  isOutcome,
  type OutboxEvent,
  type Outcome,
  outcomeOfError,
  type PublishContext,
  type Publisher,
  type PublishFunction,
} from './publisher.ts'

/** How many events a function publishes at the same time. They have different ordering keys. */
const concurrency = 32

/**
 * Makes a publisher of what a relay was given: a function of one event, which then is called for up to 32 events of
 * different keys at a time, or a publisher, which stays itself.
 *
 * @throws DataAccessError `OPTION_INVALID` for anything else.
 */
export function toPublisher(given: Publisher | PublishFunction): Publisher {
  if (typeof given === 'function') {
    return { name: given.name || 'function', publish: (events, context) => publishEach(given, events, context) }
  }
  if (typeof given?.publish === 'function' && typeof given.name === 'string' && given.name !== '' && given.name.length <= 100) {
    return given
  }
  throw new DataAccessError(
    'OPTION_INVALID',
    'relay: publisher must be a function of an event, or an object with a name of at most 100 characters and a publish(events, { signal })',
  )
}

async function publishEach(
  publish: PublishFunction,
  events: readonly OutboxEvent[],
  context: PublishContext,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  let next = 0
  const lane = async () => {
    while (next < events.length) {
      const index = next++
      outcomes[index] = await publishOne(publish, events[index] as OutboxEvent, context)
    }
  }
  await Promise.all(Array.from({ length: Math.min(concurrency, events.length) }, lane))
  return outcomes
}

/** Gives up on a function that ignores its signal, so that the outcomes of the other events are not lost with it. */
async function publishOne(publish: PublishFunction, event: OutboxEvent, context: PublishContext): Promise<Outcome> {
  const { signal } = context
  let giveUp: (() => void) | undefined
  try {
    signal.throwIfAborted()
    const aborted = new Promise<never>((_, reject) => {
      giveUp = () => reject(signal.reason)
      signal.addEventListener('abort', giveUp, { once: true })
    })
    const returned: unknown = await Promise.race([(async () => publish(event, context))(), aborted])
    // Whoever returns an outcome, as a publisher of many events does, means it.
    return isOutcome(returned) ? returned : { status: 'published' }
  } catch (error) {
    return outcomeOfError(error)
  } finally {
    if (giveUp !== undefined) signal.removeEventListener('abort', giveUp)
  }
}
