import type { SqlEntityManager } from '@mikro-orm/sql'
import fc from 'fast-check'
import type { DataAccess } from '../../src/data-access.ts'
import type { UnitOfWorkContext } from '../../src/unit-of-work/unit-of-work.ts'
import { Author, Book, Line, Page, Tag } from './library-entities.ts'
import { type Choice, edits } from './savepoint-fuzz-edits.ts'

/** A nested unit. */
interface Nested {
  readonly fails: boolean
  /** Whether it flushes before it fails. */
  readonly flushes: boolean
  /** The book that it loads first, and the title that the outer unit gives to that entity after a failure. */
  readonly b: string
  readonly v: number
  readonly steps: readonly FuzzStep[]
}

/** One step of a program; nested units may be started at once. */
export type FuzzStep = (Choice & { readonly edit: string }) | { readonly nested: readonly Nested[] }

/** Programs of edits, and of nested units with edits, up to two deep. */
export function fuzzPrograms(): fc.Arbitrary<FuzzStep[]> {
  const among = (letter: string, count: number) => fc.nat(count - 1).map((number) => `${letter}${number}`)
  const choice = { a: among('a', 3), b: among('b', 4), t: among('t', 3), n: fc.nat(2), v: fc.nat(999) }
  const edit = fc.record({ edit: fc.constantFrom(...Object.keys(edits)), ...choice })
  const often = (percent: number) => fc.nat(99).map((number) => number < percent)
  const nested = (step: fc.Arbitrary<FuzzStep>) => {
    const steps = fc.array(step, { minLength: 1, maxLength: 6, size: 'max' })
    const one = fc.record({ fails: often(70), flushes: often(70), b: choice.b, v: choice.v, steps })
    return fc.record({ nested: fc.array(one, { minLength: 1, maxLength: 2, size: 'max' }) })
  }
  const inner = fc.oneof({ weight: 7, arbitrary: edit }, { weight: 3, arbitrary: nested(edit) })
  const outer = fc.oneof({ weight: 7, arbitrary: edit }, { weight: 3, arbitrary: nested(inner) })
  return fc.noBias(fc.array(outer, { minLength: 2, maxLength: 12, size: 'max' }))
}

/** Runs a program as one unit of work. @param flat whether it leaves out the nested units that fail, and does what the others do itself. */
export async function runProgram(data: DataAccess, steps: readonly FuzzStep[], flat: boolean): Promise<void> {
  const run = async (unit: UnitOfWorkContext, list: readonly FuzzStep[]): Promise<void> => {
    for (const step of list) {
      if ('edit' in step) await edits[step.edit]?.(unit.em, step, unit.record)
      else {
        const doNested = flat ? runFlat(unit, step.nested) : Promise.all(step.nested.map(runNested))
        for (const retitle of await doNested) retitle()
      }
    }
  }
  const runFlat = async (unit: UnitOfWorkContext, list: readonly Nested[]) => {
    const after: (() => void)[] = []
    for (const step of list) {
      // A nested unit flushes first what was changed before it.
      await unit.em.flush()
      if (step.fails) after.push(retitling(await unit.em.findOne(Book, step.b), step))
      else await run(unit, step.steps)
    }
    await unit.em.flush()
    return after
  }
  const runNested = async (step: Nested) => {
    let kept: Book | null = null
    const nested = data.unitOfWork(async (unit) => {
      if (step.fails) kept = await unit.em.findOne(Book, step.b)
      await run(unit, step.steps)
      if (!step.fails) return
      if (step.flushes) await unit.em.flush()
      throw new Error('only this unit')
    })
    await nested.catch((error) => {
      if (!step.fails) throw error
    })
    return retitling(kept, step)
  }
  const retitling =
    (book: Book | null, { v }: Nested) =>
    () => {
      if (book !== null) book.title = `kept ${v}`
    }
  await data.unitOfWork((unit) => run(unit, steps), { retry: false })
}

const columns = {
  authors: 'id, name, meta, home_city, home_info, work, bio, motto, photo, best_id',
  books: 'id, title, author_id',
  pages: 'text, author_id',
  tags: 'id, label',
  lines: 'book_id, number, text',
  authors_tags: 'author_id, tag_id',
  books_tags: 'book_id, tag_id',
} as const

/** All rows, but for what the database makes. */
export async function storedRows(data: DataAccess): Promise<Record<string, string[]>> {
  const em = data.fork() as SqlEntityManager
  const stored: Record<string, string[]> = {}
  for (const [table, names] of Object.entries(columns)) {
    const rows = await em.execute<object[]>(`select ${names} from ${table}`)
    stored[table] = rows.map((row) => JSON.stringify(row)).sort()
  }
  const events = await em.execute<object[]>('select ordering_key, payload from domain_events order by sequence')
  stored.events = events.map((event) => JSON.stringify(event))
  return stored
}

/** Gives both databases the same rows to begin with. */
export async function resetLibrary(data: DataAccess): Promise<void> {
  await data.unitOfWork(async ({ em }) => {
    await em.nativeUpdate(Author, {}, { best: null })
    for (const table of ['authors_tags', 'books_tags', 'lines', 'pages', 'books', 'tags', 'authors', 'domain_events'])
      await (em as SqlEntityManager).execute(`delete from ${table}`)
    const [first, second] = ['t0', 't1'].map((id) => em.create(Tag, { id, label: id })) as [Tag, Tag]
    for (const id of ['a0', 'a1', 'a2']) {
      const home = id === 'a0' ? { city: 'home', info: { v: 1 } } : null
      const work = { city: 'work', info: [1] }
      const author = em.create(Author, { id, name: id, meta: { from: id, list: [] }, home, work, bio: `bio ${id}` })
      author.tags.add(first)
      author.pages.add(em.create(Page, { text: `page ${id}` }, { persist: false }))
    }
    for (const id of ['b0', 'b1']) {
      const book = em.create(Book, { id, title: id, author: 'a0' })
      book.tags.add(second)
      em.create(Line, { book, number: 0, text: id })
    }
  })
}
