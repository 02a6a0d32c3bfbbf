export type { PubSubMessage } from './message.ts'
export { type RedisPubSubOptions, redisPubSub } from './redis-pubsub.ts'
