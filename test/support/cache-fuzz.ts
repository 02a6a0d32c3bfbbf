import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** What a process of the fuzz works on. */
export interface FuzzOptions {
  readonly url: string
  readonly redisUrl: string
  readonly prefix: string
  /** How long it waits for Redis, and how often it sweeps, in milliseconds. */
  readonly timeoutMs: number
  readonly sweepMs: number
  /** The ids of the users. */
  readonly users: readonly string[]
  /** The longest life of a copy in each process, in milliseconds; without it there are none. */
  readonly copiesMs?: number | undefined
}

/** What a process of the fuzz saw of something that has versions: a commit, at its end, or a read, at its beginning. */
export interface FuzzObservation {
  readonly kind: 'committed' | 'read'
  /** The process. */
  readonly by: number
  /** A user or a score by its id, the scores of a user, or an address. */
  readonly id: string
  readonly version: number
  /** Microseconds on the clock of the machine. */
  readonly at: number
  /** Of a commit: Redis did not acknowledge its invalidation in time, so that others learn of it by a sweep. */
  readonly unacknowledged?: boolean
}

/** What a process of the fuzz does that must not take long. */
export type FuzzWork = 'read' | 'commit'

/** What a process of the fuzz tells from time to time. */
export interface FuzzReport {
  readonly observations: readonly FuzzObservation[]
  /** The most milliseconds that one of them has taken since it began, also one that is not over. */
  readonly longestMs: Readonly<Record<FuzzWork, number>>
  /** How often it read from copies, and had results of the query from the cache, since it began. */
  readonly atHand: number
  readonly queryHits: number
}

/** Starts a process that reads and writes until it is killed; resolves once it is at it. */
export async function startFuzzProcess(options: FuzzOptions, told: (report: FuzzReport) => void): Promise<ChildProcess> {
  const script = fileURLToPath(new URL('cache-fuzz-in-child.ts', import.meta.url))
  const child = fork(script, [JSON.stringify(options)], { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  child.on('message', (message) => told(message as FuzzReport))
  await Promise.race([once(child, 'message'), once(child, 'exit')])
  return child
}

/** Within what time others than the one that committed must know of it, in milliseconds. */
export interface FuzzBounds {
  /** After a commit that was acknowledged: only copies may be older. */
  readonly copiesMs?: number | undefined
  /** After one that was not. */
  readonly sweptMs?: number
}

/** What {@link checkReads} found. */
export interface FuzzVerdict {
  readonly stale: readonly string[]
  /** Reads that were compared. */
  readonly checked: number
  /** For how long other processes still read what an acknowledged commit had replaced, from copies, in milliseconds: at most. */
  readonly latestMs: number
}

/** What is known of one thing as time goes on. */
class FuzzHistory {
  /** The latest commit that everybody must know, and those that each process must know, since it made them. */
  known: FuzzObservation | undefined
  readonly own = new Map<number, FuzzObservation>()
  /** Those of which others than their process may not have heard yet. */
  readonly recent = new Set<FuzzObservation>()

  committed(commit: FuzzObservation): void {
    this.recent.add(commit)
    if (commit.version > (this.own.get(commit.by)?.version ?? -1)) this.own.set(commit.by, commit)
  }

  due(commit: FuzzObservation): void {
    this.recent.delete(commit)
    if (commit.version > (this.known?.version ?? -1)) this.known = commit
  }
}

/**
 * Checks every read against the history of commits: it must not give less than what was committed before it began, by its own process, or by
 * another one as long before as the bounds say.
 */
export function checkReads(
  observations: readonly FuzzObservation[],
  { copiesMs = 0, sweptMs = 0 }: FuzzBounds = {},
): FuzzVerdict {
  const histories = new Map<string, FuzzHistory>()
  const stale: string[] = []
  let [checked, latestUs] = [0, 0]
  // At the same microsecond nothing is promised: reads first.
  const turns = observations.flatMap((seen) => {
    if (seen.kind === 'read') return [{ seen, at: seen.at, turn: 0 }]
    const boundMs = copiesMs + (seen.unacknowledged === true ? sweptMs : 0)
    return [
      { seen, at: seen.at, turn: 1 },
      { seen, at: seen.at + boundMs * 1000, turn: 2 },
    ]
  })
  turns.sort((one, other) => one.at - other.at || one.turn - other.turn)
  for (const { seen, turn } of turns) {
    const history = histories.get(seen.id) ?? new FuzzHistory()
    histories.set(seen.id, history)
    if (turn === 1) history.committed(seen)
    if (turn === 2) history.due(seen)
    if (turn > 0) continue
    checked += 1
    const { known, own, recent } = history
    const wrong = [own.get(seen.by), known].find((commit) => commit !== undefined && commit.version > seen.version)
    if (wrong !== undefined) {
      const late = `${seen.at - wrong.at} µs after version ${wrong.version} of process ${wrong.by}`
      stale.push(`${seen.id}: process ${seen.by} read version ${seen.version} ${late}`)
    }
    for (const { version, at, unacknowledged } of recent)
      if (version > seen.version && unacknowledged !== true) latestUs = Math.max(latestUs, seen.at - at)
  }
  return { stale, checked, latestMs: latestUs / 1000 }
}
