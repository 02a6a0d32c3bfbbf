import { defineEntity, p } from '@mikro-orm/core'
import { JsonTextType } from '../../database/json-text.ts'
import type { StoredSign } from './sign-of-life.ts'

/** A bucket's lease: which relay may publish its events, until when by the database's clock, and the epoch that fences it. */
export const OutboxLease = defineEntity({
  name: 'OutboxLease',
  tableName: 'outbox_leases',
  properties: {
    bucket: p.integer().primary().autoincrement(false),
    owner: p.uuid().nullable(),
    // Raw: a bigint's default is written as text, '0', which differs for ever from the 0 that the database has.
    epoch: p.bigint().defaultRaw('0'),
    leasedUntil: p.datetime(3).nullable(),
  },
})

/** A relay that lives, or died and was not yet missed. */
export const OutboxRelay = defineEntity({
  name: 'OutboxRelay',
  tableName: 'outbox_relays',
  properties: {
    id: p.uuid().primary(),
    name: p.string().length(100),
    publisher: p.string().length(100),
    startedAt: p.datetime(3),
    expiresAt: p.datetime(3),
    /** Its events per second, and what it waits for, as of its last sign of life. */
    rates: p.type(JsonTextType).$type<StoredSign>().nullable(),
  },
})

/** How far a relay is, written with each batch: one row as long as it is registered. */
export const OutboxProgress = defineEntity({
  name: 'OutboxProgress',
  tableName: 'outbox_progress',
  properties: {
    relay: p.uuid().primary(),
    /** Rises every so many notes: by it the row is found without the versions that it had before. */
    generation: p.integer().primary().default(0),
    /** The events it had in hand when it last wrote: what a crash is blamed on. */
    inFlight: p.type(JsonTextType).$type<readonly (string | number)[]>().nullable(),
    /** Counts the redrives since it registered: what is pending may begin earlier than the relay knows. */
    redrives: p.integer().default(0),
    /** Counts its marks on PostgreSQL: fewer than the relay knows of were left by a crash. */
    marks: p.bigint().defaultRaw('0'),
  },
})

/** A failed attempt to publish an event that is still pending. */
export const OutboxFailure = defineEntity({
  name: 'OutboxFailure',
  tableName: 'outbox_failures',
  properties: {
    eventId: p.uuid().primary(),
    attempt: p.integer().primary(),
    failedAt: p.datetime(3),
    error: p.text(),
  },
})

/** An event that left the outbox unpublished, with its place in its key and every failure. */
export const OutboxDeadLetter = defineEntity({
  name: 'OutboxDeadLetter',
  tableName: 'outbox_dead_letters',
  indexes: [{ name: 'outbox_dead_letters_blocking_index', properties: ['bucket'], where: 'blocks_key' }],
  properties: {
    id: p.uuid().primary(),
    eventType: p.string().length(100),
    aggregateType: p.string().length(100),
    aggregateId: p.string().length(36),
    payload: p.type(JsonTextType).$type<unknown>(),
    headers: p.type(JsonTextType).$type<Readonly<Record<string, string>>>(),
    sequence: p.bigint(),
    orderingKey: p.string().length(255).nullable(),
    bucket: p.integer(),
    schemaVersion: p.integer(),
    createdAt: p.datetime(3),
    attempts: p.integer(),
    reason: p.string().length(20),
    error: p.text(),
    history: p.type(JsonTextType).$type<readonly unknown[]>(),
    blocksKey: p.boolean(),
    deadAt: p.datetime(3).index(),
  },
})
