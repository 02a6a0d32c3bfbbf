import type { EntityManager } from '@mikro-orm/core'
import type { SqlEntityManager } from '@mikro-orm/sql'
import fc from 'fast-check'
import type { DataAccess } from '../../src/data-access.ts'
import { Author, Book, Line, Page, Tag } from './library-entities.ts'

/** Which author, book and tag a step is about, and what it writes. */
interface Choice {
  readonly a: string
  readonly b: string
  readonly t: string
  readonly n: number
  readonly v: number
}

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

/** One step of a program. */
export type FuzzStep = (Choice & { readonly edit: string }) | Nested

type Edit = (em: EntityManager, choice: Choice) => Promise<unknown>

const authorOf = (em: EntityManager, { a }: Choice) => em.findOneOrFail(Author, a)
const bookOf = async (em: EntityManager, { b, v }: Choice) =>
  (await em.findOne(Book, b)) ?? em.create(Book, { id: b, title: `new ${v}` })
const tagOf = async (em: EntityManager, { t, v }: Choice) =>
  (await em.findOne(Tag, t)) ?? em.create(Tag, { id: t, label: `new ${v}` })
const lineOf = (em: EntityManager, { b, n }: Choice) => em.findOne(Line, { book: b, number: n })

const edits: Readonly<Record<string, Edit>> = {
  name: async (em, c) => Object.assign(await authorOf(em, c), { name: `name ${c.v}` }),
  meta: async (em, c) => Object.assign(await authorOf(em, c), { meta: { from: `${c.v}`, list: [1] } }),
  metaInPlace: async (em, c) => {
    const { meta } = await authorOf(em, c)
    if (meta) Object.assign(meta, { list: [...meta.list, c.v] })
  },
  home: async (em, c) => em.assign(await authorOf(em, c), { home: { city: `city ${c.v}`, info: { v: c.v } } }),
  homeInPlace: async (em, c) => {
    const { home } = await authorOf(em, c)
    if (home) home.city = `other ${c.v}`
  },
  homeless: async (em, c) => Object.assign(await authorOf(em, c), { home: null }),
  work: async (em, c) => em.assign(await authorOf(em, c), { work: { city: `work ${c.v}`, info: [c.v] } }),
  workInPlace: async (em, c) => {
    const { work } = await authorOf(em, c)
    if (work) work.city = `other work ${c.v}`
  },
  bio: async (em, c) => {
    const { bio } = await authorOf(em, c)
    await bio?.load()
    bio?.set(`bio ${c.v}`)
  },
  motto: async (em, c) => Object.assign(await authorOf(em, c), { motto: `motto ${c.v}` }),
  newBook: bookOf,
  title: async (em, c) => Object.assign(await bookOf(em, c), { title: `title ${c.v}` }),
  bookAuthor: async (em, c) => Object.assign(await bookOf(em, c), { author: await authorOf(em, c) }),
  noAuthor: async (em, c) => Object.assign(await bookOf(em, c), { author: null }),
  addBook: async (em, c) => (await authorOf(em, c)).books.add(await bookOf(em, c)),
  removeBook: async (em, c) => {
    const { books } = await authorOf(em, c)
    books.remove((await books.loadItems()).filter(({ id }) => id === c.b))
  },
  tagAuthor: async (em, c) => (await authorOf(em, c)).tags.add(await tagOf(em, c)),
  untagAuthor: async (em, c) => {
    const { tags } = await authorOf(em, c)
    tags.remove((await tags.loadItems()).filter(({ id }) => id === c.t))
  },
  untagAll: async (em, c) => (await (await authorOf(em, c)).tags.init()).removeAll(),
  tagBook: async (em, c) => (await (await bookOf(em, c)).tags.init()).add(await tagOf(em, c)),
  untagBook: async (em, c) => {
    const tag = await tagOf(em, c)
    await em.flush()
    const book = (await tag.books.loadItems()).find(({ id }) => id === c.b)
    await book?.tags.loadItems()
    if (book !== undefined) tag.books.remove(book)
  },
  tagByReference: async (em, c) => {
    const book = await bookOf(em, c)
    await em.flush()
    const tag = em.getReference(Tag, c.t)
    if ((await em.count(Tag, { id: c.t })) > 0) book.tags.add(tag)
  },
  best: async (em, c) => {
    const [book, author] = [await bookOf(em, c), await authorOf(em, c)]
    if ((await em.findOne(Author, { best: c.b })) === null) author.best = book
  },
  noBest: async (em, c) => Object.assign(await authorOf(em, c), { best: null }),
  nameOfBest: async (em, c) => {
    await bookOf(em, c)
    await em.flush()
    const holder = await em.findOne(Author, { best: c.b })
    if (holder !== null) holder.name = `holder ${c.v}`
  },
  deleteBook: async (em, c) => {
    const book = await em.findOne(Book, c.b)
    if (book === null) return
    for (const line of await em.find(Line, { book: c.b })) em.remove(line)
    for (const author of await em.find(Author, { best: c.b })) author.best = null
    await em.flush()
    await em.remove(book).flush()
  },
  deleteTag: async (em, c) => {
    const tag = await em.findOne(Tag, c.t)
    if (tag !== null) await em.remove(tag).flush()
  },
  line: async (em, c) => {
    const book = await bookOf(em, c)
    await em.flush()
    if ((await lineOf(em, c)) === null) em.create(Line, { book, number: c.n, text: `line ${c.v}` })
  },
  lineText: async (em, c) => {
    const line = await lineOf(em, c)
    if (line !== null) line.text = `text ${c.v}`
  },
  deleteLine: async (em, c) => {
    const line = await lineOf(em, c)
    if (line !== null) em.remove(line)
  },
  page: async (em, c) => (await authorOf(em, c)).pages.add(em.create(Page, { text: `page ${c.v}` }, { persist: false })),
  removePage: async (em, c) => {
    const { pages } = await authorOf(em, c)
    const [first] = (await pages.loadItems()).sort((one, other) => (one.text < other.text ? -1 : 1))
    if (first !== undefined) pages.remove(first)
  },
  pageText: async (em, c) => {
    const [first] = await em.find(Page, { author: c.a }, { orderBy: { text: 'asc' } })
    if (first !== undefined) first.text = `text ${c.v}`
  },
  flush: (em) => em.flush(),
  loadBooks: async (em, c) => (await authorOf(em, c)).books.loadItems(),
  loadTags: async (em, c) => (await authorOf(em, c)).tags.loadItems(),
  findBooks: async (em) => {
    // MikroORM may forget what was added to a relation of which the rows were not loaded, when it populates that.
    await em.flush()
    await em.find(Book, {}, { populate: ['tags', 'lines', 'author'] })
  },
  refresh: async (em, c) => {
    await em.flush()
    await em.refresh(await authorOf(em, c))
  },
  bulkUpdate: async (em, c) => {
    await em.flush()
    await em.nativeUpdate(Tag, { id: c.t }, { label: `bulk ${c.v}` })
  },
}

