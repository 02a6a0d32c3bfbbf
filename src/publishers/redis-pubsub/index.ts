export type { PubSubMessage } from './message.ts'
export { defaultChannel, type RedisPubSubOptions, redisPubSub } from './redis-pubsub.ts'
