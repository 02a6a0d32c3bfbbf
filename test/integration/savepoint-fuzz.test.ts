import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { dialects, openTestDatabase } from '../support/databases.ts'
import { openLibrary } from '../support/library-entities.ts'
import { type FuzzStep, fuzzPrograms, resetLibrary, runProgram, storedRows } from '../support/savepoint-fuzz.ts'

const soak = process.env.SOAK === '1'
/** Always the same programs, but in a soak: there are ways of MikroORM to lose an edit that nobody has met yet. */
const sameOnes = soak ? {} : { seed: 20_261_130 }
const runs = { sqlite: soak ? 5_000 : 150, postgresql: soak ? 2_000 : 15 } as const
const opened: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close()
})

describe.each(dialects)('programs of nested units on %s', (dialect) => {
  const open = async () => {
    const database = await openTestDatabase(dialect)
    opened.push(() => database.close())
    const data = await openLibrary(database.url)
    opened.push(() => data.close())
    return data
  }

  test('store what they store without the units that were rolled back', {
    // Some 100 ms for each program, with tenfold slack, and more while a failed one is shrunk.
    timeout: 120_000 + runs[dialect] * 1_000,
  }, async () => {
    const interruptAfterTimeLimit = runs[dialect] * 1_000
    const [whole, without] = [await open(), await open()]
    let [begun, compared] = [0, 0]
    const alike = async (program: readonly FuzzStep[]) => {
      begun += 1
      for (const data of [whole, without]) await resetLibrary(data)
      // It may break a rule of the database by itself: then there is nothing to compare.
      const fails = await runProgram(without, program, true).then(
        () => false,
        () => true,
      )
      if (fails) return
      await runProgram(whole, program, false)
      expect(await storedRows(whole)).toEqual(await storedRows(without))
      compared += 1
    }
    await fc.assert(fc.asyncProperty(fuzzPrograms(), alike), { numRuns: runs[dialect], interruptAfterTimeLimit, ...sameOnes })
    console.log(`fuzz of nested units on ${dialect}: ${compared} of ${begun} programs compared, of at most ${runs[dialect]}`)
    expect(compared).toBeGreaterThan(begun / 2)
  })
})
