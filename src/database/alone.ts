import type { EntityManager, MikroORM } from '@mikro-orm/core'
import { dialectOf } from './sql.ts'

/** No other process can open a database in memory. */
export function isAlone(source: EntityManager | MikroORM): boolean {
  return dialectOf(source) === 'sqlite' && source.config.get('dbName') === ':memory:'
}
