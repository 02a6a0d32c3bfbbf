import type { DataAccess, DataModule } from '@innovateai/data-access'
import { AIRScore } from '@innovateai/data-access/assessment'
import { cachedQuery, dep } from '@innovateai/data-access/cache'
import type { RaceLane, StaleRace } from '../contract/results.ts'
import { addScore, userCalled } from './sample-rows.ts'

/** Holds up the loads of the slow query: they have read their row, and go on when the gate opens. */
let gate: { readonly opened: Promise<void>; readonly atGate: (score: AIRScore | null) => void } | undefined

// #region slow-query
/** The newest score of a user, by a query that can be held up between reading the row and handing it to the cache. */
const slowLatestScore = cachedQuery({
  name: 'labSlowLatestScore',
  dependsOn: ({ userId }: { readonly userId: string }) => [dep(AIRScore, { user: userId })],
  run: async (em, { userId }): Promise<AIRScore | null> => {
    const score = await em.getRepository(AIRScore).latestFor(userId)
    gate?.atGate(score)
    await gate?.opened
    return score
  },
})
// #endregion

export const raceModule: DataModule = { name: 'lab-race', entities: [], caches: [slowLatestScore] }

// #region naive-cache
/** What is often written by hand: look, load, set; and delete after a change. Nothing ties the load to the change. */
class NaiveCache {
  readonly #scores = new Map<string, number>()

  peek = (key: string) => this.#scores.get(key) ?? null
  set = (key: string, score: number) => this.#scores.set(key, score)
  delete = (key: string) => this.#scores.delete(key)
}
// #endregion

const before = 71
const after = 93
const emptyLane: RaceLane = { cached: null, inHand: null, answer: null, refused: null }

/** The interleaving that leaves a hand-written cache stale, one step at a time, with ours beside it. */
export class StaleRaceDemo {
  readonly #data: DataAccess
  readonly #naive = new NaiveCache()
  #picture: StaleRace = { step: 0, database: before, naive: emptyLane, ours: emptyLane }
  #userId = ''
  #open: (() => void) | undefined
  #slowRead: Promise<AIRScore | null> | undefined
  #busy: Promise<unknown> = Promise.resolve()

  constructor(data: DataAccess) {
    this.#data = data
  }

  get picture(): StaleRace {
    return this.#picture
  }

  /** Goes one step on; at the end begins anew. Two windows that press at once take two steps. */
  step(): Promise<StaleRace> {
    const next = this.#busy.then(() => this.#next())
    this.#busy = next.catch(() => {})
    return next
  }

  restart(): Promise<StaleRace> {
    const next = this.#busy.then(() => this.#reset())
    this.#busy = next.catch(() => {})
    return next
  }

  async #next(): Promise<StaleRace> {
    const steps = [() => this.#slowReadersLoad(), () => this.#commit(), () => this.#slowReadersFill(), () => this.#readAgain()]
    const step = steps[this.#picture.step]
    if (step === undefined) return this.#reset()
    await step()
    this.#picture = { ...this.#picture, step: this.#picture.step + 1 }
    return this.#picture
  }

  async #reset(): Promise<StaleRace> {
    this.#open?.()
    await this.#slowRead?.catch(() => {})
    this.#open = undefined
    this.#slowRead = undefined
    this.#naive.delete(this.#userId)
    this.#picture = { step: 0, database: before, naive: emptyLane, ours: emptyLane }
    return this.#picture
  }

  /** Both readers find nothing in their cache, read the row, and are held up with it in their hand. */
  async #slowReadersLoad(): Promise<void> {
    this.#userId = await userCalled(this.#data, 'race@innovateai.dev', 'Race Demo User')
    await this.#data.unitOfWork(async ({ em }) => {
      await em.nativeDelete(AIRScore, { user: this.#userId })
      addScore(em, this.#userId, before)
    })
    const { promise: opened, resolve: open } = Promise.withResolvers<void>()
    const { promise: read, resolve: atGate } = Promise.withResolvers<AIRScore | null>()
    gate = { opened, atGate }
    this.#open = () => {
      gate = undefined
      open()
    }
    this.#slowRead = this.#data.cached(slowLatestScore).get({ userId: this.#userId })
    const score = await Promise.race([read, this.#slowRead])
    const inHand = score?.airScore ?? null
    this.#picture = { ...this.#picture, naive: { ...emptyLane, inHand }, ours: { ...emptyLane, inHand } }
  }

  /** A unit of work commits another score. Both caches hear of it; both are empty at this moment. */
  async #commit(): Promise<void> {
    // The gate holds the slow readers alone: whoever loads from now on passes.
    gate = undefined
    await this.#data.unitOfWork(async ({ em }) => void addScore(em, this.#userId, after))
    this.#naive.delete(this.#userId)
    this.#picture = { ...this.#picture, database: after }
  }

  /** The slow readers go on, and put what they have in their hand into their cache. */
  async #slowReadersFill(): Promise<void> {
    const { inHand } = this.#picture.naive
    if (inHand !== null) this.#naive.set(this.#userId, inHand)
    const refusedBefore = this.#data.cached(slowLatestScore).stats().refusedFills
    this.#open?.()
    await this.#slowRead
    const refused = this.#data.cached(slowLatestScore).stats().refusedFills > refusedBefore
    this.#picture = {
      ...this.#picture,
      naive: { ...this.#picture.naive, cached: this.#naive.peek(this.#userId), refused: false },
      ours: { ...this.#picture.ours, refused },
    }
  }

  /** Somebody reads who comes after all of that. */
  async #readAgain(): Promise<void> {
    const { naive, ours, database } = this.#picture
    const read = await this.#data.cached(slowLatestScore).get({ userId: this.#userId })
    const answer = read?.airScore ?? null
    this.#picture = {
      ...this.#picture,
      naive: { ...naive, answer: this.#naive.peek(this.#userId) ?? database },
      ours: { ...ours, cached: answer, answer },
    }
  }
}
