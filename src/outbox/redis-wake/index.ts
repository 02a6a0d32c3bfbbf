export { type RedisWakeOptions, redisWake } from './redis-wake.ts'
