import { defineEntity, p } from '@mikro-orm/core'
import { afterEach, describe, expect, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cacheCombinations } from '../support/cache-ground.ts'
import { type CachedAccess, openCachedAccess } from '../support/cached-access.ts'

const LabelSchema = defineEntity({ name: 'Label', properties: { id: p.integer().primary() } })
class Label extends LabelSchema.class {}
LabelSchema.setClass(Label)

class Team {
  id!: number
  labels!: { getIdentifiers(): number[] }
}
const TeamSchema = defineEntity({
  class: Team,
  properties: {
    id: p.integer().primary(),
    labels: () =>
      p
        .manyToMany(Label)
        .owner()
        .pivotEntity(() => PlaceSchema)
        .fixedOrder()
        .fixedOrderColumn('position'),
  },
} as never)
const PlaceSchema = defineEntity({
  name: 'Place',
  properties: {
    team: () => p.manyToOne(TeamSchema as never).primary(),
    label: () => p.manyToOne(Label).primary(),
    position: p.integer(),
    remark: p.string().default(''),
  },
})
class Place extends PlaceSchema.class {}
PlaceSchema.setClass(Place)

const labels = cachedQuery({
  name: 'labels',
  dependsOn: () => [dep(Team), dep(Label)],
  run: async (em) => (await em.findOneOrFail(Team, 1, { populate: ['labels'] as never })).labels.getIdentifiers(),
})

let access: CachedAccess
afterEach(() => access.close())

describe.each(cacheCombinations)(
  'an ordered relation by a pivot entity on $dialect with the $store store',
  ({ dialect, store }) => {
    test.each(['by the entity', 'by a bulk write'])('is put in another order %s', async (how) => {
      access = await openCachedAccess(dialect, store, { entities: [TeamSchema as never, Label, Place], caches: [labels] })
      await access.add([Team, { id: 1 } as never], [Label, { id: 1 }], [Label, { id: 2 }])
      for (const id of [1, 2]) await access.add([Place, { team: 1, label: id, position: id } as never])
      const reads = access.data.cached(labels)
      expect(await reads.get({})).toEqual([1, 2])
      await access.data.unitOfWork(async ({ em }) => {
        const first = { team: 1, label: 1 } as never
        if (how === 'by a bulk write') await em.nativeUpdate(Place, first, { position: 3 })
        else (await em.findOneOrFail(Place, first)).position = 3
      })
      expect(await reads.get({})).toEqual([2, 1])
    })
  },
)
