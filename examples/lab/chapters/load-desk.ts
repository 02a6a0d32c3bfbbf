import type { DataAccess } from '@innovateai/data-access'
import { Assessment, User } from '@innovateai/data-access/assessment'
import type { Load, LoadPoint } from '../contract/live.ts'
import { LabRefusal } from './lab-refusal.ts'
import { userCalled } from './sample-rows.ts'

const sweep = [1, 2, 4, 8, 16, 32, 64]
const email = 'load@innovateai.dev'

/** Runs loads, one at a time, and keeps what each concurrency gave. */
export class LoadDesk {
  readonly #data: DataAccess
  readonly #changed: () => void
  readonly #points = new Map<number, LoadPoint>()
  #running: { concurrency: number; done: number; total: number } | null = null
  #stopped = false
  #error: string | null = null

  constructor(data: DataAccess, changed: () => void) {
    this.#data = data
    this.#changed = changed
  }

  get picture(): Load {
    const points = [...this.#points.values()].sort((one, other) => one.concurrency - other.concurrency)
    return { running: this.#running, error: this.#error, points }
  }

  /** Begins a load and returns at once: its progress and its end come by the live feed. */
  begin(requests: number, concurrencies: readonly number[] = sweep): null {
    if (this.#running !== null) throw new LabRefusal({ code: 'BUSY', message: 'A load is running: stop it, or wait for its end' })
    this.#running = { concurrency: concurrencies[0] ?? 1, done: 0, total: requests * concurrencies.length }
    this.#stopped = false
    this.#error = null
    void this.#runAll(requests, concurrencies)
    return null
  }

  stop(): null {
    this.#stopped = true
    return null
  }

  forget(): void {
    this.#points.clear()
  }

  async #runAll(requests: number, concurrencies: readonly number[]): Promise<void> {
    try {
      await userCalled(this.#data, email, 'Load Demo User')
      for (const concurrency of concurrencies) {
        if (this.#running !== null) this.#running.concurrency = concurrency
        const point = await this.#run(requests, concurrency)
        if (this.#stopped) break
        this.#points.set(concurrency, point)
      }
      await this.#data.unitOfWork(async ({ em }) => void (await em.nativeDelete(Assessment, { component: 'load' })))
    } catch (error) {
      this.#error = error instanceof Error ? error.message : String(error)
    } finally {
      this.#running = null
      this.#changed()
    }
  }

  // #region load
  async #run(requests: number, concurrency: number): Promise<LoadPoint> {
    const times: number[] = []
    let left = requests
    let mostWaiting = 0
    const client = async () => {
      while (left-- > 0 && !this.#stopped) {
        const start = performance.now()
        await this.#request()
        times.push(performance.now() - start)
        mostWaiting = Math.max(mostWaiting, (await this.#data.stats()).pool.waiting)
        this.#count()
      }
    }
    const start = performance.now()
    await Promise.all(Array.from({ length: concurrency }, client))
    const seconds = (performance.now() - start) / 1000
    times.sort((one, other) => one - other)
    const at = (share: number) => times[Math.floor((times.length - 1) * share)] ?? 0
    return { concurrency, requests, throughput: requests / seconds, medianMs: at(0.5), p95Ms: at(0.95), mostWaiting }
  }

  /** A request is one unit of work: it finds a user, stores an assessment and commits. */
  async #request(): Promise<void> {
    await this.#data.unitOfWork(async ({ em }) => {
      const user = await em.getRepository(User).byEmail(email)
      if (user !== null) em.create(Assessment, { user, component: 'load' })
    })
  }
  // #endregion

  #count(): void {
    if (this.#running !== null) this.#running.done += 1
    this.#changed()
  }
}
