import { type DataAccess, withQueries } from '@innovateai/data-access'
import { openStrategies, type Strategy } from './cache-strategies.ts'

/** Which of the users each step is about, and how many of a hundred steps are writes. */
interface Pattern {
  readonly name: string
  readonly writes: number
  /** The place of one of so many users, from a number between 0 and 1. */
  pick(random: number, users: number): number
}

/** How one strategy did under one pattern. */
export interface Comparison {
  readonly pattern: string
  readonly strategy: string
  /** H: the share of reads that took no query. */
  readonly hitRate: number
  /** T_avg: the average time of a read in milliseconds. */
  readonly tAverage: number
  readonly queriesPerRead: number
  /** Reads that gave a name which an earlier write had already replaced. */
  readonly staleReads: number
}

const steps = 300
/** So many writes meet a reader that is slow: it has read the row before the commit, and goes on after it. */
const slowReaderEvery = 3

const patterns: readonly Pattern[] = [
  { name: 'one hot key', writes: 5, pick: () => 0 },
  // Zipf's law: user n is asked for about 1 / n times as often as the first.
  { name: 'Zipf', writes: 5, pick: (random, users) => Math.floor((users + 1) ** random) - 1 },
  { name: 'uniform', writes: 5, pick: (random, users) => Math.floor(random * users) },
  { name: 'write-heavy', writes: 50, pick: (random, users) => Math.floor(random * users) },
]

/** Runs every strategy under every pattern, each with the same steps. */
export async function compareStrategies(data: DataAccess, ids: readonly string[]): Promise<Comparison[]> {
  const comparisons: Comparison[] = []
  for (const pattern of patterns) {
    const { strategies, close } = await openStrategies(data)
    for (const strategy of strategies) comparisons.push(await run(data, pattern, strategy, ids))
    await close()
  }
  return comparisons
}

async function run(data: DataAccess, pattern: Pattern, strategy: Strategy, ids: readonly string[]): Promise<Comparison> {
  const random = sameNumbersEachTime()
  const current = new Map<string, string>()
  let [reads, hits, queries, stale, ms, writes] = [0, 0, 0, 0, 0, 0]
  const write = async (id: string) => {
    const name = `${pattern.name} ${++writes}`
    await strategy.write(id, name)
    current.set(id, name)
  }
  for (let step = 0; step < steps; step++) {
    const id = ids[pattern.pick(random(), ids.length)] ?? ''
    if (random() * 100 < pattern.writes) {
      if (current.has(id) || writes % slowReaderEvery > 0) await write(id)
      const read = () => strategy.read(id)
      if (writes % slowReaderEvery === 0) await overtaken(data, read, () => write(id))
      continue
    }
    const startedAt = performance.now()
    const name = await withQueries(async (scope) => {
      const read = await strategy.read(id)
      queries += scope.count
      hits += scope.count === 0 ? 1 : 0
      return read
    })
    ms += performance.now() - startedAt
    reads += 1
    if (current.has(id) && name !== current.get(id)) stale += 1
  }
  return {
    ...{ pattern: pattern.name, strategy: strategy.name, hitRate: hits / reads, tAverage: ms / reads },
    ...{ queriesPerRead: queries / reads, staleReads: stale },
  }
}

/** Lets a write overtake a reader that has its row already: a long pause of a process, or a slow network. */
async function overtaken(data: DataAccess, read: () => Promise<string>, write: () => Promise<void>): Promise<void> {
  const driver = data.orm.em.getDriver()
  const find = driver.find
  let resume = (): void => undefined
  const paused = new Promise<void>((resolve) => {
    resume = resolve
  })
  let tellPaused = (): void => undefined
  const atPause = new Promise<void>((resolve) => {
    tellPaused = resolve
  })
  driver.find = (async (...args: Parameters<typeof find>) => {
    driver.find = find
    const rows = await find.apply(driver, args)
    tellPaused()
    await paused
    return rows
  }) as typeof find
  const reading = read()
  await Promise.race([atPause, reading]) // a hit reads no row that could be overtaken
  driver.find = find
  await write()
  resume()
  await reading
}

/** Pseudo-random numbers (Lehmer's generator): each run of a pattern takes the same steps. */
function sameNumbersEachTime(): () => number {
  let state = 20_251_123
  return () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
}
