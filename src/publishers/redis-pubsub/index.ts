export type { EventMessage } from '../../outbox/publishing/publisher.ts'
export { defaultChannel, type RedisPubSubOptions, redisPubSub } from './redis-pubsub.ts'
