import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { FuzzProcess, FuzzProcesses } from './cache-fuzz-processes.ts'
import type { CrowdedRedis } from './crowded-redis.ts'
import type { TcpProxy } from './tcp-proxy.ts'

/** What goes wrong in a fuzz until it ends; each resolves to how often. */
export class FuzzTroubles {
  readonly #processes: FuzzProcesses
  readonly #client: Redis
  readonly #prefix: string
  readonly #endsAt: number
  /** It is in a trouble that no other is to end. */
  #kept: FuzzProcess | undefined

  constructor(processes: FuzzProcesses, client: Redis, prefix: string, forMs: number) {
    this.#processes = processes
    this.#client = client
    this.#prefix = prefix
    this.#endsAt = performance.now() + forMs
  }

  /** The process that has lived longest dies, and another one comes. */
  crashes(): Promise<number> {
    return this.#again(async () => {
      await delay(500 + Math.random() * 1000)
      const [victim] = this.#others
      if (victim !== undefined) await this.#processes.crash(victim)
      await this.#processes.start()
    })
  }

  /** All that is in Redis is lost. */
  flushes(): Promise<number> {
    return this.#again(async () => {
      await delay(Math.random() * 400)
      for await (const keys of this.#client.scanStream({ match: `${this.#prefix}*`, count: 1000 }))
        if (keys.length > 0) await this.#client.unlink(keys)
    })
  }

  /** Redis evicts what it likes, now this and now that. */
  evictions(redis: CrowdedRedis): Promise<number> {
    return this.#again(async () => {
      await redis.crowd()
      await delay(5)
    })
  }

  /** A process loses its connections, stands before a silent Redis for a moment, or before one that comes and goes. */
  disturbances(): Promise<number> {
    return this.#again(async () => {
      await delay(Math.random() * 500)
      const processes = this.#others
      const proxy = processes[Math.floor(Math.random() * processes.length)]?.proxy
      if (proxy === undefined) return
      const trouble = Math.random()
      if (trouble < 0.3) proxy.cut()
      else if (trouble < 0.6) await stall(proxy, Math.random() * 500)
      else await flap(proxy, Math.random() * 500)
    })
  }

  /** One process that gives Redis up soon stands before a silent one for long. */
  async longStall(ms: number): Promise<void> {
    this.#kept = this.#processes.running.findLast(({ impatient }) => impatient)
    if (this.#kept !== undefined) await stall(this.#kept.proxy, ms)
    this.#kept = undefined
  }

  get #others(): FuzzProcess[] {
    return this.#processes.running.filter((process) => process !== this.#kept)
  }

  async #again(run: () => Promise<void>): Promise<number> {
    let times = 0
    for (; performance.now() < this.#endsAt; times++) await run()
    return times
  }
}

async function stall(proxy: TcpProxy, ms: number): Promise<void> {
  proxy.stall()
  await delay(ms)
  proxy.resume()
}

/** Refuses and accepts in quick alternation. */
async function flap(proxy: TcpProxy, forMs: number): Promise<void> {
  const end = performance.now() + forMs
  do {
    await proxy.refuse()
    await delay(Math.random() * 30)
    await proxy.accept()
    await delay(Math.random() * 30)
  } while (performance.now() < end)
}
