import { defineEntity, EntityRepository, EntityRepositoryType, p } from '@mikro-orm/core'
import { JsonTextType } from '../../database/json-text.ts'
import { checkOptions, wholeFrom } from '../../kernel/options.ts'

/** The two states of a stored event. Dead letters leave the table; there is no claimed state. */
export const domainEventStatuses = ['pending', 'published'] as const
/** `pending`: not published yet, whether it is due, delayed, or waits for its next try. `published`: acknowledged by the publisher, and kept. */
export type DomainEventStatus = (typeof domainEventStatuses)[number]

/**
 * The outbox table. Rows are written by `record()` inside a unit of work and marked by the relay; programs read them.
 * `sequence` orders the events of one ordering key as their transactions committed, and says nothing across keys.
 */
export const DomainEventSchema = defineEntity({
  name: 'DomainEvent',
  tableName: 'domain_events',
  indexes: [
    { name: 'domain_events_status_created_at_index', properties: ['status', 'createdAt'] },
    // Serves the relay's fetch: the pending events of its buckets in sequence order.
    { name: 'domain_events_pending_index', properties: ['bucket', 'sequence'], where: "status = 'pending'" },
    // Serve the questions after events that have a time, by key and by time: few rows, and none of a write that waits for nothing.
    {
      name: 'domain_events_delayed_index',
      properties: ['orderingKey', 'sequence'],
      where: "status = 'pending' and available_at is not null",
    },
    {
      name: 'domain_events_available_index',
      properties: ['availableAt', 'attempts'],
      where: "status = 'pending' and available_at is not null",
    },
  ],
  properties: {
    id: p.uuid().primary(),
    eventType: p.string().length(100).index(),
    aggregateType: p.string().length(100),
    aggregateId: p.string().length(36).index(),
    payload: p.type(JsonTextType).$type<unknown>(),
    status: p.string().length(20).default('pending').$type<DomainEventStatus>(),
    publishedAt: p.datetime(3).nullable(),
    createdAt: p.datetime(3),
    updatedAt: p.datetime(3),
    sequence: p.bigint(),
    orderingKey: p.string().length(255).nullable(),
    bucket: p.integer(),
    schemaVersion: p.integer().default(1),
    headers: p.type(JsonTextType).$type<Readonly<Record<string, string>>>(),
    availableAt: p.datetime(3).nullable(),
    attempts: p.integer().default(0),
    lastError: p.text().nullable(),
  },
})

/** One recorded domain event, as stored in `domain_events`. Moments have milliseconds; `attempts` are those that failed. */
export class DomainEvent extends DomainEventSchema.class {
  /** Tells `em.getRepository(DomainEvent)` its type; never set. */
  declare [EntityRepositoryType]?: DomainEventRepository
}
DomainEventSchema.setClass(DomainEvent)
DomainEventSchema.setCustomRepository(() => DomainEventRepository)

/** The most events of one list: more belong in pages or in the relay. */
const longestList = 1000

/** How long a list of events may be. */
export interface EventListOptions {
  /** The most events, from 1 to 1000. Default 100. */
  readonly limit?: number | undefined
}

/** The stored domain events, to look at; the relay delivers them. `em.getRepository(DomainEvent)` returns it. */
export class DomainEventRepository extends EntityRepository<DomainEvent> {
  /**
   * Resolves to the events that wait for their publication, the longest waiting first, among them those that are delayed or wait for their
   * next try; at most `limit`. Dead letters are not among them. Served by (status, created_at).
   *
   * @throws DataAccessError `OPTION_INVALID`; what the database throws.
   */
  pending(options: EventListOptions = {}): Promise<DomainEvent[]> {
    return this.#list('pending', 'asc', options)
  }

  /**
   * Resolves to the published events that are still kept, those recorded last first; at most `limit`. Served by (status, created_at).
   *
   * @throws DataAccessError `OPTION_INVALID`; what the database throws.
   */
  published(options: EventListOptions = {}): Promise<DomainEvent[]> {
    return this.#list('published', 'desc', options)
  }

  async #list(status: DomainEventStatus, direction: 'asc' | 'desc', options: EventListOptions): Promise<DomainEvent[]> {
    checkOptions({ door: status }, options, { limit: wholeFrom(1, longestList) })
    const { limit = 100 } = options
    return this.find({ status }, { orderBy: { createdAt: direction, sequence: direction }, limit })
  }
}
