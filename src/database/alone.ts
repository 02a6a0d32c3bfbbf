import type { MikroORM } from '@mikro-orm/core'
import { dialectOf } from './sql.ts'

/** No other process can open a database in memory. */
export function isAlone(orm: MikroORM): boolean {
  return dialectOf(orm) === 'sqlite' && orm.config.get('dbName') === ':memory:'
}
