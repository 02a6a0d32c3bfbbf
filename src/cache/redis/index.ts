export type { RedisOptions } from '../../redis/redis-options.ts'
export { type RedisCacheOptions, redisCache } from './redis-cache.ts'
