export { defaultStream, type RedisStreamsOptions, redisStreams } from './redis-streams.ts'
export { readStreamEntry, type StreamEntry } from './stream-entry.ts'
