import { type EntityManager, OptimisticLockError } from '@mikro-orm/core'
import type { SqlEntityManager } from '@mikro-orm/sql'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { CachedQuery } from '../../src/cache/cached-query.ts'
import { runSql } from '../../src/database/sql.ts'
import { inRootContext } from '../../src/kernel/root-context.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'
import {
  Badge,
  byState,
  byTeam,
  byTitle,
  Car,
  Label,
  labelled,
  labelledByPivot,
  Member,
  memberPolicy,
  Nick,
  nickPolicy,
  nicksLike,
  Profile,
  relationCaches,
  relationEntities,
  Team,
  Ticket,
} from '../support/cache-relation-entities.ts'

/** What a hook does after each update and insert of a member. */
let afterWrite: ((entity: object) => void) | undefined

describe.each(cacheCombinations)(
  'what a change expires beside its row on $dialect with the $store store',
  ({ dialect, store }) => {
    let ground: CacheGround
    let next = 0
    beforeAll(async () => {
      const hook = async ({ entity }: { entity: object }) => afterWrite?.(entity)
      const subscribers = [{ afterCreate: hook, afterUpdate: hook }]
      ground = await openCacheGround(dialect, store, { entities: relationEntities, caches: relationCaches, subscribers })
    })
    afterAll(() => ground.close())
    beforeEach(() => {
      next += 100
    })

    const make = async (run: (em: EntityManager) => void) => {
      const em = ground.fork()
      run(em)
      await em.flush()
    }
    /** Two teams, with two members of the first. */
    const world = async () => {
      const ids = { one: next, two: next + 1, three: next + 2, member: next + 10, other: next + 11 }
      await make((em) => {
        for (const id of [ids.one, ids.two, ids.three]) em.create(Team, { id, name: `team ${id}` })
      })
      await make((em) => {
        for (const id of [ids.member, ids.other]) em.create(Member, { id, team: ids.one, title: `title ${id}` })
      })
      return ids
    }
    const { cached } = { cached: ((what: never) => ground.cache.cached(what)) as unknown as CacheGround['cache']['cached'] }
    /** Compares what is cached of a query with what the database gives. */
    const current = async <Params>(query: CachedQuery<Params, unknown>, params: Params) => {
      const [kept, read] = [await cached(query).get(params), await query.run(ground.fork(), params)]
      expect(kept).toEqual(read)
      return kept
    }
    const rowOf = async <Entity extends object>(entity: new () => Entity, id: number) =>
      (await cached(entity as never).get(id as never)) as Entity | null

    test('a property that is set to undefined, which writes null', async () => {
      const { one, member } = await world()
      for (const value of [null, one]) await current(byTeam, { value })
      await current(byTitle, { value: null })
      await make(() => undefined)
      const em = ground.fork()
      const found = await em.findOneOrFail(Member, member)
      Object.assign(found, { team: undefined, title: undefined })
      await em.flush()
      expect(await current(byTeam, { value: null })).toContain(`${member} null`)
      await current(byTeam, { value: one })
      await current(byTitle, { value: null })
    })

    test('what was written, when a hook changes the entity after that', async () => {
      const { two, three, member } = await world()
      for (const value of [two, three]) await current(byTeam, { value })
      const em = ground.fork()
      const found = await em.findOneOrFail(Member, member)
      found.team = em.getReference(Team, two, { wrapped: true }) as never
      afterWrite = () => Object.assign(found, { team: em.getReference(Team, three) })
      await em.flush().finally(() => {
        afterWrite = undefined
      })
      expect(await current(byTeam, { value: two })).toHaveLength(1)
      const code = `first ${member}`
      expect(await cached(memberPolicy).byCode(code)).toBeNull()
      await current(byState, { value: code })
      const other = ground.fork()
      const made = other.create(Member, { id: next + 20, code, state: code })
      afterWrite = () => Object.assign(made, { code: 'second', state: 'second' })
      await other.flush().finally(() => {
        afterWrite = undefined
      })
      expect(await current(byState, { value: code })).toHaveLength(1)
      expect((await cached(memberPolicy).byCode(code))?.id).toBe(next + 20)
    })

    test('what a flush had written before it failed, if the transaction commits all the same', async () => {
      const { one, two, member } = await world()
      await current(byTeam, { value: two })
      await rowOf(Member, member)
      const fail = async (em: EntityManager) => {
        const found = await em.findOneOrFail(Member, member)
        found.title = `changed ${member}`
        found.team = em.getReference(Team, two, { wrapped: true }) as never
        afterWrite = () => {
          throw new OptimisticLockError('a hook failed')
        }
        await expect(em.flush()).rejects.toThrow('a hook failed')
        afterWrite = undefined
      }
      await ground.fork().transactional(fail)
      expect((await rowOf(Member, member))?.title).toBe(`changed ${member}`)
      expect(await current(byTeam, { value: two })).toHaveLength(1)
      await current(byTeam, { value: one })
      // And if the same entity manager flushes again, which is all that is told of then.
      await make((em) => em.create(Member, { id: next + 30, team: one }))
      await rowOf(Member, next + 30)
      await ground.fork().transactional(async (em) => {
        const found = await em.findOneOrFail(Member, next + 30)
        found.title = 'half'
        afterWrite = () => {
          throw new Error('a hook failed')
        }
        await expect(em.flush()).rejects.toThrow('a hook failed')
        afterWrite = undefined
        em.clear()
        em.create(Label, { id: next + 31, text: 'after' })
        await em.flush()
      })
      expect((await rowOf(Member, next + 30))?.title).toBe('half')
    })

    test('the value that a row had, which is not the one that its entity manager knew', async () => {
      const { one, two, three, member } = await world()
      const [early, late] = [ground.fork(), ground.fork()]
      const believed = await early.findOneOrFail(Member, member)
      const moved = await late.findOneOrFail(Member, member)
      moved.team = late.getReference(Team, two, { wrapped: true }) as never
      await late.flush()
      for (const value of [one, two, three]) await current(byTeam, { value })
      believed.title = 'changed by one who knew the old team'
      await early.flush()
      expect(await current(byTeam, { value: two })).toEqual([`${member} changed by one who knew the old team`])
      believed.team = early.getReference(Team, three, { wrapped: true }) as never
      await early.flush()
      for (const value of [one, two, three]) await current(byTeam, { value })
      // And the same when it goes.
      const gone = ground.fork()
      const found = await gone.findOneOrFail(Member, member)
      await ground.fork().nativeUpdate(Member, { id: member }, { team: two })
      for (const value of [one, two, three]) await current(byTeam, { value })
      gone.remove(found)
      await gone.flush()
      for (const value of [one, two, three]) await current(byTeam, { value })
    })

    if (dialect === 'postgresql') {
      test('the same in a transaction, where another one is waited for', async () => {
        const { one, two, three, member } = await world()
        const [slow, quick] = [ground.fork(), ground.fork()]
        await slow.begin()
        const believed = await slow.findOneOrFail(Member, member)
        await quick.begin()
        const moved = await quick.findOneOrFail(Member, member)
        moved.team = quick.getReference(Team, two, { wrapped: true }) as never
        await quick.flush()
        believed.title = 'by the slow one'
        const flushing = slow.flush()
        await new Promise((resolve) => setTimeout(resolve, 50))
        await quick.commit()
        await flushing
        for (const value of [one, two, three]) await cached(byTeam).get({ value })
        await slow.commit()
        for (const value of [one, two, three]) await current(byTeam, { value })
      })
    }

    test('one statement more for an update of what queries watch by values, and none for an insert or other entities', async () => {
      const { one, member } = await world()
      const statements = async (run: (em: EntityManager) => Promise<unknown>) => {
        const em = ground.fork()
        await run(em)
        ground.takeQueries()
        await em.flush()
        return ground.takeQueries().filter((sql) => !/\bwhere 0\b/.test(sql)).length
      }
      expect(await statements(async (em) => em.create(Member, { id: next + 40, team: one }))).toBe(1)
      expect(await statements(async (em) => Object.assign(await em.findOneOrFail(Team, one), { name: 'b' }))).toBe(1)
      expect(await statements(async (em) => Object.assign(await em.findOneOrFail(Member, member), { title: 'b' }))).toBe(2)
    })

    test('queries by a relation of many to many, by its owner, its target and its pivot table', async () => {
      const { one, two } = await world()
      const text = `label ${next}`
      await make((em) => em.create(Label, { id: next, text }))
      const all = async () => {
        await current(labelledByPivot, { label: next })
        return current(labelled, { text })
      }
      await all()
      const team = async (em: EntityManager, id: number) => em.findOneOrFail(Team, id, { populate: ['labels'] })
      const add = async (em: EntityManager, id: number) => (await team(em, id)).labels.add(em.getReference(Label, next))
      const em = ground.fork()
      await add(em, one)
      await em.flush()
      expect(await all()).toEqual([one])
      await ground.fork().transactional((inside) => add(inside, two))
      expect(await all()).toEqual([one, two])
      const last = ground.fork()
      ;(await team(last, one)).labels.removeAll()
      await last.flush()
      expect(await all()).toEqual([two])
      await make((inside) => inside.create(Team, { id: next + 50, name: 'new', labels: [next] }))
      expect(await all()).toEqual([two, next + 50])
    })

    test('rows of a collection that was emptied without being loaded', async () => {
      const { one, member } = await world()
      await make((em) => em.create(Badge, { id: next, team: one, title: 'badge' }))
      await rowOf(Badge, next)
      await rowOf(Member, member)
      await current(byTeam, { value: one })
      const em = ground.fork()
      const found = await em.findOneOrFail(Team, one)
      found.badges.removeAll()
      found.members.removeAll()
      await em.flush()
      expect(await rowOf(Badge, next)).toBeNull()
      expect((await rowOf(Member, member))?.team).toBeNull()
      expect(await current(byTeam, { value: one })).toEqual([])
    })

    test('the values of a generated column', async () => {
      await make((em) => em.create(Nick, { id: next, name: `ONE ${next}` }))
      for (const lower of [`one ${next}`, `two ${next}`]) {
        await current(nicksLike, { lower })
        await cached(nickPolicy).byLower(lower)
      }
      const em = ground.fork()
      ;(await em.findOneOrFail(Nick, next)).name = `TWO ${next}`
      await em.flush()
      for (const lower of [`one ${next}`, `two ${next}`]) await current(nicksLike, { lower })
      expect((await cached(nickPolicy).byLower(`two ${next}`))?.id).toBe(next)
      expect(await cached(nickPolicy).byLower(`one ${next}`)).toBeNull()
      const lower = `three ${next}`
      expect(await cached(nickPolicy).byLower(lower)).toBeNull()
      await make((inside) => inside.create(Nick, { id: next + 1, name: `THREE ${next}` }))
      expect((await cached(nickPolicy).byLower(lower))?.id).toBe(next + 1)
    })

    test('what the database deletes below a subclass', async () => {
      await make((em) => em.create(Car, { id: next, name: 'car' }))
      await make((em) => em.create(Ticket, { id: next, car: next, text: 'ticket' }))
      expect(await rowOf(Ticket, next)).not.toBeNull()
      const em = ground.fork()
      em.remove(await em.findOneOrFail(Car, next))
      await em.flush()
      expect(await rowOf(Ticket, next)).toBeNull()
    })

    test('what refers to a row by an id that changes', async () => {
      const { one, two, member } = await world()
      expect((await rowOf(Member, member))?.team?.id).toBe(one)
      await ground.fork().nativeUpdate(Team, { id: one }, { id: next + 60 })
      expect((await rowOf(Member, member))?.team?.id).toBe(next + 60)
      const em = ground.fork() as SqlEntityManager
      await em
        .createQueryBuilder(Team)
        .update({ id: next + 61 })
        .where({ id: next + 60 })
        .execute()
      expect((await rowOf(Member, member))?.team?.id).toBe(next + 61)
      const flushing = ground.fork()
      ;(await flushing.findOneOrFail(Team, next + 61)).id = next + 62
      await flushing.flush()
      expect((await rowOf(Member, member))?.team?.id).toBe(next + 62)
      expect(two).toBe(next + 1)
    })

    test('rows that hold the id of what owns a relation of one to one', async () => {
      const { one, two } = await world()
      const profileOf = async (id: number) => (await rowOf(Team, id))?.profile?.id ?? null
      const both = async () => [await profileOf(one), await profileOf(two)]
      expect(await both()).toEqual([null, null])
      await make((em) => em.create(Profile, { id: next, team: one, bio: 'bio' }))
      expect(await both()).toEqual([next, null])
      const em = ground.fork()
      const profile = await em.findOneOrFail(Profile, next)
      profile.team = em.getReference(Team, two, { wrapped: true }) as never
      await em.flush()
      expect(await both()).toEqual([null, next])
      await ground.fork().nativeUpdate(Profile, { id: next }, { team: one })
      expect(await both()).toEqual([next, null])
      // By one who knows another team.
      profile.team = null as never
      await em.flush()
      expect(await both()).toEqual([null, null])
      await ground.fork().nativeUpdate(Profile, { id: next }, { team: two })
      expect(await both()).toEqual([null, next])
      em.remove(profile)
      await em.flush()
      expect(await both()).toEqual([null, null])
    })

    test('what is expired by hand in a transaction, once more after its commit', async () => {
      const { one } = await world()
      expect((await rowOf(Team, one))?.name).toBe(`team ${one}`)
      await ground.fork().transactional(async (em) => {
        await runSql(em, `update teams set name = 'raw' where id = ?`, [one])
        await ground.cache.cached(Team, { em }).invalidate(one)
        // Fills the cache again, with what is there before the commit.
        if (dialect === 'postgresql') expect((await inRootContext(() => rowOf(Team, one)))?.name).toBe(`team ${one}`)
      })
      expect((await rowOf(Team, one))?.name).toBe('raw')
    })
  },
)
