import { DataAccessError } from '../../errors.ts'
import { untilAborted } from '../../kernel/abortable.ts'
import {
  isOutcome,
  notBegun,
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
  if (typeof given === 'function') return new FunctionPublisher(given)
  if (typeof given?.publish === 'function' && typeof given.name === 'string' && given.name !== '' && given.name.length <= 100) {
    return given
  }
  throw new DataAccessError(
    'OPTION_INVALID',
    'relay: publisher must be a function of an event, or an object with a name of at most 100 characters and a publish(events, { signal })',
  )
}

class FunctionPublisher implements Publisher {
  readonly name: string
  readonly #publish: PublishFunction
  /** How often calls in a row had no time to begin an event, by its id. */
  #left: ReadonlyMap<string, number> = new Map()

  constructor(publish: PublishFunction) {
    this.name = publish.name || 'function'
    this.#publish = publish
  }

  async publish(events: readonly OutboxEvent[], context: PublishContext): Promise<Outcome[]> {
    const { signal, closing } = context
    const outcomes = events.map(() => notBegun)
    // What has waited longest for a turn comes first: behind events that hang with each try it would never get one.
    const calls = ({ id }: OutboxEvent) => this.#left.get(id) ?? 0
    const places = [...events.entries()].sort(([, a], [, b]) => calls(b) - calls(a))
    const turns = places.values()
    const lane = async () => {
      for (const [index, event] of turns) {
        // What the function never got is no failure, and what it got with no time left would be one.
        if (signal.aborted || closing?.aborted) return
        outcomes[index] = await publishOne(this.#publish, event, context)
      }
    }
    await Promise.all(Array.from({ length: Math.min(concurrency, events.length) }, lane))
    this.#left = new Map(events.filter((_, index) => outcomes[index] === notBegun).map((event) => [event.id, calls(event) + 1]))
    return outcomes
  }
}

/** Gives up on a function that ignores its signal, so that the outcomes of the other events are not lost with it. */
async function publishOne(publish: PublishFunction, event: OutboxEvent, context: PublishContext): Promise<Outcome> {
  try {
    const returned: unknown = await untilAborted((async () => publish(event, context))(), context.signal)
    // Whoever returns an outcome, as a publisher of many events does, means it.
    return isOutcome(returned) ? returned : { status: 'published' }
  } catch (error) {
    return outcomeOfError(error)
  }
}
