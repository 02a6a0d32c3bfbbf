import { defineEntity, p } from '@mikro-orm/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { cacheCombinations } from '../support/cache-ground.ts'
import { type CachedAccess, openCachedAccess } from '../support/cached-access.ts'

const PostSchema = defineEntity({ name: 'Post', properties: { id: p.integer().primary(), title: p.text() } })
class Post extends PostSchema.class {}
PostSchema.setClass(Post)
const CommentSchema = defineEntity({ name: 'Comment', properties: { id: p.integer().primary(), text: p.text() } })
class Comment extends CommentSchema.class {}
CommentSchema.setClass(Comment)
const LikeSchema = defineEntity({
  name: 'Like',
  tableName: 'likes',
  properties: {
    id: p.integer().primary(),
    by: p.text().unique(),
    of: () => p.manyToOne([Post, Comment] as never).nullable(),
  },
})
class Like extends (LikeSchema.class as unknown as new () => { id: number; by: string; of: Post | Comment | null }) {}
LikeSchema.setClass(Like as never)

const ids = [1, 2, 3]

describe.each(cacheCombinations.flatMap((each) => [false, true].map((frozen) => ({ ...each, frozen }))))(
  'a relation to one of several entities, on $dialect with $store, frozen: $frozen',
  ({ dialect, store, frozen }) => {
    const policy = cachePolicy(Like, { uniques: ['by'], frozen })
    const all = cachedQuery({
      name: 'likes',
      dependsOn: () => [dep(Like)],
      run: (em) => em.find(Like, {}, { orderBy: { id: 1 } }),
    })
    const ofPost = cachedQuery({
      name: 'likesOfPost',
      dependsOn: (params: { post: number }) => [dep(Like, { of: params.post })],
      run: async (em, { post }) => {
        const likes = await em.find(Like, { of: em.getReference(Post, post) } as never, { orderBy: { id: 1 } })
        return likes.map(({ id }) => id)
      },
    })
    let access: CachedAccess
    beforeAll(async () => {
      const module = { entities: [Post, Comment, Like], caches: [policy, all, ofPost] }
      access = await openCachedAccess(dialect, store, module as never)
      await access.add([Post, { id: 1, title: 'post' }], [Comment, { id: 2, text: 'comment' }])
      await access.data.unitOfWork(async ({ em }) => {
        const targets = [em.getReference(Post, 1), em.getReference(Comment, 2), null]
        for (const id of ids) em.create(Like, { id, by: `user ${id}`, of: targets[id - 1] } as never)
      })
    })
    afterAll(() => access.close())
    const shown = (like: Like | null) => [like?.id, like?.of?.constructor.name, like?.of?.id]
    const found = async (id: number) => shown(await access.data.fork().findOne(Like, id))

    test('is what a find gives, however it is read, and is kept', async () => {
      const { data } = access
      const expected = await Promise.all(ids.map(found))
      expect(expected.map(([, name]) => name)).toEqual(['Post', 'Comment', undefined])
      for (let turn = 1; turn <= 2; turn++) {
        expect((await data.cached(Like).getMany(ids)).map(shown)).toEqual(expected)
        for (const id of ids) {
          expect(shown(await data.cached(Like, { em: data.fork() }).get(id))).toEqual(expected[id - 1])
          expect(shown(await data.cached(policy).byBy(`user ${id}`))).toEqual(expected[id - 1])
        }
        expect((await data.cached(all).get({})).map(shown)).toEqual(expected)
      }
      expect(data.cached(Like).stats().bypasses).toBe(0)
      expect(data.cached(all).stats().hits).toBe(1)
    })

    test('follows each change, also the queries that depend on it', async () => {
      const { data } = access
      const likes = data.cached(ofPost)
      await data.cached(Like).get(2)
      for (let turn = 1; turn <= 2; turn++) expect(await likes.get({ post: 1 })).toEqual([1])
      const em = data.fork()
      const like = await data.cached(Like, { em }).getOrFail(2)
      await data.cached(Like, { em }).getMany(ids)
      em.getUnitOfWork().computeChangeSets()
      expect(em.getUnitOfWork().getChangeSets()).toEqual([])
      like.of = em.getReference(Post, 1)
      await em.flush()
      expect(shown(await data.cached(Like).get(2))).toEqual([2, 'Post', 1])
      expect(await likes.get({ post: 1 })).toEqual([1, 2])
      await data.unitOfWork(async ({ em }) => {
        ;(await data.cached(Like, { em }).getOrFail(2)).of = null
      })
      expect(shown(await data.cached(Like).get(2))).toEqual([2, undefined, undefined])
      expect(await likes.get({ post: 1 })).toEqual([1])
    })
  },
)
