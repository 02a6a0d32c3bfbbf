import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { RelayOptions } from '../../src/outbox/relay/relay-options.ts'
import type { Failpoint } from './failpoint.ts'

/** What a relay in a process of its own is told. */
export interface ChildOptions {
  readonly url: string
  /** Where it appends what it publishes. */
  readonly file: string
  readonly leaseMs: number
  readonly batchSize: number
  readonly slowMs: number
  /** The payload at which it dies before it publishes. */
  readonly killBefore?: unknown
  /** The payload at which it dies after it has published, and before the mark. */
  readonly killAfter?: unknown
  /** The payload at which it dies while it reads the event. */
  readonly killRead?: unknown
  /** The statement at which it dies. */
  readonly failpoint?: Failpoint
  /** The payload that its publisher fails to publish, and how. */
  readonly fail?: {
    readonly payload: unknown
    readonly as: 'retryable' | 'permanent' | 'unavailable'
    /** How long it takes to fail; the process tells that it began. */
    readonly afterMs?: number
    /** For how long it is not tried again, at least. */
    readonly againMs?: number
  }
  /** It publishes by a function of one event, and stands still in this call of it, counted from 1, behind its publish. */
  readonly freezeAt?: number
  /** The payload that it makes a dead letter of. */
  readonly refuse?: unknown
  /** By how much its clock is off. */
  readonly clockOffsetMs?: number
  readonly retention?: RelayOptions['retention']
  /** It publishes to this stream, and not to the file. */
  readonly redisStream?: { readonly url: string; readonly stream: string }
}

/** One line of the file. */
export interface Delivery {
  readonly id: string
  readonly key: string
  readonly payload: unknown
  /** Of the process that published it, where that is one of its own. */
  readonly pid?: number
}

/** A relay in a process of its own. */
export interface RelayProcess {
  readonly pid: number
  readonly messages: readonly unknown[]
  /** Resolves when it has ended, to the signal that ended it. */
  readonly ended: Promise<NodeJS.Signals | null>
  /** Stops the relay in order. */
  stop(): Promise<void>
  signal(name: NodeJS.Signals): void
}

/** Starts a relay in a process of its own; resolves once it runs, or died on the way. */
export async function startRelayProcess(options: ChildOptions): Promise<RelayProcess> {
  const script = fileURLToPath(new URL('relay-in-child.ts', import.meta.url))
  const child: ChildProcess = fork(script, [JSON.stringify(options)], {
    execArgv: [],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const messages: unknown[] = []
  child.on('message', (message) => messages.push(message))
  const ended = once(child, 'exit').then(([, signal]) => signal as NodeJS.Signals | null)
  await Promise.race([once(child, 'message'), ended])
  return {
    pid: child.pid as number,
    messages,
    ended,
    stop: async () => {
      if (child.connected) child.send('stop')
      await ended
    },
    signal: (name) => void child.kill(name),
  }
}

/** Reads what was published so far, in order. */
export function readDeliveries(file: string): Delivery[] {
  if (!existsSync(file)) return []
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Delivery)
}

/**
 * Checks the order of each key: payloads count from 0, and a repetition may go back but runs on, without a gap, to the end of what
 * was published, before anything new comes. Only a further repetition may cut it off. Returns the first breach.
 */
export function findInversion(deliveries: readonly Delivery[]): Delivery | undefined {
  const last = new Map<string, number>()
  const best = new Map<string, number>()
  /** What came last of a key, where that was not its end. */
  const cutOff = new Map<string, Delivery>()
  for (const delivery of deliveries) {
    const { key } = delivery
    const n = Number(delivery.payload)
    // Either a repetition that goes back, or what follows: the next new one too comes behind the end of what was published.
    if (n > (last.get(key) ?? -1) + 1) return delivery
    const reached = Math.max(best.get(key) ?? -1, n)
    if (n === reached) cutOff.delete(key)
    else cutOff.set(key, delivery)
    last.set(key, n)
    best.set(key, reached)
  }
  return cutOff.values().next().value
}
