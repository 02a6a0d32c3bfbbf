import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { EntityManager } from '@mikro-orm/core'
import { type FuzzObservation, type FuzzOptions, type FuzzReport, type FuzzWork, startFuzzProcess } from './cache-fuzz.ts'
import { committedState } from './cache-fuzz-module.ts'
import { openProxyTo, type TcpProxy } from './tcp-proxy.ts'

/** The process that nobody is: what it has committed everybody else learns of by a sweep at the latest. */
export const nobody = -1

/** One process of the fuzz, and its own way to Redis. */
export interface FuzzProcess {
  readonly child: ChildProcess
  readonly proxy: TcpProxy
  /** It gives Redis up as soon as by default. */
  readonly impatient: boolean
  /** What it told last. */
  report: FuzzReport | undefined
}

/** The processes of one fuzz: they come and go, and all that they saw is kept. */
export class FuzzProcesses {
  readonly observations: FuzzObservation[] = []
  readonly #options: Omit<FuzzOptions, 'timeoutMs'>
  readonly #fork: () => EntityManager
  readonly #all: FuzzProcess[] = []
  readonly #running = new Set<FuzzProcess>()

  /** @param fork gives entity managers that read from the database. */
  constructor(options: Omit<FuzzOptions, 'timeoutMs'>, fork: () => EntityManager) {
    this.#options = options
    this.#fork = fork
  }

  /** Those that live, the oldest first. */
  get running(): FuzzProcess[] {
    return [...this.#running]
  }

  /** Resolves once it reads and writes. */
  async start(): Promise<void> {
    const proxy = await openProxyTo(this.#options.redisUrl)
    // One in two waits for Redis however long it is stalled.
    const impatient = this.#all.length % 2 === 0
    const timeoutMs = impatient ? 50 : 5000
    const started: { process?: FuzzProcess } = {}
    const child = await startFuzzProcess({ ...this.#options, redisUrl: proxy.url, timeoutMs }, (report) => {
      for (const seen of report.observations) this.observations.push(seen)
      if (started.process !== undefined) started.process.report = report
    })
    started.process = { child, proxy, impatient, report: undefined }
    this.#all.push(started.process)
    this.#running.add(started.process)
  }

  /** Kills it, and takes down what it may have committed and not told, as it is in the database now. */
  async crash(process: FuzzProcess): Promise<void> {
    this.#running.delete(process)
    const { child } = process
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    }
    const state = await committedState(this.#fork())
    const at = Number(globalThis.process.hrtime.bigint() / 1000n)
    for (const [id, version] of Object.entries(state))
      this.observations.push({ kind: 'committed', by: nobody, id, version, at, unacknowledged: true })
  }

  /** Kills all at once, as Redis hears nothing of what they commit: nobody but a sweep will tell it. */
  async crashUnheard(): Promise<void> {
    for (const { proxy } of this.#running) proxy.stall()
    // Time for a commit of each, and less than one waits for Redis.
    await delay(80)
    await Promise.all(this.running.map((process) => this.crash(process)))
  }

  /** The most milliseconds that some work has taken in one of these processes. */
  longestMs(work: FuzzWork, which: (process: FuzzProcess) => boolean = () => true): number {
    return Math.max(0, ...this.#all.filter(which).map(({ report }) => report?.longestMs[work] ?? 0))
  }

  sum(count: 'atHand' | 'queryHits'): number {
    return this.#all.reduce((sum, { report }) => sum + (report?.[count] ?? 0), 0)
  }

  /** Ends all. */
  async close(): Promise<void> {
    for (const process of this.running) await this.crash(process)
    for (const { proxy } of this.#all) await proxy.close()
  }
}
