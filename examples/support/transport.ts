import { setTimeout } from 'node:timers/promises'
import { AIRScoreCalculated } from '@innovateai/data-access/assessment'
import type { Publisher, PublishFunction } from '@innovateai/data-access/outbox'
import { type EventMessage, redisPubSub } from '@innovateai/data-access/publishers/redis-pubsub'
import { Redis } from 'ioredis'
import { examplesPrefix } from './connect.ts'

/** The payload of `AIRScoreCalculated`, as the other side gets it. */
export interface CalculatedScore {
  readonly userId: string
  readonly airScoreValue: number
  readonly occupation: string
}

/** A publisher, and what arrives on its other side. */
export interface Transport {
  readonly description: string
  readonly publisher: Publisher | PublishFunction
  /** Resolves to what arrived about these users, once there is as much as was published, or nothing came for a while. */
  arrived(userIds: readonly string[], expected: number): Promise<readonly CalculatedScore[]>
  /** Ends the other side; the publisher ends with the data access. */
  close(): Promise<void>
}

/** Redis Pub/Sub with a subscriber on a connection of its own when `REDIS_URL` is set; else a function in this process. */
export async function openTransport(): Promise<Transport> {
  const url = process.env.REDIS_URL
  return url ? openRedis(url) : openFunction()
}

async function openRedis(url: string): Promise<Transport> {
  // Not the default channel, on which subscribers of yours may listen.
  const channel = `${examplesPrefix}.${AIRScoreCalculated.type}`
  const messages: CalculatedScore[] = []
  const subscriber = new Redis(url)
  subscriber.on('message', (_channel, text) => {
    const { payload }: EventMessage = JSON.parse(text)
    messages.push(payload as CalculatedScore)
  })
  // Redis keeps no message for those who come later: subscribe before anything is published.
  await subscriber.subscribe(channel)
  const publisher = redisPubSub({ url, channel })
  return {
    description: `published to the Redis channel ${channel}, with a subscriber on a connection of its own`,
    publisher,
    arrived: async (userIds, expected) => {
      const ours = () => messages.filter(({ userId }) => userIds.includes(userId))
      for (let wait = 0; wait < 200 && ours().length < expected; wait++) await setTimeout(10)
      return ours()
    },
    close: async () => void (await subscriber.quit()),
  }
}

function openFunction(): Transport {
  const payloads: CalculatedScore[] = []
  return {
    description:
      'published by a function in this process, since there is no REDIS_URL: it keeps each event, after 10 ms of pretended network',
    publisher: async (event) => {
      await setTimeout(10)
      if (AIRScoreCalculated.is(event)) payloads.push(event.payload)
    },
    arrived: async () => payloads,
    close: async () => {},
  }
}
