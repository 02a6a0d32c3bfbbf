import { atMost } from '../kernel/at-most.ts'

const momentMs = 1000

/** Waits at a close for what is under way, at most a second: a load has no limit of its own. */
export async function withinMoment(running: Iterable<Promise<void>>): Promise<void> {
  await atMost(momentMs, Promise.all(running))
}
