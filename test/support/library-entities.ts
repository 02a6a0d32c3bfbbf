import { defineEntity, type Opt, p } from '@mikro-orm/core'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { notes } from './notes-module.ts'

/** A relation of each kind, and a property of each kind that is written, or loaded, in a way of its own. */
const HomeSchema = defineEntity({
  name: 'Home',
  embeddable: true,
  properties: { city: p.string().nullable(), info: p.json<unknown>().nullable() },
})
export class Home extends HomeSchema.class {}
HomeSchema.setClass(Home)

const AuthorSchema = defineEntity({
  name: 'Author',
  tableName: 'authors',
  properties: {
    id: p.string().primary(),
    name: p.string(),
    meta: p.json<{ readonly from: string; readonly list: readonly number[] }>().nullable(),
    version: p.integer().$type<Opt<number>>().version(),
    home: () => p.embedded(Home).nullable(),
    work: () => p.embedded(Home).object().nullable(),
    bio: p.text().$type<Opt<string>>().lazy().ref().nullable(),
    motto: p.text().lazy().nullable(),
    photo: p.blob().nullable(),
    seen: p.datetime().nullable(),
    note: p.string().persist(false).nullable(),
    books: () => p.oneToMany(Book).mappedBy('author'),
    pages: () => p.oneToMany(Page).mappedBy('author').orphanRemoval(),
    tags: () => p.manyToMany(Tag).owner(),
    best: () => p.oneToOne(Book).owner().nullable(),
  },
})
export class Author extends AuthorSchema.class {}
AuthorSchema.setClass(Author)

const BookSchema = defineEntity({
  name: 'Book',
  tableName: 'books',
  properties: {
    id: p.string().primary(),
    title: p.string(),
    author: () => p.manyToOne(Author).nullable(),
    tags: () => p.manyToMany(Tag).owner(),
    bestOf: () => p.oneToOne(Author).mappedBy('best').nullable(),
    lines: () => p.oneToMany(Line).mappedBy('book').orphanRemoval(),
  },
})
export class Book extends BookSchema.class {}
BookSchema.setClass(Book)

const PageSchema = defineEntity({
  name: 'Page',
  tableName: 'pages',
  properties: {
    id: p.integer().primary().autoincrement(),
    text: p.string(),
    author: () => p.manyToOne(Author).nullable(),
  },
})
export class Page extends PageSchema.class {}
PageSchema.setClass(Page)

const TagSchema = defineEntity({
  name: 'Tag',
  tableName: 'tags',
  properties: {
    id: p.string().primary(),
    label: p.string(),
    authors: () => p.manyToMany(Author).mappedBy('tags'),
    books: () => p.manyToMany(Book).mappedBy('tags'),
  },
})
export class Tag extends TagSchema.class {}
TagSchema.setClass(Tag)

const LineSchema = defineEntity({
  name: 'Line',
  tableName: 'lines',
  properties: { book: () => p.manyToOne(Book).primary().deleteRule('cascade'), number: p.integer().primary(), text: p.string() },
})
export class Line extends LineSchema.class {}
LineSchema.setClass(Line)

const FootnoteSchema = defineEntity({
  name: 'Footnote',
  tableName: 'footnotes',
  properties: { book: () => p.manyToOne(Book).mapToPk().primary(), number: p.integer().primary(), text: p.string() },
})
export class Footnote extends FootnoteSchema.class {}
FootnoteSchema.setClass(Footnote)

const ShelfSchema = defineEntity({
  name: 'Shelf',
  tableName: 'shelves',
  properties: {
    id: p.string().primary(),
    boards: () => p.oneToMany(Board).mappedBy('shelf').eager(),
    tags: () => p.manyToMany(Tag).owner(),
  },
})
export class Shelf extends ShelfSchema.class {}
ShelfSchema.setClass(Shelf)

const BoardSchema = defineEntity({
  name: 'Board',
  tableName: 'boards',
  properties: {
    id: p.string().primary(),
    width: p.integer(),
    depth: p.integer(),
    label: p
      .string()
      .formula(({ width }) => `'w' || ${width}`)
      .$type<Opt<string>>(),
    shelf: () => p.manyToOne(Shelf),
    version: p.integer().$type<Opt<number>>().version(),
  },
})
export class Board extends BoardSchema.class {}
BoardSchema.setClass(Board)

const library = { name: 'library', entities: [Author, Book, Page, Tag, Line, Footnote, Shelf, Board] }

/** Opens a database with the tables of a library. */
export async function openLibrary(url: string): Promise<DataAccess> {
  const data = await createDataAccess({ modules: [notes, library], database: { url }, cache: false })
  await data.migrate()
  await data.orm.schema.update()
  return data
}
