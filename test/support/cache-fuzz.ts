import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** What a process of the fuzz works on. */
export interface FuzzOptions {
  readonly url: string
  readonly redisUrl: string
  readonly prefix: string
  readonly users: readonly { readonly id: string; readonly email: string }[]
}

/** What a process of the fuzz saw: a commit whose invalidation was acknowledged, at its end, or a read, at its beginning. */
export interface FuzzObservation {
  readonly kind: 'committed' | 'read'
  readonly id: string
  readonly version: number
  /** Microseconds on the clock of the machine. */
  readonly at: number
}

/** Starts a process that reads and writes until it is killed; resolves once it is at it. */
export async function startFuzzProcess(
  options: FuzzOptions,
  observed: (observations: readonly FuzzObservation[]) => void,
): Promise<ChildProcess> {
  const script = fileURLToPath(new URL('cache-fuzz-in-child.ts', import.meta.url))
  const child = fork(script, [JSON.stringify(options)], { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  child.on('message', (message) => observed(message as FuzzObservation[]))
  await Promise.race([once(child, 'message'), once(child, 'exit')])
  return child
}

/** Checks every read against the history of commits: it must not give less than what was committed before it began. */
export function staleReads(observations: readonly FuzzObservation[]): { readonly stale: string[]; readonly checked: number } {
  const committed = new Map<string, number>()
  const stale: string[] = []
  let checked = 0
  // At the same microsecond nothing is promised: reads first.
  const inOrder = [...observations].sort((one, other) => one.at - other.at || (one.kind === 'read' ? -1 : 1))
  for (const { kind, id, version, at } of inOrder) {
    const least = committed.get(id) ?? 0
    if (kind === 'committed') {
      committed.set(id, Math.max(least, version))
      continue
    }
    checked += 1
    if (version < least) stale.push(`user ${id}: version ${version} at ${at} µs, after ${least} had been committed`)
  }
  return { stale, checked }
}
