import { Redis } from 'ioredis'
import { openRedisServer } from './servers/restartable-servers.ts'

/** A Redis of its own whose memory is full of what others keep there, and which evicts any key for a new one. */
export interface CrowdedRedis {
  readonly url: string
  /** Others write some more: as many keys of whomever are evicted. */
  crowd(): Promise<void>
  /** How many keys that begin so were evicted. */
  evicted(prefix: string): number
  close(): Promise<void>
}

const crowdSize = 3000
const atOnce = 20

export async function openCrowdedRedis(): Promise<CrowdedRedis> {
  const server = await openRedisServer({
    appendonly: 'no',
    'maxmemory-policy': 'allkeys-random',
    'notify-keyspace-events': 'Ee',
  })
  const [client, ears] = [new Redis(server.url), new Redis(server.url)]
  const evicted: string[] = []
  ears.on('message', (_, key) => evicted.push(key))
  await ears.subscribe('__keyevent@0__:evicted')
  let written = 0
  const write = async (count: number) => {
    await client.mset(Array.from({ length: count }, () => [`crowd:${written++}`, 'x'.repeat(300)]).flat())
  }
  await write(crowdSize)
  await client.config('SET', 'maxmemory', Number(/^used_memory:(\d+)/m.exec(await client.info('memory'))?.[1]))
  return {
    url: server.url,
    crowd: () => write(atOnce),
    evicted: (prefix) => evicted.filter((key) => key.startsWith(prefix)).length,
    close: async () => {
      for (const each of [client, ears]) each.disconnect()
      await server.close()
    },
  }
}
