import { appendFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { createDataAccess } from '../../src/data-access.ts'
import { DataAccessExtension } from '../../src/extension.ts'
import { monotonicClock } from '../../src/kernel/clock.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import type { DataModule } from '../../src/module.ts'
import { defineEvent } from '../../src/outbox/event/define-event.ts'
import { Outbox } from '../../src/outbox/outbox.ts'
import type { OutboxEvent, Outcome, Publisher } from '../../src/outbox/publishing/publisher.ts'
import { redisStreams } from '../../src/publishers/redis-streams/redis-streams.ts'
import { armFailpoint } from './failpoint.ts'
import { notes } from './notes-module.ts'
import type { ChildOptions } from './relay-process.ts'

// A relay in a process of its own, which tests can kill: it publishes by appending a line to a file.
const options = JSON.parse(process.argv[2] as string) as ChildOptions
if (options.clockOffsetMs !== undefined) shiftClock(options.clockOffsetMs)
if (options.failpoint !== undefined) armFailpoint(options.failpoint)
const payload = z.unknown().refine((value) => value !== options.killRead || process.kill(process.pid, 'SIGKILL'))
/** The notes, with an event whose schema ends the process. */
const killing: DataModule = { ...notes, events: [defineEvent({ type: 'NoteTagged', aggregate: 'Note', payload })] }
const modules = [options.killRead === undefined ? notes : killing]
const data = await createDataAccess({ modules, database: { url: options.url }, logger: silentLogger })
const { guard, wake, events } = DataAccessExtension.of(data.orm)
const outbox = new Outbox({ orm: data.orm, guard, wake, definitions: events, clock: monotonicClock, logger: silentLogger })

const publish = async (event: OutboxEvent): Promise<Outcome> => {
  const { fail, refuse } = options
  if (refuse !== undefined && refuse === event.payload) return { status: 'permanent', error: new Error('refused') }
  if (fail !== undefined && fail.payload === event.payload) {
    process.send?.('failing')
    await delay(fail.afterMs ?? 0)
    return { status: fail.as, error: new Error('refused'), afterMs: fail.againMs }
  }
  if (event.payload === options.killBefore) process.kill(process.pid, 'SIGKILL')
  const line = { id: event.id, key: event.orderingKey, payload: event.payload, pid: process.pid }
  appendFileSync(options.file, `${JSON.stringify(line)}\n`)
  if (event.payload === options.killAfter) process.kill(process.pid, 'SIGKILL')
  if (options.slowMs > 0) await delay(options.slowMs)
  return { status: 'published' }
}

let calls = 0
const file = async (event: OutboxEvent): Promise<Outcome> => {
  const outcome = await publish(event)
  if (++calls === options.freezeAt) process.kill(process.pid, 'SIGSTOP')
  return outcome
}

const waves: Publisher = { name: 'file', publish: async (wave) => Promise.all(wave.map(publish)) }
const toFile = options.freezeAt === undefined ? waves : file
const relay = outbox.relay({
  publisher: options.redisStream === undefined ? toFile : redisStreams(options.redisStream),
  batchSize: options.batchSize,
  publishTimeout: options.leaseMs / 2,
  lease: options.leaseMs,
  pollInterval: { min: 5, max: 50 },
  retention: options.retention,
})
relay.on('leaseLost', () => process.send?.('lease lost'))
await relay.start()
process.send?.('running')
process.on('message', async () => {
  await relay.stop()
  await data.close()
  process.disconnect()
})

// A test that failed leaves nothing behind.
process.on('disconnect', () => process.exit())

/** Moves the wall clock; the monotonic one goes on as it is, as on a machine whose date is wrong. */
function shiftClock(offsetMs: number): void {
  const RealDate = Date
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [Date.now()] : args, newTarget),
    get: (target, property, receiver) =>
      property === 'now'
        ? () => RealDate.prototype.getTime.call(new RealDate()) + offsetMs
        : Reflect.get(target, property, receiver),
  })
}
