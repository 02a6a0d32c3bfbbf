import { defineEntity, p } from '@mikro-orm/core'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { idProps } from '../../src/database/entity-props.ts'

export const AuthorSchema = defineEntity({
  name: 'Author',
  tableName: 'authors',
  properties: {
    ...idProps,
    email: p.string().length(255).unique(),
    name: p.string().length(255),
    born: p.datetime(3).nullable(),
    followers: p.bigint().default(0),
    portrait: p.blob().nullable(),
    settings: p.json<{ theme: string; tags: string[] }>().nullable(),
    balance: p.decimal().precision(12).scale(2).$type<string>().nullable(),
    active: p.boolean().default(true),
    rating: p.double().$type<number>().default(0),
    books: () => p.oneToMany(Book).mappedBy('author'),
  },
})
export class Author extends AuthorSchema.class {}
AuthorSchema.setClass(Author)

export const BookSchema = defineEntity({
  name: 'Book',
  tableName: 'books',
  properties: {
    ...idProps,
    author: () => p.manyToOne(Author).deleteRule('cascade').index().ref(),
    title: p.string().length(255),
    edition: p.integer(),
  },
})
export class Book extends BookSchema.class {}
BookSchema.setClass(Book)

export const authorPolicy = cachePolicy(Author, { ttl: 60_000, uniques: ['email'] })
export const bookPolicy = cachePolicy(Book, { ttl: 60_000 })

export const latestBook = cachedQuery({
  name: 'latestBook',
  dependsOn: (p: { authorId: string }) => [dep(Book, { author: p.authorId })],
  run: (em, p) => em.findOne(Book, { author: p.authorId }, { orderBy: { edition: 'desc' } }),
})
export const booksOf = cachedQuery({
  name: 'booksOf',
  dependsOn: (p: { authorId: string }) => [dep(Book, { author: p.authorId })],
  run: (em, p) => em.find(Book, { author: p.authorId }, { orderBy: { edition: 'asc' } }),
})
export const countBooks = cachedQuery({
  name: 'countBooks',
  dependsOn: () => [dep(Book)],
  run: async (em) => ({ books: await em.count(Book), at: new Date(0) }),
})
