import { DataAccessError } from '../../errors.ts'
import { fullJitter } from '../../kernel/backoff.ts'
import type { Bell } from '../../kernel/bell.ts'
import type { Clock } from '../../kernel/clock.ts'
import type { Logger } from '../../kernel/logger.ts'
import type { StopSignals } from '../../kernel/service.ts'
import { toError } from '../../kernel/thrown-error.ts'
import type { RelayCounts } from './batch-settler.ts'
import type { RelayEngine } from './relay-engine.ts'
import type { RelayListeners } from './relay-events.ts'
import type { RelaySettings } from './relay-options.ts'
import type { Wake } from './wake.ts'

/** How often a drain finds the publisher away before it gives up. */
const drainOutages = 3

/** By what the longest wait between two polls is divided while a wake channel is not sure. */
const unsureShare = 8

const databaseBackoff = { baseMs: 200, maxMs: 5000 }

/** What {@link keepPublishing} works with. */
export interface PublishingParts {
  readonly engine: RelayEngine
  /** Ends the wait for new events. */
  readonly bell: Bell
  readonly clock: Clock
  readonly logger: Logger
  readonly poll: RelaySettings['poll']
  readonly wake: Wake
  readonly listeners: RelayListeners
}

/** Publishes batch after batch until told to stop; waits while nothing is due, the publisher is away, or the database is. */
export async function keepPublishing(
  { engine, bell, clock, logger, poll, wake, listeners }: PublishingParts,
  { stopping, deadline }: StopSignals,
): Promise<void> {
  let pollMs = poll.min
  let failures = 0
  for (;;) {
    try {
      if (stopping.aborted) return void (await engine.marked())
      const step = await engine.step(deadline)
      if (failures > 0) listeners.tell('resumed', { cause: 'database' })
      failures = 0
      if (step.kind === 'busy') {
        pollMs = poll.min
      } else if (step.kind === 'paused') {
        await clock.wait(step.waitMs, stopping).catch(() => {})
      } else {
        // Jitter, so that relays of many processes do not ask at the same moment for ever.
        const rang = await bell.wait(Math.min(step.dueInMs, pollMs * (0.75 + Math.random() / 4)), stopping)
        // While wakes of other processes may be lost, polling alone has to be quick.
        const longest = wake.sure ? poll.max : Math.max(poll.min, poll.max / unsureShare)
        pollMs = rang ? poll.min : Math.min(longest, pollMs * 2)
      }
    } catch (error) {
      engine.reset()
      if (failures++ === 0) {
        logger.warn('The relay cannot reach its database and waits', { error })
        listeners.tell('paused', { cause: 'database', error: toError(error) })
      }
      await clock.wait(fullJitter(databaseBackoff, failures), stopping).catch(() => {})
    }
  }
}

/** What {@link publishAllDue} works with. */
export interface DrainParts {
  readonly engine: RelayEngine
  readonly clock: Clock
  readonly settings: RelaySettings
}

/**
 * Publishes until nothing is due any more, here or in the hand of another relay.
 *
 * @throws DataAccessError `PUBLISHER_FAILED`; what the database throws; the signal's reason.
 */
export async function publishAllDue({ engine, clock, settings }: DrainParts, signal: AbortSignal): Promise<RelayCounts> {
  const sum = { published: 0, retried: 0, deadLettered: 0 }
  let outages = 0
  for (;;) {
    const step = await engine.step(signal).catch(async (error: unknown) => {
      // Its buckets go back then, and would go before it is marked.
      await engine.marked().catch(() => {})
      throw error
    })
    signal.throwIfAborted()
    if (step.kind === 'busy') {
      sum.published += step.counts.published
      sum.retried += step.counts.retried
      sum.deadLettered += step.counts.deadLettered
      if (step.counts.published > 0) outages = 0
    } else if (step.kind === 'paused') {
      if (++outages >= drainOutages) throw away(settings.publisher.name, step.error)
      await clock.wait(step.waitMs, signal)
    } else if (await engine.events.dueOutside(engine.bucketsRead)) {
      await clock.wait(settings.poll.min, signal)
    } else {
      return sum
    }
  }
}

/** Renews and balances the leases of a relay until the signal aborts; rings the bell when there are new ones. */
export async function keepLeases(
  engine: RelayEngine,
  bell: Bell,
  clock: Clock,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    await clock.wait(engine.leases.intervalMs, signal).catch(() => {})
    if (signal.aborted) return
    try {
      const before = engine.leases.buckets.length
      await engine.leases.keep()
      if (engine.leases.buckets.length > before) bell.ring()
    } catch (error) {
      logger.warn('The relay could not renew its leases; it publishes no longer than they last', { error })
    }
  }
}

function away(publisher: string, error: unknown): DataAccessError {
  return new DataAccessError(
    'PUBLISHER_FAILED',
    `Publisher "${publisher}" was unavailable ${drainOutages} times in a row, so drain() gave up; the events are still pending. Bring its broker back and drain again`,
    { cause: error, context: { publisher } },
  )
}
