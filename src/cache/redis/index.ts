export type { RedisOptions } from '../../redis/redis-connection.ts'
export { type RedisCacheOptions, redisCache } from './redis-cache.ts'
