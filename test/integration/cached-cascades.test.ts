import { defineEntity, type EntityManager, p } from '@mikro-orm/core'
import type { SqlEntityManager } from '@mikro-orm/sql'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'

const ClubSchema = defineEntity({ name: 'Club', tableName: 'clubs', properties: { id: p.integer().primary() } })
class Club extends ClubSchema.class {}
ClubSchema.setClass(Club)

/** Goes with its club. */
const SquadSchema = defineEntity({
  name: 'Squad',
  tableName: 'squads',
  properties: { id: p.integer().primary(), club: () => p.manyToOne(Club).deleteRule('cascade').ref() },
})
class Squad extends SquadSchema.class {}
SquadSchema.setClass(Squad)

/** Goes with its squad. */
const DrillSchema = defineEntity({
  name: 'Drill',
  tableName: 'drills',
  properties: { id: p.integer().primary(), squad: () => p.manyToOne(Squad).deleteRule('cascade').ref() },
})
class Drill extends DrillSchema.class {}
DrillSchema.setClass(Drill)

/** Stays, and refers to nobody then: by a rule that is named, and by the one that MikroORM gives to what may be null. */
const CoachSchema = defineEntity({
  name: 'Coach',
  tableName: 'coaches',
  properties: {
    id: p.integer().primary(),
    club: () => p.manyToOne(Club).deleteRule('set null').nullable().ref(),
    squad: () => p.manyToOne(Squad).nullable().ref(),
  },
})
class Coach extends CoachSchema.class {}
CoachSchema.setClass(Coach)

const idsWhere = (entity: typeof Squad | typeof Drill | typeof Coach, property: 'club' | 'squad') =>
  cachedQuery({
    name: `${entity.name} by ${property}`,
    dependsOn: ({ of }: { of: number | null }) => [dep(entity as typeof Coach, { [property]: of })],
    run: async (em, { of }) => (await em.find(entity as typeof Coach, { [property]: of })).map(({ id }) => id),
  })
const squadsOf = idsWhere(Squad, 'club')
const drillsOf = idsWhere(Drill, 'squad')
const coachesOfClub = idsWhere(Coach, 'club')
const coachesOfSquad = idsWhere(Coach, 'squad')

const entities = [ClubSchema, SquadSchema, DrillSchema, CoachSchema]
const caches = [
  ...[Club, Squad, Drill, Coach].map((entity) => cachePolicy(entity as typeof Club)),
  ...[squadsOf, drillsOf, coachesOfClub, coachesOfSquad],
]

const ways: readonly (readonly [string, (em: EntityManager, id: number) => Promise<unknown>])[] = [
  ['a flush', async (em, id) => em.remove(await em.findOneOrFail(Club, id)).flush()],
  ['nativeDelete', (em, id) => em.nativeDelete(Club, { id })],
  ['a query builder', (em, id) => (em as SqlEntityManager).createQueryBuilder(Club).delete({ id }).execute()],
]

// MikroORM hears of the parent alone: the rest the database does by itself.
describe.each(cacheCombinations)('a parent deleted on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  let id = 0
  beforeAll(async () => {
    ground = await openCacheGround(dialect, store, { entities, caches: caches as never })
  })
  afterAll(() => ground.close())
  beforeEach(() => {
    id += 10
  })

  test.each(ways)('by %s expires its children and theirs, whether they go or stay without it', async (_way, remove) => {
    const [ofClub, ofSquad] = [id, id + 1]
    const em = ground.fork()
    em.create(Club, { id })
    em.create(Squad, { id, club: id })
    em.create(Drill, { id, squad: id })
    em.create(Coach, { id: ofClub, club: id })
    em.create(Coach, { id: ofSquad, squad: id })
    await em.flush()

    const { cache } = ground
    const look = async () => {
      const [coach, other] = await cache.cached(Coach).getMany([ofClub, ofSquad])
      const [squad, drill] = [await cache.cached(Squad).get(id), await cache.cached(Drill).get(id)]
      return {
        rows: { squad: squad?.id, drill: drill?.id, clubOfCoach: coach?.club?.id, squadOfOther: other?.squad?.id },
        squads: await cache.cached(squadsOf).get({ of: id }),
        drills: await cache.cached(drillsOf).get({ of: id }),
        coaches: [await cache.cached(coachesOfClub).get({ of: id }), await cache.cached(coachesOfSquad).get({ of: id })],
        clubless: (await cache.cached(coachesOfClub).get({ of: null })).includes(ofClub),
        squadless: (await cache.cached(coachesOfSquad).get({ of: null })).includes(ofSquad),
      }
    }
    const before = {
      rows: { squad: id, drill: id, clubOfCoach: id, squadOfOther: id },
      ...{ squads: [id], drills: [id], coaches: [[ofClub], [ofSquad]], clubless: false, squadless: false },
    }
    const misses = () => Object.values(cache.stats().caches).reduce((sum, each) => sum + each.misses, 0)
    const missed = async () => {
      const earlier = misses()
      expect(await look()).toEqual(before)
      return misses() - earlier
    }
    await expect.poll(missed, { timeout: 20_000 }).toBe(0)

    await remove(ground.fork(), id)
    expect(await look()).toEqual({
      rows: { squad: undefined, drill: undefined, clubOfCoach: undefined, squadOfOther: undefined },
      ...{ squads: [], drills: [], coaches: [[], []], clubless: true, squadless: true },
    })
  })
})
