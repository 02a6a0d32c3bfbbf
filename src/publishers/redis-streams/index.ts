export { defaultStream, type RedisStreamsOptions, redisStreams } from './redis-streams.ts'
export type { StreamEntry } from './stream-entry.ts'
