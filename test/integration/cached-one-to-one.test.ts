import { ref } from '@mikro-orm/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cachePolicy } from '../../src/cache/policy.ts'
import { runSql } from '../../src/database/sql.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'
import { Profile, relationEntities, Team } from '../support/cache-relation-entities.ts'

// The row of a team tells its profile, whose own column it is.
describe.each(cacheCombinations)('relations to one, read on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  let lastId = 0
  beforeAll(async () => {
    const caches = [cachePolicy(Team, { ttl: 60_000 }), cachePolicy(Profile, { ttl: 60_000 })]
    ground = await openCacheGround(dialect, store, { entities: relationEntities, caches })
  })
  afterAll(() => ground.close())

  /** A team that is cached, its profile, and one of no team. */
  async function cachedTeam(): Promise<{ team: number; profile: number; other: number }> {
    const em = ground.fork()
    const [team, profile, other] = [++lastId, ++lastId, ++lastId]
    em.create(Team, { id: team, name: 'cached' })
    em.create(Profile, { id: profile, team, bio: 'its own' })
    em.create(Profile, { id: other, bio: 'of no team' })
    await em.flush()
    await ground.cache.cached(Team).get(team)
    return { team, profile, other }
  }
  const teamOf = async (profile: number) => (await ground.fork().findOneOrFail(Profile, profile)).team?.id ?? null

  test('what is set while the read is awaited is written', async () => {
    const { team: id, profile, other } = await cachedTeam()
    const em = ground.fork()
    const [old, next] = [await em.findOneOrFail(Profile, profile), await em.findOneOrFail(Profile, other)]
    const team = em.getReference(Team, id)
    const reading = ground.cache.cached(Team, { em }).get(id)
    old.team = null
    team.profile = ref(next)
    expect(await reading).toBe(team)
    expect([team.name, team.profile.unwrap(), old.team]).toEqual(['cached', next, null])
    await em.flush()
    expect([await teamOf(profile), await teamOf(other)]).toEqual([null, id])
  })

  test('what was ended while the read is awaited is ended', async () => {
    const { team: id, profile } = await cachedTeam()
    const em = ground.fork()
    const old = await em.findOneOrFail(Profile, profile)
    const reading = ground.cache.cached(Team, { em }).get(id)
    old.team = null
    expect([(await reading)?.name, old.team]).toEqual(['cached', null])
    await em.flush()
    expect(await teamOf(profile)).toBeNull()
  })

  test('a row that is older than what is held takes it back nowhere', async () => {
    const { team: id, profile } = await cachedTeam()
    // By another writer, whom nobody hears.
    await runSql(ground.fork(), 'update profiles set team_id = null where id = ?', [profile])
    const em = ground.fork()
    const held = await em.findOneOrFail(Profile, profile)
    const team = await ground.cache.cached(Team, { em }).get(id)
    expect([team?.name, team?.profile, held.team]).toEqual(['cached', null, null])
    ground.takeQueries()
    await em.flush()
    expect(ground.takeQueries()).toEqual([])
  })

  test('what agrees leads to what is held', async () => {
    const { team: id, profile } = await cachedTeam()
    const em = ground.fork()
    const held = await em.findOneOrFail(Profile, profile)
    const team = await ground.cache.cached(Team, { em }).get(id)
    expect([team?.profile?.unwrap(), held.team?.unwrap()]).toEqual([held, team])
    ground.takeQueries()
    await em.flush()
    expect(ground.takeQueries()).toEqual([])
  })
})
