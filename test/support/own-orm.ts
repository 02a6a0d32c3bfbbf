import { MikroORM, type Options } from '@mikro-orm/core'
import { PostgreSqlDriver } from '@mikro-orm/postgresql'
import { SqliteDriver } from '@mikro-orm/sqlite'
import { dataAccess } from '../../src/extension.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import type { DataModule } from '../../src/module.ts'

/** Opens an application's own ORM on a database, for a data access with these modules. */
export function openOwnOrm(url: string, modules: readonly DataModule[], options: Partial<Options> = {}): Promise<MikroORM> {
  const where = url.startsWith('sqlite:')
    ? { driver: SqliteDriver, dbName: url.replace(/^sqlite:/, '') }
    : { driver: PostgreSqlDriver, clientUrl: url }
  const extensions = [dataAccess({ modules, logger: silentLogger })]
  const entities = modules.flatMap((module) => module.entities ?? [])
  return MikroORM.init({ ensureDatabase: false, entities, ...options, ...where, extensions } as never)
}
