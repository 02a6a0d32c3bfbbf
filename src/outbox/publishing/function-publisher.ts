import { inspect } from 'node:util'
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
import { UnbegunEvents } from './unbegun-events.ts'

/** How many events a function publishes at the same time, half of them such as have failed before. They have different ordering keys. */
const concurrency = 32

/** How long a publisher's name may be, in characters: it stands in a column. */
const longestName = 100

/**
 * Makes a publisher of what a relay was given: a function of one event, which then is called for up to 32 events of
 * different keys at a time, or a publisher, which stays itself.
 *
 * @throws DataAccessError `OPTION_INVALID` for anything else.
 */
export function toPublisher(given: Publisher | PublishFunction): Publisher {
  if (typeof given === 'function') {
    if (given.name.length <= longestName) return new FunctionPublisher(given)
    throw new DataAccessError(
      'OPTION_INVALID',
      `relay: publisher is a function whose name has ${given.name.length} characters; give one with a name of at most ${longestName}`,
    )
  }
  if (
    typeof given?.publish === 'function' &&
    typeof given.name === 'string' &&
    given.name !== '' &&
    given.name.length <= longestName
  ) {
    return given
  }
  throw new DataAccessError(
    'OPTION_INVALID',
    'relay: publisher must be a function of an event, or an object with a name of at most 100 characters and a publish(events, { signal })',
  )
}

/** The names that a function has which was written in place, in any program. */
const namesOfNone = ['function', 'publisher', 'default']

/** Whether a publisher is a function without a name by which other processes could tell it from another one. */
export function isNameless(publisher: Publisher): boolean {
  return publisher instanceof FunctionPublisher && namesOfNone.includes(publisher.name)
}

class FunctionPublisher implements Publisher {
  readonly name: string
  readonly #publish: PublishFunction
  readonly #unbegun = new UnbegunEvents()

  constructor(publish: PublishFunction) {
    this.name = publish.name || 'function'
    this.#publish = publish
  }

  async publish(events: readonly OutboxEvent[], context: PublishContext): Promise<Outcome[]> {
    const { signal, mayBegin } = context
    const outcomes = events.map(() => notBegun)
    // What has waited longest for a turn comes first.
    const places = [...events.entries()].sort(([, a], [, b]) => this.#unbegun.waited(b) - this.#unbegun.waited(a))
    const fresh = places.filter(([, { attempt }]) => attempt === 1)
    const again = places.filter(([, { attempt }]) => attempt > 1)
    let away = false
    const caller = async (own: typeof places, others: typeof places) => {
      // What the function never got is no failure, and what it got with no time left would be one. Nor is it to be asked on when it has refused all.
      while (!away && !signal.aborted && mayBegin?.() !== false) {
        const place = own.shift() ?? others.shift()
        if (place === undefined) return
        const [index, event] = place
        const outcome = await this.#publishOne(event, context)
        outcomes[index] = outcome
        away ||= outcome.status === 'unavailable'
      }
    }
    // What has failed may hang again: it gets half of the calls while there is anything else, and no more.
    const callers = Array.from({ length: Math.min(concurrency, events.length) }, (_, n) =>
      n % 2 === 0 ? caller(fresh, again) : caller(again, fresh),
    )
    await Promise.all(callers)
    this.#unbegun.ended(events, outcomes)
    return outcomes
  }

  /** Gives up on a function that ignores its signal, so that the outcomes of the other events are not lost with it. */
  async #publishOne(event: OutboxEvent, context: PublishContext): Promise<Outcome> {
    try {
      const returned: unknown = await untilAborted((async () => this.#publish(event, context))(), context.signal)
      // Whoever returns an outcome, as a publisher of many events does, means it.
      if (isOutcome(returned)) return returned
      return looksLikeAnswer(returned) ? { status: 'retryable', error: this.#unclear(event, returned) } : { status: 'published' }
    } catch (error) {
      return outcomeOfError(error)
    }
  }

  #unclear({ id }: OutboxEvent, returned: object): DataAccessError {
    const kind = returned.constructor?.name ?? 'Object'
    const found = kind === 'Object' ? 'an object' : `a ${kind}`
    const status = 'status' in returned ? ` of status ${inspect(returned.status)}` : ''
    return new DataAccessError(
      'PUBLISHER_INVALID_OUTCOME',
      `Publisher "${this.name}" returned ${found}${status}, so whether event ${id} was published is unknown; it counts as a failed try. Look at the answer yourself: throw when the event was not published, and return nothing, or an outcome, when it was`,
      { context: { publisher: this.name, event: id } },
    )
  }
}

/** Whether it tells of success or failure in other words than ours, as the answer of a fetch does: most resolve for both. */
function looksLikeAnswer(returned: unknown): returned is object {
  return (
    typeof returned === 'object' && returned !== null && ('status' in returned || ('ok' in returned && returned.ok === false))
  )
}
