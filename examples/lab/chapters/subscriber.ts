import { AIRScoreCalculated } from '@innovateai/data-access/assessment'
import type { OutboxEvent, Publisher } from '@innovateai/data-access/outbox'
import { type EventMessage, redisPubSub } from '@innovateai/data-access/publishers/redis-pubsub'
import { Redis } from 'ioredis'
import type { Arrival } from '../contract/live.ts'

const keptArrivals = 40

/** A way to publish, and what arrives on its other side. */
export interface Delivery {
  readonly name: string
  readonly publisher: Publisher
  readonly arrivals: () => { readonly newest: readonly Arrival[]; readonly count: number }
  readonly forget: () => void
  readonly close: () => Promise<void>
}

/** Redis Pub/Sub with a subscriber on a connection of its own, or a function of this process. */
export async function openDelivery(redisUrl: string | undefined, channel: string, changed: () => void): Promise<Delivery> {
  const inbox = new Inbox(changed)
  return redisUrl === undefined ? inProcess(inbox) : throughRedis(redisUrl, channel, inbox)
}

class Inbox {
  #newest: Arrival[] = []
  #count = 0
  readonly #changed: () => void

  constructor(changed: () => void) {
    this.#changed = changed
  }

  take(id: string, payload: unknown): void {
    const { userId, airScoreValue } = payload as { readonly userId: string; readonly airScoreValue: number }
    this.#newest = [{ id, user: userId, airScore: airScoreValue, at: new Date().toISOString() }, ...this.#newest].slice(
      0,
      keptArrivals,
    )
    this.#count += 1
    this.#changed()
  }

  read = () => ({ newest: this.#newest, count: this.#count })

  forget = () => {
    this.#newest = []
    this.#count = 0
  }
}

function inProcess(inbox: Inbox): Delivery {
  const publish = async (events: readonly OutboxEvent[]) => {
    for (const { id, payload } of events) inbox.take(id, payload)
    return events.map(() => ({ status: 'published' }) as const)
  }
  return {
    name: 'A function in this process',
    publisher: { name: 'lab-function', publish },
    arrivals: inbox.read,
    forget: inbox.forget,
    close: async () => {},
  }
}

async function throughRedis(url: string, channel: string, inbox: Inbox): Promise<Delivery> {
  // #region subscriber
  const subscriber = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: null })
  subscriber.on('error', () => {}) // it connects and subscribes again by itself; the page says that Redis is away
  subscriber.on('message', (_channel, text) => {
    const { id, payload }: EventMessage = JSON.parse(text)
    inbox.take(id, payload)
  })
  // Not awaited: a Redis that is away now is subscribed to when it comes.
  void subscriber.subscribe(channel).catch(() => {})
  const publisher = redisPubSub({ url, channel })
  // #endregion
  return {
    name: `Redis Pub/Sub, ${AIRScoreCalculated.type} on the channel ${channel}`,
    publisher,
    arrivals: inbox.read,
    forget: inbox.forget,
    close: async () => {
      await publisher.close?.()
      subscriber.disconnect()
    },
  }
}
