import { DataAccessError, hasErrorCode } from '../../errors.ts'
import { fullJitter } from '../../kernel/backoff.ts'
import type { Bell } from '../../kernel/bell.ts'
import type { Clock } from '../../kernel/clock.ts'
import type { Logger } from '../../kernel/logger.ts'
import type { StopSignals } from '../../kernel/service.ts'
import type { RelayCounts } from './batch-settler.ts'
import type { DrainWait } from './drain-wait.ts'
import { untilDeadline } from './relay-deadline.ts'
import type { RelayEngine } from './relay-engine.ts'
import type { RelaySettings } from './relay-options.ts'
import type { Wake } from './wake.ts'

/** How often a drain finds the publisher away before it gives up. */
const drainOutages = 3

/** The longest pause that a drain waits for, in milliseconds: a publisher may ask for an hour. */
const longestDrainPause = 10_000

/** How often a drain tries to mark a batch: 7 s on average. Whoever waits for it cannot wait for ever, as a relay does. */
export const drainMarkTries = 12

/** By what the longest wait between two polls is divided while a wake channel is not sure. */
const unsureShare = 8

const databaseBackoff = { baseMs: 200, maxMs: 5000 }

/** What {@link whileHolding} works with. */
export interface HoldingParts {
  readonly engine: RelayEngine
  /** Rung when there are new buckets. */
  readonly bell?: Bell
  readonly clock: Clock
  readonly logger: Logger
}

/** What {@link keepPublishing} works with. */
export interface PublishingParts extends HoldingParts {
  /** Ends the wait for new events. */
  readonly bell: Bell
  readonly poll: RelaySettings['poll']
  readonly wake: Wake
}

