export type { Clock } from '../kernel/clock.ts'
export type { Logger } from '../kernel/logger.ts'
export type { RelayCounts, SettledEvent } from './batch-settler.ts'
export type { DeadLetter, DeadLetterFilter, DeadLetters } from './dead-letters.ts'
export {
  type AggregateClass,
  type DomainEventDefinition,
  type DomainEventOptions,
  defineEvent,
  type PayloadCodec,
} from './define-event.ts'
export type { DoctorFinding } from './doctor.ts'
export type { CheckName, Diagnosis, DoctorOptions } from './doctor-check.ts'
export {
  DomainEvent,
  DomainEventRepository,
  DomainEventSchema,
  type DomainEventStatus,
  domainEventStatuses,
  type EventListOptions,
} from './domain-event.ts'
export type { Outbox } from './outbox.ts'
export type { OutboxStats } from './outbox-stats.ts'
export {
  type DecodedEvent,
  type OutboxEvent,
  type Outcome,
  type PublishContext,
  type Publisher,
  type PublishFault,
  type PublishFunction,
  permanent,
  unavailable,
} from './publisher.ts'
export type { RecordEvent, RecordedEvent, RecordOptions } from './recorded-event.ts'
export type { Relay, RelayStatus } from './relay.ts'
export type { RelayEventName, RelayEvents } from './relay-events.ts'
export type { RelayOptions, Retention } from './relay-options.ts'
export type { DeadLetterReason, DeadLetterRule, DeadLetterRules, RetryPolicy } from './retry-policy.ts'
export type { WakeChannel, WakeChoice, WakeListener } from './wake.ts'
