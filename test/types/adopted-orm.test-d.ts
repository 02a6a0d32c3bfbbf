import type { EntityManager, MikroORM } from '@mikro-orm/core'
import type { MikroORM as PostgresqlORM, SqlEntityManager } from '@mikro-orm/postgresql'
import type { MikroORM as SqliteORM } from '@mikro-orm/sqlite'
import { expectTypeOf } from 'vitest'
import { User } from '../../src/assessment/user.ts'
import { createDataAccess, type DataAccess, type UnitOfWorkContext } from '../../src/index.ts'

declare const postgresql: PostgresqlORM
declare const sqlite: SqliteORM
declare const any: MikroORM
declare function takes(data: DataAccess, em: EntityManager, unit: UnitOfWorkContext): void

// Checked by `tsc`; never run.
export async function types(): Promise<void> {
  const data = await createDataAccess({ orm: postgresql, cache: false })
  expectTypeOf(data.orm).toEqualTypeOf<PostgresqlORM>()
  expectTypeOf(data.fork()).toExtend<SqlEntityManager>()
  await data.fork().execute('select 1')
  await data.unitOfWork(async (unit) => {
    await unit.em.createQueryBuilder(User).getResultList()
    unit.em.getKysely()
    expectTypeOf(await unit.cached(User).get('id')).toEqualTypeOf<User | null>()
    takes(data, unit.em, unit)
  })
  const onSqlite = await createDataAccess({ orm: sqlite })
  await onSqlite.unitOfWork(({ em }) => em.execute('select 1'))

  const own = await createDataAccess({ database: { url: ':memory:' } })
  expectTypeOf(own).toEqualTypeOf<DataAccess>()
  expectTypeOf(await createDataAccess()).toEqualTypeOf<DataAccess>()
  expectTypeOf(await createDataAccess({ orm: any })).toEqualTypeOf<DataAccess>()
  // @ts-expect-error nobody knows the driver of a URL
  await own.fork().execute('select 1')
}
