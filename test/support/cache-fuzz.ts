import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** What a process of the fuzz works on. */
export interface FuzzOptions {
  readonly url: string
  readonly redisUrl: string
  readonly prefix: string
  readonly users: readonly { readonly id: string; readonly email: string }[]
  /** The longest life of a copy in each process, in milliseconds; without it there are none. */
  readonly copiesMs?: number
}

/** What a process of the fuzz saw: a commit whose invalidation was acknowledged, at its end, or a read, at its beginning. */
export interface FuzzObservation {
  readonly kind: 'committed' | 'read'
  /** The process. */
  readonly by: number
  readonly id: string
  readonly version: number
  /** Microseconds on the clock of the machine. */
  readonly at: number
}

/** What a process of the fuzz tells from time to time. */
export interface FuzzReport {
  readonly observations: readonly FuzzObservation[]
  /** How often it read from copies, since it began. */
  readonly atHand: number
}

/** Starts a process that reads and writes until it is killed; resolves once it is at it. */
export async function startFuzzProcess(options: FuzzOptions, told: (report: FuzzReport) => void): Promise<ChildProcess> {
  const script = fileURLToPath(new URL('cache-fuzz-in-child.ts', import.meta.url))
  const child = fork(script, [JSON.stringify(options)], { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  child.on('message', (message) => told(message as FuzzReport))
  await Promise.race([once(child, 'message'), once(child, 'exit')])
  return child
}

/** What {@link checkReads} found. */
export interface FuzzVerdict {
  readonly stale: readonly string[]
  /** Reads that were compared. */
  readonly checked: number
  /** For how long other processes still read from copies what a commit had replaced, in milliseconds: at most. */
  readonly latestMs: number
}

/**
 * Checks every read against the history of commits: it must not give less than what was committed before it began; with copies,
 * than what the same process had committed, or another one so long before.
 */
export function checkReads(observations: readonly FuzzObservation[], copiesMs = 0): FuzzVerdict {
  const histories = new Map<string, { known: FuzzObservation | undefined; recent: FuzzObservation[] }>()
  const stale: string[] = []
  let [checked, latestUs] = [0, 0]
  // At the same microsecond nothing is promised: reads first.
  const inOrder = [...observations].sort((one, other) => one.at - other.at || (one.kind === 'read' ? -1 : 1))
  for (const seen of inOrder) {
    const history = histories.get(seen.id) ?? { known: undefined, recent: [] }
    histories.set(seen.id, history)
    while (history.recent[0] !== undefined && history.recent[0].at <= seen.at - copiesMs * 1000) {
      const commit = history.recent.shift() as FuzzObservation
      if (commit.version > (history.known?.version ?? 0)) history.known = commit
    }
    if (seen.kind === 'committed') {
      history.recent.push(seen)
      continue
    }
    checked += 1
    const missed = [...(history.known === undefined ? [] : [history.known]), ...history.recent].filter(
      ({ version }) => version > seen.version,
    )
    const wrong = missed.find((commit) => commit === history.known || commit.by === seen.by)
    if (wrong !== undefined) {
      const late = `${seen.at - wrong.at} µs after version ${wrong.version} of process ${wrong.by}`
      stale.push(`user ${seen.id}: process ${seen.by} read version ${seen.version} ${late}`)
    }
    for (const { at } of missed) latestUs = Math.max(latestUs, seen.at - at)
  }
  return { stale, checked, latestMs: latestUs / 1000 }
}
