import type { DataAccess, UnitOfWorkContext } from '@innovateai/data-access'
import { AIRScoreCalculated, calculateAndStoreAIRScore, User } from '@innovateai/data-access/assessment'
import { type DeadLetter, DomainEvent } from '@innovateai/data-access/outbox'
import type { EventRow, LetterRow, OutboxPicture } from '../contract/live.ts'
import type { StoredScore } from '../contract/results.ts'
import { Broker } from './broker.ts'
import { RelayDesk } from './relay-desk.ts'
import { addScore, userCalled } from './sample-rows.ts'
import type { Delivery } from './subscriber.ts'

const listed = 60

/** Chapter 5: what records events, what relays them, and what became of each. */
export class OutboxDesk {
  readonly broker: Broker
  readonly relay: RelayDesk
  readonly #data: DataAccess
  readonly #delivery: Delivery
  readonly #changed: () => void

  constructor(data: DataAccess, delivery: Delivery, changed: () => void) {
    this.#data = data
    this.#delivery = delivery
    this.#changed = changed
    this.broker = new Broker(delivery.publisher, changed)
    this.relay = new RelayDesk(data, this.broker, changed)
  }

  /** The operation of the seed; a poisoned one is recorded by hand, to know the event's id before it commits. */
  async calculate({ poisoned }: { readonly poisoned: boolean }): Promise<StoredScore> {
    const userId = await userCalled(this.#data, 'event-demo@innovateai.dev', 'Event Demo User')
    // #region calculate
    const { score, event } = poisoned
      ? await this.#data.unitOfWork(async (unit) => recordScore(unit, userId, 66.6, (id) => this.broker.poisoned.add(id)))
      : await calculateAndStoreAIRScore(this.#data, userId, '15-1252')
    // #endregion
    this.relay.noteCommit(1)
    return { scoreId: score.id, airScore: score.airScore, eventId: event.id, status: event.status }
  }

  /** Some users get some scores each, one transaction for each round: what the relay's waves are made of. */
  async recordBatch({ users, scores }: { readonly users: number; readonly scores: number }): Promise<{ events: number }> {
    const ids: string[] = []
    for (let number = 1; number <= users; number++) {
      ids.push(await userCalled(this.#data, `stream-${number}@innovateai.dev`, `Stream ${number}`))
    }
    for (let round = 1; round <= scores; round++) {
      // #region record
      await this.#data.unitOfWork(async (unit) => {
        for (const id of ids) recordScore(unit, id, 60 + round)
      }) // the scores and their events commit together
      // #endregion
      this.relay.noteCommit(ids.length)
    }
    return { events: users * scores }
  }

  poison(id: string): null {
    this.broker.poisoned.add(id)
    this.#changed()
    return null
  }

  /** Heals the event and puts it back among the pending ones. */
  async redrive(id: string): Promise<{ letters: number }> {
    this.broker.poisoned.delete(id)
    // #region redrive
    const letters = await this.#data.outbox.deadLetters.redrive({ ids: [id] })
    // #endregion
    this.relay.noteCommit(letters)
    return { letters }
  }

  async discard(id: string): Promise<{ letters: number }> {
    const letters = await this.#data.outbox.deadLetters.discard({ ids: [id] })
    this.#changed()
    return { letters }
  }

  forget(): void {
    this.broker.poisoned.clear()
    this.broker.forgetWaves()
    this.#delivery.forget()
  }

  async picture(): Promise<OutboxPicture> {
    const em = this.#data.fork()
    // #region lists
    const { backlog } = await this.#data.outbox.stats()
    const pending = await em.getRepository(DomainEvent).pending({ limit: listed })
    const published = await em.getRepository(DomainEvent).published({ limit: listed })
    const letters = await this.#data.outbox.deadLetters.list({}, { limit: listed })
    // #endregion
    const publishedCount = await em.count(DomainEvent, { status: 'published' })
    const users = await em.find(User, { email: { $like: 'stream-%' } }, { fields: ['name'] })
    const names = new Map(users.map(({ id, name }) => [id, name]))
    const arrivals = this.#delivery.arrivals()
    return {
      backlog,
      pending: pending.map((event) => this.#row(event, names)),
      published: published.map((event) => this.#row(event, names)),
      publishedCount,
      letters: letters.map((letter) => this.#letterRow(letter, names)),
      relay: this.relay.picture,
      progress: this.relay.progress,
      broker: this.broker.switches,
      waves: this.broker.waves.map((wave) => {
        return { ...wave, events: wave.events.map((event) => ({ ...event, key: readableKey(event.key, names) })) }
      }),
      arrivals: arrivals.newest.map((arrival) => ({ ...arrival, user: names.get(arrival.user) ?? 'Event Demo User' })),
      arrivalCount: arrivals.count,
    }
  }

  #row(event: DomainEvent, names: ReadonlyMap<string, string>): EventRow {
    return {
      id: event.id,
      type: event.eventType,
      key: readableKey(event.orderingKey ?? '', names),
      airScore: scoreOf(event.payload),
      createdAt: event.createdAt.toISOString(),
      publishedAt: event.publishedAt?.toISOString() ?? null,
      attempts: event.attempts,
      poisoned: this.broker.poisoned.has(event.id),
    }
  }

  #letterRow(letter: DeadLetter, names: ReadonlyMap<string, string>): LetterRow {
    return {
      id: letter.id,
      type: letter.type,
      key: readableKey(letter.orderingKey ?? '', names),
      airScore: scoreOf(JSON.parse(letter.payloadJson)),
      createdAt: letter.createdAt.toISOString(),
      publishedAt: null,
      attempts: letter.attempts,
      poisoned: this.broker.poisoned.has(letter.id),
      reason: letter.reason,
      error: letter.error,
      history: letter.history.map(({ error }) => error),
    }
  }
}

// #region record-score
/** Stores a score and records its event; the events of one user are published in the order of their commits. */
function recordScore({ em, record }: UnitOfWorkContext, userId: string, airScore: number, known?: (eventId: string) => void) {
  const score = addScore(em, userId, airScore, '15-2051')
  const payload = { userId, airScoreId: score.id, airScoreValue: airScore, occupation: '15-2051' }
  const event = record(AIRScoreCalculated, score, payload, { orderingKey: `User:${userId}` })
  known?.(event.id)
  return { score, event }
}
// #endregion

function readableKey(key: string, names: ReadonlyMap<string, string>): string {
  const [entity = '', id = ''] = key.split(':')
  if (entity === 'User') return names.get(id) ?? 'Event Demo User'
  return `${entity} …${id.slice(-4)}`
}

function scoreOf(payload: unknown): number {
  return (payload as { readonly airScoreValue: number }).airScoreValue
}
