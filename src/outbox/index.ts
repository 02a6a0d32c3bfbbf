export type { Clock } from '../kernel/clock.ts'
export type { Logger } from '../kernel/logger.ts'
export type { DeadLetter, DeadLetterFilter, DeadLetters } from './dead-letters.ts'
export type { DoctorFinding } from './doctor/doctor.ts'
export type { CheckName, Diagnosis, DoctorOptions } from './doctor/doctor-check.ts'
export {
  type AggregateClass,
  type DomainEventDefinition,
  type DomainEventOptions,
  defineEvent,
} from './event/define-event.ts'
export {
  DomainEvent,
  DomainEventRepository,
  DomainEventSchema,
  type DomainEventStatus,
  domainEventStatuses,
  type EventListOptions,
} from './event/domain-event.ts'
export type { PayloadCodec } from './event/payload.ts'
export type { RecordEvent, RecordedEvent, RecordOptions } from './event/recorded-event.ts'
export type { Outbox } from './outbox.ts'
export { publishToAll } from './publishing/publish-to-all.ts'
export {
  type DecodedEvent,
  type EventMessage,
  type NextTry,
  type OutboxEvent,
  type Outcome,
  type PublishContext,
  type Publisher,
  type PublishFault,
  type PublishFunction,
  permanent,
  retryable,
  unavailable,
} from './publishing/publisher.ts'
export type { DeadLetterReason, DeadLetterRule, DeadLetterRules, RetryPolicy } from './publishing/retry-policy.ts'
export type { RelayCounts } from './relay/batch-settler.ts'
export type { Relay } from './relay/relay.ts'
export type { RelayEventName, RelayEvents } from './relay/relay-events.ts'
export type { RelayOptions, Retention } from './relay/relay-options.ts'
export type { RelayStatus } from './relay/relay-status.ts'
export type { WakeChannel, WakeChoice, WakeListener } from './relay/wake.ts'
export type { OutboxStats, RelayStats } from './store/outbox-stats.ts'
export type { RelayRates } from './store/relay-rates.ts'
export type { FailedAttempt } from './store/settlement-store.ts'
export type { RelayPause } from './store/sign-of-life.ts'
