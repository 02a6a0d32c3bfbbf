import { setTimeout as delay } from 'node:timers/promises'
import { defineEntity, p } from '@mikro-orm/core'
import { afterEach, describe, expect, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { cacheCombinations } from '../support/cache-ground.ts'
import { type CachedAccess, openCachedAccess } from '../support/cached-access.ts'

const slug = p.string().unique()

/** Classes in one table. */
const MediumSchema = defineEntity({
  name: 'Medium',
  discriminatorColumn: 'kind',
  discriminatorValue: 'medium',
  properties: { id: p.integer().primary(), kind: p.string(), slug, title: p.string() },
} as never)
class Medium extends (MediumSchema as unknown as { class: new () => { id: number; slug: string; title: string } }).class {}
MediumSchema.setClass(Medium as never)
const PhotoSchema = defineEntity({
  name: 'Photo',
  extends: MediumSchema,
  discriminatorValue: 'photo',
  properties: { plate: p.string().unique().nullable() },
} as never)
class Photo extends Medium {}
PhotoSchema.setClass(Photo as never)
const VideoSchema = defineEntity({
  name: 'Video',
  extends: MediumSchema,
  discriminatorValue: 'video',
  properties: { length: p.integer().nullable() },
} as never)
class Video extends Medium {}
VideoSchema.setClass(Video as never)

/** Classes with a table each. */
const VehicleSchema = defineEntity({
  name: 'Vehicle',
  inheritance: 'tpt',
  properties: { id: p.integer().primary(), slug, title: p.string() },
})
class Vehicle extends VehicleSchema.class {}
VehicleSchema.setClass(Vehicle)
const CarSchema = defineEntity({ name: 'Car', extends: VehicleSchema, properties: { plate: p.string().unique().nullable() } })
class Car extends CarSchema.class {}
CarSchema.setClass(Car)
const BikeSchema = defineEntity({ name: 'Bike', extends: VehicleSchema, properties: { gears: p.integer().nullable() } })
class Bike extends BikeSchema.class {}
BikeSchema.setClass(Bike)

interface Read {
  readonly id: number
  readonly title: string
}
type Class = new () => Read
interface Family {
  readonly how: string
  readonly root: Class
  /** Has a unique property of its own. */
  readonly first: Class
  readonly second: Class
}
const families: readonly Family[] = [
  { how: 'in one table', root: Medium, first: Photo, second: Video },
  { how: 'with a table each', root: Vehicle, first: Car, second: Bike },
]

describe.each(cacheCombinations)('classes of one root on $dialect with the $store store', ({ dialect, store }) => {
  let access: CachedAccess
  afterEach(() => access.close())

  const open = async (family: Family, of: Class, uniques: readonly string[], frozen: boolean) => {
    const policy = cachePolicy<Read, never>(of, { uniques: uniques as never, frozen })
    const all = cachedQuery({
      name: 'all',
      dependsOn: () => [dep<object>(family.root)],
      run: (em) => em.find<Read>(family.root, {}, { orderBy: { id: 1 } }),
    })
    access = await openCachedAccess(dialect, store, {
      entities: [family.root, family.first, family.second],
      caches: [policy, all],
    })
    await access.add(
      [family.first, { id: 1, slug: 'first', title: 'first', plate: 'p' }],
      [family.second, { id: 2, slug: 'second', title: 'second' }],
    )
    return { policy, all }
  }
  const cases = families.flatMap((family) =>
    (['root', 'first', 'second'] as const).flatMap((of) => [false, true].map((frozen) => ({ ...family, family, of, frozen }))),
  )

  test.each(cases)('$how give what their own finds give, with a policy of the $of class, frozen: $frozen', async (given) => {
    const { family, root, first, second, frozen } = given
    const { all } = await open(family, family[given.of], [], frozen)
    const { data } = access
    const read = async (of: Class, id: number) => {
      const [database] = await data.fork().find(of, { id } as never)
      const em = data.fork()
      const cached = [
        await data.cached(of).get(id as never),
        (await data.cached(of).getMany([id] as never))[0],
        await data.cached(of, { em }).get(id as never),
        await data.unitOfWork(() => data.cached(of).get(id as never)),
      ]
      return cached.map((one) => [one?.title, one?.constructor === database?.constructor && database?.title === one?.title])
    }
    const hits = () => data.cached<object>(root).stats().hits
    // After an invalidation that was not acknowledged in time the database is read, which on SQLite leaves no timer its turn.
    for (let turn = 1; turn <= 3 || hits() === 0; turn++, await delay(10)) {
      for (const [of, id, title] of [
        ...([
          [root, 1, 'first'],
          [root, 2, 'second'],
          [first, 1, 'first'],
          [first, 2, undefined],
        ] as const),
        ...([
          [second, 1, undefined],
          [second, 2, 'second'],
        ] as const),
      ]) {
        expect(await read(of, id)).toEqual(Array(4).fill([title, true]))
      }
      expect((await data.cached(all).get({})).map((each) => [each.id, each.constructor])).toEqual([
        [1, first],
        [2, second],
      ])
    }
    await expect(data.cached(first).getOrFail(2 as never)).rejects.toThrow(`There is no ${first.name} with the id 2`)
  })

  test.each(families)('$how are found by unique values, of their root and of their own', async (family) => {
    const { root, first, second } = family
    await open(family, first, ['slug', 'plate'], false)
    const { data } = access
    type Lookups = Readonly<Record<'bySlug' | 'byPlate', (value: string) => Promise<Read | null>>>
    const of = (each: Class) => data.cached(each) as unknown as Lookups
    const found = async () => [
      ...(await Promise.all([root, first, second].flatMap((each) => [of(each).bySlug('first'), of(each).bySlug('second')]))),
      ...(await Promise.all([root, first, second].map((each) => of(each).byPlate('p')))),
    ]
    const ids = [1, 2, 1, undefined, undefined, 2, 1, 1, undefined]
    for (let turn = 1; turn <= 3; turn++) expect((await found()).map((each) => each?.id)).toEqual(ids)
    expect((await of(root).byPlate('p'))?.constructor).toBe(first)
    expect((await data.unitOfWork(found)).map((each) => each?.id)).toEqual(ids)
  })
})
