import { type DataAccess, withQueries } from '@innovateai/data-access'
import { AIRScore, latestScore, User } from '@innovateai/data-access/assessment'
import type { CachePicture, Wiring } from '../contract/live.ts'
import type { CacheRead } from '../contract/results.ts'
import { addScore, userCalled } from './sample-rows.ts'
import type { StaleRaceDemo } from './stale-race.ts'

const demoEmail = 'cache-demo@innovateai.dev'
const coursePoints = 200

/** The cached reads of chapter 4, on a user of their own. */
export class CachingDesk {
  readonly #data: DataAccess
  readonly #database: Wiring
  readonly #cache: Wiring
  readonly #course: { requests: number; hitRate: number; tAverage: number }[] = []

  constructor(data: DataAccess, wiring: { readonly database: Wiring; readonly cache: Wiring }) {
    this.#data = data
    this.#database = wiring.database
    this.#cache = wiring.cache
  }

  async readUser(): Promise<CacheRead> {
    const id = await this.userId()
    // #region read-user
    return this.#read('get(id)', () => this.#data.cached(User).get(id))
    // #endregion
  }

  async readLatestScore(): Promise<CacheRead> {
    const userId = await this.userId()
    // #region read-latest-score
    return this.#read('latestScore', () => this.#data.cached(latestScore).get({ userId }))
    // #endregion
  }

  async invalidate(): Promise<null> {
    const id = await this.userId()
    // #region invalidate
    await this.#data.cached(User).invalidate(id)
    // #endregion
    return null
  }

  async rename(): Promise<{ name: string }> {
    const id = await this.userId()
    const name = `Cache Demo User ${new Date().toISOString().slice(11, 23)}`
    // #region rename
    await this.#data.unitOfWork(async ({ em }) => {
      const user = await em.getRepository(User).getOrFail(id)
      user.name = name
    }) // once this has resolved, no read that begins later gets the older row
    // #endregion
    return { name }
  }

  async commitScore(): Promise<{ score: number }> {
    const id = await this.userId()
    const score = Math.round(6000 + Math.random() * 3500) / 100
    await this.#data.unitOfWork(async ({ em }) => void addScore(em, id, score))
    return { score }
  }

  /** Many reads, one in fifty followed by a commit: enough to see H and T_avg settle. */
  async readMany(reads: number): Promise<{ reads: number; commits: number }> {
    const id = await this.userId()
    let commits = 0
    for (let number = 1; number <= reads; number++) {
      await this.#data.cached(User).get(id)
      if (number % 50 === 0) {
        await this.rename()
        commits++
      }
      if (number % Math.ceil(reads / 40) === 0) this.#note()
    }
    return { reads, commits }
  }

  async picture(race: StaleRaceDemo): Promise<CachePicture> {
    const userId = await this.userId()
    const em = this.#data.fork()
    const user = await em.getRepository(User).getOrFail(userId)
    const score = await em.getRepository(AIRScore).latestFor(userId)
    return {
      userId,
      name: user.name,
      latestScore: score?.airScore ?? null,
      counters: this.#data.cached(User).stats(),
      course: this.#course,
      race: race.picture,
    }
  }

  /** The user of this chapter, with a first score; created again when somebody started afresh. */
  async userId(): Promise<string> {
    const found = await this.#data.fork().getRepository(User).byEmail(demoEmail)
    if (found !== null) return found.id
    const id = await userCalled(this.#data, demoEmail, 'Cache Demo User')
    await this.#data.unitOfWork(async ({ em }) => void addScore(em, id, 71.5))
    return id
  }

  async #read(what: string, load: () => Promise<User | AIRScore | null>): Promise<CacheRead> {
    return withQueries(async ({ queries }) => {
      const start = performance.now()
      const found = await load()
      const milliseconds = performance.now() - start
      this.#note()
      const outcome = queries.length === 0 ? 'hit' : 'miss'
      const gives = found === null ? 'null' : 'email' in found ? found.name : String(found.airScore)
      const tier = outcome === 'hit' ? this.#cache.name : this.#database.name
      return { what, gives, outcome, tier, queries: queries.length, milliseconds }
    })
  }

  #note(): void {
    const { requests, hitRate, tAverage } = this.#data.cached(User).stats()
    this.#course.push({ requests, hitRate, tAverage })
    if (this.#course.length > coursePoints) this.#course.shift()
  }
}