/** Publishes batch after batch until told to stop; waits while nothing is due, the publisher is away, or the database is. */
export async function keepPublishing(
  { engine, bell, clock, poll, wake }: PublishingParts,
  { stopping, deadline }: StopSignals,
): Promise<void> {
  let pollMs = poll.min
  let failures = 0
  for (;;) {
    try {
      if (stopping.aborted) return void (await engine.marked())
      const step = await engine.step(deadline)
      if (step.kind === 'paused') {
        // It asked no database, so nothing is known of that.
        await clock.wait(step.waitMs, stopping).catch(() => {})
        continue
      }
      engine.database.ended('step')
      failures = 0
      if (step.kind === 'busy') {
        pollMs = poll.min
      } else {
        // Jitter, so that relays of many processes do not ask at the same moment for ever.
        const rang = await bell.wait(Math.min(step.dueInMs, pollMs * (0.75 + Math.random() / 4)), stopping)
        // While wakes of other processes may be lost, polling alone has to be quick.
        const longest = wake.sure ? poll.max : Math.max(poll.min, poll.max / unsureShare)
        pollMs = rang ? poll.min : Math.min(longest, pollMs * 2)
      }
    } catch (error) {
      engine.reset()
      failures++
      if (!deadline.aborted) {
        engine.database.began('step', error)
        // A mark that failed is tried no more, or the next step waits for it.
        engine.database.ended('mark')
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
  /** For what other relays hold. */
  readonly wait: DrainWait
}

/**
 * Publishes until nothing is due any more, here or in the hand of another relay. Told to stop, it ends with the batch in hand.
 *
 * @throws DataAccessError `CLOSED` when it was stopped; `PUBLISHER_FAILED`; what the database throws.
 */
export async function publishAllDue(
  { engine, clock, settings, wait }: DrainParts,
  { stopping, deadline }: StopSignals,
): Promise<RelayCounts> {
  const sum = { published: 0, retried: 0, deadLettered: 0 }
  const add = (counts: RelayCounts) => {
    sum.published += counts.published
    sum.retried += counts.retried
    sum.deadLettered += counts.deadLettered
  }
  const giveUp = async (error: unknown): Promise<never> => {
    // Its buckets go back then, and would go before it is marked.
    await engine.marked().catch(() => {})
    throw error
  }
  let outages = 0
  for (;;) {
    if (stopping.aborted) {
      add(await engine.marked())
      throw drainStopped(sum)
    }
    const step = await engine.step(deadline).catch(giveUp)
    if (step.kind === 'busy') {
      add(step.counts)
      if (step.counts.published > 0) {
        outages = 0
        wait.ended()
        continue
      }
    } else if (step.kind === 'paused') {
      if (++outages >= drainOutages || step.waitMs > longestDrainPause) throw away(settings.publisher.name, outages, step)
      await clock.wait(step.waitMs, stopping).catch(() => {})
    } else if (await engine.events.dueOutside(engine.bucketsRead)) {
      await wait.goesOn().catch(giveUp)
      await clock.wait(settings.poll.min, stopping).catch(() => {})
    } else {
      return sum
    }
    // It came to nothing, and so will the next: without a lease nothing is published.
    const unkept = engine.database.errorOf('lease')
    if (unkept !== undefined) await giveUp(unkept)
  }
}

/**
 * Works while the leases are kept, then gives them back. When they may not be kept the work is told to stop, and why is thrown
 * once it has ended.
 */
export async function whileHolding<Result>(
  parts: HoldingParts,
  { stopping, deadline }: StopSignals,
  work: (signals: StopSignals) => Promise<Result>,
): Promise<Result> {
  const { engine, clock, logger } = parts
  const ended = new AbortController()
  const refused = new AbortController()
  const keeping = keepLeases(parts, ended.signal).catch((error: unknown) => refused.abort(error))
  try {
    return await untilDeadline(work({ stopping: AbortSignal.any([stopping, refused.signal]), deadline }), deadline, clock)
  } finally {
    ended.abort()
    // Not before nothing in the background can take new ones.
    await untilDeadline(
      keeping.then(() => engine.leases.leave()),
      deadline,
      clock,
    ).catch((error: unknown) => {
      logger.warn('The relay could not give its leases back; others take them over when they run out', { error })
    })
    refused.signal.throwIfAborted()
  }
}

/**
 * Renews and balances the leases of a relay until the signal aborts. While the database is away it tries on, and logs so once; the
 * relay is paused as soon as no lease is good for a publish any more.
 *
 * @throws DataAccessError `RELAY_PUBLISHER_MISMATCH` when an older relay turns out to have another publisher.
 */
async function keepLeases({ engine, bell, clock, logger }: HoldingParts, signal: AbortSignal): Promise<void> {
  let failing = false
  for (;;) {
    await clock.wait(engine.leases.intervalMs, signal).catch(() => {})
    if (signal.aborted) return
    try {
      const before = engine.leases.buckets.length
      await engine.leases.keep()
      engine.database.ended('lease')
      if (failing) logger.info('The relay can renew its leases again')
      failing = false
      if (engine.leases.buckets.length > before) bell?.ring()
    } catch (error) {
      if (hasErrorCode(error, 'RELAY_PUBLISHER_MISMATCH')) throw error
      if (!signal.aborted && !engine.leases.usable) engine.database.began('lease', error)
      if (failing) continue
      failing = true
      logger.warn(
        'The relay could not renew its leases; it publishes no longer than they last, and tries on. Further failures are not logged until it can',
        { error },
      )
    }
  }
}

/** What a drain rejects with that `stop()` or `close()` ended: whoever awaits it must not take the rest for published. */
export function drainStopped(counts?: RelayCounts): DataAccessError {
  return new DataAccessError(
    'CLOSED',
    'drain() was ended by relay.stop() or data.close() before it found nothing due any more. What it published is marked, unless that outlasted their deadline; the rest is still pending: drain again, or run a relay',
    { context: { ...counts } },
  )
}

function away(publisher: string, outages: number, { waitMs, error }: { readonly waitMs: number; readonly error: unknown }) {
  return new DataAccessError(
    'PUBLISHER_FAILED',
    `Publisher "${publisher}" is unavailable (outages in a row: ${outages}; next try in ${Math.ceil(waitMs)} ms), so drain() gave up; the events are still pending. Bring its broker back and drain again`,
    { cause: error, context: { publisher } },
  )
}