/** Programs of edits, and of nested units with edits, up to two deep. */
export function fuzzPrograms(): fc.Arbitrary<FuzzStep[]> {
  const among = (letter: string, count: number) => fc.nat(count - 1).map((number) => `${letter}${number}`)
  const choice = { a: among('a', 3), b: among('b', 4), t: among('t', 3), n: fc.nat(2), v: fc.nat(999) }
  const edit = fc.record({ edit: fc.constantFrom(...Object.keys(edits)), ...choice })
  const often = (percent: number) => fc.nat(99).map((number) => number < percent)
  const nested = (step: fc.Arbitrary<FuzzStep>) => {
    const steps = fc.array(step, { minLength: 1, maxLength: 6, size: 'max' })
    return fc.record({ fails: often(70), flushes: often(70), b: choice.b, v: choice.v, steps })
  }
  const inner = fc.oneof({ weight: 7, arbitrary: edit }, { weight: 3, arbitrary: nested(edit) })
  const outer = fc.oneof({ weight: 7, arbitrary: edit }, { weight: 3, arbitrary: nested(inner) })
  return fc.noBias(fc.array(outer, { minLength: 2, maxLength: 12, size: 'max' }))
}

/** Runs a program as one unit of work. @param skips whether it leaves out the nested units that fail. */
export async function runProgram(data: DataAccess, steps: readonly FuzzStep[], skips: boolean): Promise<void> {
  const run = async (em: EntityManager, list: readonly FuzzStep[]): Promise<void> => {
    for (const step of list) {
      if ('edit' in step) await edits[step.edit]?.(em, step)
      // A nested unit flushes first what was changed before it.
      else if (step.fails && skips) {
        await em.flush()
        retitle(await em.findOne(Book, step.b), step)
      } else await runNested(step)
    }
  }
  const retitle = (book: Book | null, { v }: Nested) => {
    if (book !== null) book.title = `kept ${v}`
  }
  const runNested = async (step: Nested) => {
    const { steps, fails, flushes } = step
    let kept: Book | null = null
    const unit = data.unitOfWork(async ({ em }) => {
      if (fails) kept = await em.findOne(Book, step.b)
      await run(em, steps)
      if (!fails) return
      if (flushes) await em.flush()
      throw new Error('only this unit')
    })
    await unit.catch((error) => {
      if (!fails) throw error
    })
    if (fails) retitle(kept, step)
  }
  await data.unitOfWork(({ em }) => run(em, steps), { retry: false })
}

const columns = {
  authors: 'id, name, meta, home_city, home_info, work, bio, motto, best_id',
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
  return stored
}

/** Gives both databases the same rows to begin with. */
export async function resetLibrary(data: DataAccess): Promise<void> {
  await data.unitOfWork(async ({ em }) => {
    await em.nativeUpdate(Author, {}, { best: null })
    for (const table of ['authors_tags', 'books_tags', 'lines', 'pages', 'books', 'tags', 'authors'])
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
