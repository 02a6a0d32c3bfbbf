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

/** How many events a destination is remembered to have, while another one has not: a largest batch, and as many before it. */
const rememberedEvents = 20_000

/**
 * The worst first. What may still succeed comes before what cannot: an event that one destination refuses becomes a dead letter only
 * when no other one waits for it.
 */
const worstFirst = ['unavailable', 'retryable', 'permanent', 'published'] as const satisfies Outcome['status'][]

/**
 * Makes one publisher of several: each event goes to all of them, side by side, and is published once all have acknowledged it; until
 * then its outcome is the worst of theirs. So an outage of one pauses all, and a dead letter may have reached some. **Atomic?** No.
 * **Ordered?** As each of them is. **Idempotent?** What one has acknowledged it does not get again because of another, unless a relay
 * with other memory tries next: in another process, or after a restart.
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

/** A publisher with the ids of the events that it has acknowledged and another one has not. */
interface Destination {
  readonly publisher: Publisher
  readonly had: Set<string>
}

class PublisherToAll implements Publisher {
  readonly name: string
  readonly #destinations: readonly Destination[]

  constructor(name: string, publishers: readonly (Publisher | PublishFunction)[]) {
    this.name = name
    this.#destinations = publishers.map((given) => ({ publisher: toPublisher(given), had: new Set() }))
  }

  async prepare(surroundings?: { readonly logger: Logger }): Promise<void> {
    await Promise.all(this.#destinations.map(({ publisher }) => publisher.prepare?.(surroundings)))
  }

  async publish(events: readonly OutboxEvent[], context: PublishContext): Promise<Outcome[]> {
    const answers = await Promise.all(
      this.#destinations.map(async ({ publisher, had }) => {
        const open = events.filter(({ id }) => !had.has(id))
        const outcomes = open.length === 0 ? [] : await askPublisher(publisher, open, context)
        // At once: another one may never answer, and the relay then speaks for all.
        for (const [index, { id }] of open.entries()) if (outcomes[index]?.status === 'published') remember(had, id)
        return new Map(open.map(({ id }, index) => [id, outcomes[index] as Outcome]))
      }),
    )
    return events.map(({ id }) => {
      const outcome = worstOf(answers.map((answer) => answer.get(id) ?? { status: 'published' }))
      // So does what the relay waits for no longer, whatever it has come to: another try may be under way.
      const comesAgain = outcome.status === 'unavailable' || outcome.status === 'retryable' || context.signal.aborted
      if (!comesAgain) for (const { had } of this.#destinations) had.delete(id)
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
  return outcomes.reduce((worst, outcome) => (rank(outcome) < rank(worst) ? outcome : worst))
}

function remember(had: Set<string>, id: string): void {
  had.add(id)
  const [oldest] = had
  if (had.size > rememberedEvents && oldest !== undefined) had.delete(oldest)
}
