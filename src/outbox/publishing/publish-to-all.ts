import { DataAccessError } from '../../errors.ts'
import type { Logger } from '../../kernel/logger.ts'
import { askPublisher } from './ask-publisher.ts'
import { toPublisher } from './function-publisher.ts'
import {
  notBegun,
  type OutboxEvent,
  type Outcome,
  type PublishContext,
  type Publisher,
  type PublishFunction,
} from './publisher.ts'
import { askedFor } from './retry-policy.ts'

/** How many events a destination is remembered to have, while another one has not: a largest batch, and as many before it. Told in the guide. */
const rememberedEvents = 20_000

/**
 * The worst first. What may still succeed comes before what cannot: an event that one destination refuses becomes a dead letter only
 * when no other one waits for it.
 */
const worstFirst = ['unavailable', 'retryable', 'permanent', 'published'] as const satisfies Outcome['status'][]

/**
 * Makes one publisher of several: each event goes to all of them, side by side, and is published once all have acknowledged it; until
 * then its outcome is the worst of theirs. So an outage of one pauses all, and a dead letter may have reached some. **Atomic?** No.
 * **Ordered?** As each of them is. **Idempotent?** What one has acknowledged it does not get again because of another, as far as 20,000
 * events are remembered, unless an earlier one of its key comes again, or a relay with other memory tries next: in another process, or
 * after a restart.
 *
 * What one asks for by `afterMs` counts where its outcome is the worst.
 *
 * All get the same event objects: one that changes a payload changes it for the others.
 *
 * @param name permanent, and so not made of theirs: it stays when a destination is added.
 * @throws DataAccessError `OPTION_INVALID`.
 */
export function publishToAll(name: string, publishers: readonly (Publisher | PublishFunction)[]): Publisher {
  const valid =
    typeof name === 'string' && name !== '' && name.length <= 100 && Array.isArray(publishers) && publishers.length > 0
  if (valid) return new PublisherToAll(name, publishers)
  throw new DataAccessError(
    'OPTION_INVALID',
    'publishToAll needs a name of 1 to 100 characters and a list of at least one publisher',
  )
}

/** An event that a destination was given, and that not all have acknowledged. */
interface Given {
  readonly orderingKey: string | null
  readonly sequence: bigint
  /** The destination has acknowledged it, and was given nothing since that comes before it. */
  had: boolean
  /** How often it was given. An answer may come after the next try has begun. */
  tries: number
}

/** One try of an event. */
interface Try {
  readonly of: Given
  readonly number: number
}

/** A publisher with what it was given, by the events' ids, the oldest first. */
interface Destination {
  readonly publisher: Publisher
  readonly given: Map<string, Given>
}

class PublisherToAll implements Publisher {
  readonly name: string
  readonly #destinations: readonly Destination[]

  constructor(name: string, publishers: readonly (Publisher | PublishFunction)[]) {
    this.name = name
    this.#destinations = publishers.map((publisher) => ({ publisher: toPublisher(publisher), given: new Map() }))
  }

  async prepare(surroundings?: { readonly logger: Logger }): Promise<void> {
    await Promise.all(this.#destinations.map(({ publisher }) => publisher.prepare?.(surroundings)))
  }

  async publish(events: readonly OutboxEvent[], context: PublishContext): Promise<Outcome[]> {
    const answers = await Promise.all(
      this.#destinations.map(async ({ publisher, given }) => {
        const open = events.filter(({ id }) => given.get(id)?.had !== true)
        forgetLater(given, open)
        const tries = open.map((event) => begin(given, event))
        const outcomes = open.length === 0 ? [] : await askPublisher(publisher, open, context)
        // At once: another one may never answer, and the relay then speaks for all.
        for (const [index, { id }] of open.entries()) settle(given, id, tries[index] as Try, outcomes[index])
        return new Map(open.map(({ id }, index) => [id, outcomes[index] as Outcome]))
      }),
    )
    return events.map(({ id }) => {
      const outcome = worstOf(answers.map((answer) => answer.get(id) ?? { status: 'published' }))
      // So does what the relay waits for no longer, whatever it has come to: another try may be under way.
      const comesAgain = outcome.status === 'unavailable' || outcome.status === 'retryable' || context.signal.aborted
      if (!comesAgain) for (const { given } of this.#destinations) given.delete(id)
      return outcome
    })
  }

  async close(): Promise<void> {
    const ends = await Promise.allSettled(this.#destinations.map(async ({ publisher }) => publisher.close?.()))
    for (const end of ends) if (end.status === 'rejected') throw end.reason
  }
}

function worstOf(outcomes: readonly Outcome[]): Outcome {
  // A destination that is away pauses the relay, also where another one had no time to begin.
  const rank = (outcome: Outcome) => (outcome === notBegun ? 0.5 : worstFirst.indexOf(outcome.status))
  const asked = (outcome: Outcome) => (outcome.status === 'published' ? 0 : askedFor(outcome))
  return outcomes.reduce((worst, outcome) => {
    const worse = rank(outcome) - rank(worst) || asked(worst) - asked(outcome)
    return worse < 0 ? outcome : worst
  })
}

/** What comes behind an event in its key is due again once that is: a mark was lost, and the destination must not end on the old value. */
function forgetLater(given: Map<string, Given>, events: readonly OutboxEvent[]): void {
  if (given.size === 0) return
  const places = new Map(events.map(({ orderingKey, sequence }) => [orderingKey, sequence]))
  for (const [id, { orderingKey, sequence }] of given) {
    const earlier = orderingKey === null ? undefined : places.get(orderingKey)
    if (earlier !== undefined && earlier < sequence) given.delete(id)
  }
}

function begin(given: Map<string, Given>, { id, orderingKey, sequence }: OutboxEvent): Try {
  const known = given.get(id)
  if (known !== undefined) return { of: known, number: ++known.tries }
  const place = { orderingKey, sequence, had: false, tries: 1 }
  given.set(id, place)
  const [oldest] = given.keys()
  if (given.size > rememberedEvents && oldest !== undefined) given.delete(oldest)
  return { of: place, number: 1 }
}

/**
 * Keeps what was acknowledged, by whichever try. An answer that comes after its event was forgotten keeps nothing: its place is no longer
 * among the given. A refusal that comes when the next try has begun forgets nothing: that one's answer is still to come.
 */
function settle(given: Map<string, Given>, id: string, { of, number }: Try, outcome: Outcome | undefined): void {
  if (outcome?.status === 'published') of.had = true
  else if (!of.had && of.tries === number && given.get(id) === of) given.delete(id)
}
