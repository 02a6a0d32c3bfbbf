export type { RedisOptions } from '../../redis/redis-options.ts'
export { type RedisCacheOptions, redisCache, type TierOptions } from './redis-cache.ts'
