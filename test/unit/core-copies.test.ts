import { expect, test } from 'vitest'
import { createDataAccess } from '../../src/data-access.ts'
import { dataAccess } from '../../src/extension.ts'

// The class of another copy: of one name, and not ours.
const { Orm, Extended } = (() => {
  class MikroORM {
    readonly config = { getExtension: () => undefined }
    readonly driver = {}
  }
  return { Orm: MikroORM, Extended: class PostgreSqlMikroORM extends MikroORM {} }
})()

const mismatch = {
  code: 'DRIVER_MISMATCH',
  message: expect.stringMatching(/Two copies of @mikro-orm\/core.+node_modules\/@mikro-orm\/core \(7\..+npm dedupe/),
}

test('an ORM of another copy of MikroORM is refused, with the place of ours', async () => {
  for (const orm of [new Orm(), new Extended()]) {
    await expect(createDataAccess({ orm: orm as never })).rejects.toMatchObject(mismatch)
    expect(() => dataAccess().register(orm as never)).toThrow(expect.objectContaining(mismatch))
  }
})

test('what is no ORM at all is refused as an option', async () => {
  for (const orm of [{}, null, 'orm', new (class EntityManager {})()]) {
    await expect(createDataAccess({ orm: orm as never })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  }
})
