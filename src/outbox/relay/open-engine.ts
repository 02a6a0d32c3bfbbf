import { DataAccessError } from '../../errors.ts'
import { untilAborted } from '../../kernel/abortable.ts'
import type { StopSignals } from '../../kernel/service.ts'
import { untilDeadline } from './relay-deadline.ts'
import { RelayEngine, type RelayEngineParts } from './relay-engine.ts'

/**
 * Gets the publisher ready and registers a relay. Told to stop it does not wait for a publisher or a database that does not
 * answer, and leaves again where it may have registered.
 *
 * @throws the reason of `stopping`; DataAccessError `MIGRATION_MISSING`, `RELAY_PUBLISHER_MISMATCH`; what the publisher's
 * `prepare()` and the database throw.
 */
export async function openEngine(parts: RelayEngineParts, { stopping, deadline }: StopSignals): Promise<RelayEngine> {
  const { settings, clock, logger } = parts
  const prepare = async () => settings.publisher.prepare?.({ logger })
  await untilAborted(prepare(), stopping)
  const engine = new RelayEngine(parts)
  await untilAborted(engine.events.check(), stopping)
  const joining = engine.leases.join()
  try {
    await untilAborted(joining, stopping)
    return engine
  } catch (error) {
    const leaving = joining.then(() => engine.leases.leave())
    if (stopping.aborted) await untilDeadline(leaving, deadline, clock).catch(() => {})
    else leaving.catch(() => {})
    throw error
  }
}

/** What a start rejects with that `stop()` or `close()` ended before the relay ran. */
export function startStopped(): DataAccessError {
  return new DataAccessError(
    'CLOSED',
    'start() was ended by relay.stop() or data.close() before the relay ran; it published nothing and holds nothing',
  )
}
