import type { MikroORM } from '@mikro-orm/core'
import { endConnections } from './database/lost-connections.ts'
import { atMost, late } from './kernel/at-most.ts'
import type { Outbox } from './outbox/outbox.ts'
import { longestGraceMs } from './outbox/relay/relay-deadline.ts'

/**
 * How long closing waits for running units of work and relays unless it is told, in ms, then for the relays' publishers, and then for
 * connections, of which a hung unit may hold one.
 */
const [closeDeadlineMs, publisherEndMs, poolEndMs] = [10_000, 5000, 1000]

/** What a relay may take beyond its deadline to mark what it published and give its buckets back: more than it takes itself. */
const relayGraceMs = longestGraceMs + 500

interface Closable {
  close(): Promise<unknown>
}

/** What a data access closes, and how long it waits. */
export interface ClosingParts {
  readonly outbox: Outbox
  /** The units of work and the like that run. */
  readonly running: ReadonlySet<Promise<unknown>>
  readonly cache: Closable | undefined
  readonly channel: Closable | undefined
  readonly endDatabase: () => Promise<void>
  /** For running work, in ms; 10,000 by default. */
  readonly deadline: number | undefined
}

/** Ends the parts of a data access one after the other, each while what it needs still works. */
export async function closeInOrder({ outbox, running, cache, channel, endDatabase, ...options }: ClosingParts): Promise<void> {
  const { deadline = closeDeadlineMs } = options
  const relay = Promise.allSettled([outbox.stop({ deadline })])
  await atMost(deadline, Promise.allSettled([relay, ...running]))
  // Were the database taken from it now, what it published would come again, and others would wait for its leases.
  await atMost(relayGraceMs, relay)
  const publishers = atMost(Math.min(publisherEndMs, deadline), outbox.closePublishers())
  const ends = await Promise.allSettled([publishers, cache?.close(), channel?.close()])
  await endDatabase()
  // Told at the end: what fails to close must not keep the rest open.
  for (const end of ends) if (end.status === 'rejected') throw end.reason
}

/** Closes an ORM, and takes from what still holds its connections what they wait for. */
export async function endOrm(orm: MikroORM): Promise<void> {
  if ((await atMost(poolEndMs, orm.close(true))) === late) endConnections(orm.driver.getConnection('write'))
}
