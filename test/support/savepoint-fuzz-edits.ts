import type { Collection, EntityManager } from '@mikro-orm/core'
import type { UnitOfWorkContext } from '../../src/unit-of-work/unit-of-work.ts'
import { Author, Book, Line, Page, Tag } from './library-entities.ts'
import { NoteTagged } from './notes-module.ts'

/** Which author, book and tag a step is about, and what it writes. */
export interface Choice {
  readonly a: string
  readonly b: string
  readonly t: string
  readonly n: number
  readonly v: number
}

type Edit = (em: EntityManager, choice: Choice, record: UnitOfWorkContext['record']) => Promise<unknown>

const authorOf = (em: EntityManager, { a }: Choice) => em.findOneOrFail(Author, a)
const bookOf = async (em: EntityManager, { b, v }: Choice) =>
  (await em.findOne(Book, b)) ?? em.create(Book, { id: b, title: `new ${v}` })
const tagOf = async (em: EntityManager, { t, v }: Choice) =>
  (await em.findOne(Tag, t)) ?? em.create(Tag, { id: t, label: `new ${v}` })
const lineOf = (em: EntityManager, { b, n }: Choice) => em.findOne(Line, { book: b, number: n })

/** MikroORM forgets what was added to relations to many, and not flushed, when the same rows come with another relation. */
async function loaded<Item extends object>(em: EntityManager, items: Collection<Item>): Promise<Collection<Item>> {
  await em.flush()
  await items.init()
  return items
}

/** Edits by their names. */
export const edits: Readonly<Record<string, Edit>> = {
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
  addBook: async (em, c) => {
    const { books } = await authorOf(em, c)
    books.add(await bookOf(em, c))
    // To take it out again by the other side would contradict this.
    await em.flush()
  },
  removeBook: async (em, c) => {
    const { books } = await authorOf(em, c)
    books.remove((await loaded(em, books)).getItems().filter(({ id }) => id === c.b))
  },
  tagAuthor: async (em, c) => (await authorOf(em, c)).tags.add(await tagOf(em, c)),
  untagAuthor: async (em, c) => {
    const { tags } = await authorOf(em, c)
    tags.remove((await loaded(em, tags)).getItems().filter(({ id }) => id === c.t))
  },
  untagAll: async (em, c) => (await loaded(em, (await authorOf(em, c)).tags)).removeAll(),
  tagBook: async (em, c) => (await loaded(em, (await bookOf(em, c)).tags)).add(await tagOf(em, c)),
  untagBook: async (em, c) => {
    const tag = await tagOf(em, c)
    const book = (await loaded(em, tag.books)).getItems().find(({ id }) => id === c.b)
    if (book === undefined) return
    await loaded(em, book.tags)
    tag.books.remove(book)
  },
  tagByReference: async (em, c) => {
    const book = await bookOf(em, c)
    await em.flush()
    const tag = em.getReference(Tag, c.t)
    if ((await em.count(Tag, { id: c.t })) > 0) book.tags.add(tag)
    // MikroORM forgets it when other rows come that lead to the tag.
    await em.flush()
  },
  best: async (em, c) => {
    const [book, author] = [await bookOf(em, c), await authorOf(em, c)]
    if ((await em.findOne(Author, { best: c.b })) === null) author.best = book
    // MikroORM forgets a new one-to-one when the other side is found before it is written.
    await em.flush()
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
  removeLine: async (em, c) => {
    const { lines } = await bookOf(em, c)
    lines.remove((await loaded(em, lines)).getItems().filter(({ number }) => number === c.n))
    // To make it anew before it is deleted would contradict this.
    await em.flush()
  },
  photo: async (em, c) => Object.assign(await authorOf(em, c), { photo: Buffer.from(`photo ${c.v}`) }),
  photoInPlace: async (em, c) => void (await authorOf(em, c)).photo?.set([65 + (c.v % 26)]),
  deleteLine: async (em, c) => {
    const line = await lineOf(em, c)
    if (line !== null) em.remove(line)
  },
  page: async (em, c) => (await authorOf(em, c)).pages.add(em.create(Page, { text: `page ${c.v}` }, { persist: false })),
  removePage: async (em, c) => {
    const { pages } = await authorOf(em, c)
    const [first] = (await loaded(em, pages)).getItems().sort((one, other) => (one.text < other.text ? -1 : 1))
    if (first !== undefined) pages.remove(first)
  },
  pageText: async (em, c) => {
    const [first] = await em.find(Page, { author: c.a }, { orderBy: { text: 'asc' } })
    if (first !== undefined) first.text = `text ${c.v}`
  },
  record: async (_, c, record) => record(NoteTagged, c.b, c.v),
  recordBeforeFlush: async (em, c, record) => {
    record(NoteTagged, c.b, `before ${c.v}`)
    await em.flush()
  },
  setTags: async (em, c) => (await loaded(em, (await authorOf(em, c)).tags)).set([await tagOf(em, c)]),
  setBooks: async (em, c) => (await loaded(em, (await authorOf(em, c)).books)).set([await bookOf(em, c)]),
  assignBook: async (em, c) => {
    const [book, tag] = [await bookOf(em, c), await tagOf(em, c)]
    await loaded(em, book.tags)
    em.assign(book, { title: `assigned ${c.v}`, author: c.a, tags: [tag] })
  },
  tagBySetting: async (em, c) => {
    const [book, tag] = [await bookOf(em, c), await tagOf(em, c)]
    // MikroORM forgets to add to the other side, once it has been taken from there without being loaded.
    for (const other of await loaded(em, tag.books)) await loaded(em, other.tags)
    tag.books.set([book])
  },
  editOfReference: async (em, c) => {
    const tag = em.getReference(Tag, c.t)
    if ((await em.count(Tag, { id: c.t })) > 0) tag.label = `by reference ${c.v}`
  },
  partial: (em, c) => em.findOne(Book, c.b, { fields: ['title'] }),
  partialEdit: async (em, c) => {
    const author = await em.findOneOrFail(Author, c.a, { fields: ['name'] })
    author.name = `partial ${c.v}`
  },
  populate: async (em, c) => {
    const author = await authorOf(em, c)
    await em.flush()
    await em.populate(author, ['books.tags', 'best', 'bio'])
  },
  upsert: async (em, c) => {
    await em.flush()
    await em.upsert(Tag, { id: c.t, label: `upsert ${c.v}` })
  },
  swapBest: async (em, c) => {
    const [one, other] = [await em.findOneOrFail(Author, 'a0'), await em.findOneOrFail(Author, c.a)]
    await em.flush()
    if (one !== other) [one.best, other.best] = [other.best, one.best]
    await em.flush()
  },
  deletePages: async (em, c) => {
    await em.flush()
    await em.nativeDelete(Page, { author: c.a })
  },
  deletePage: async (em, c) => {
    const [first] = await em.find(Page, { author: c.a }, { orderBy: { text: 'asc' } })
    if (first !== undefined) em.remove(first)
  },
  flush: (em) => em.flush(),
  loadBooks: async (em, c) => loaded(em, (await authorOf(em, c)).books),
  loadTags: async (em, c) => loaded(em, (await authorOf(em, c)).tags),
  findBooks: async (em) => {
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
