import type { MikroORM } from '@mikro-orm/core'
import type { Cache } from './repository/cached-reads.ts'
import type { UnitOfWorkContext } from './unit-of-work/unit-of-work.ts'

/** The unit of work of a data access: with its cached reads, which inside a transaction read its own writes. */
export interface DataAccessUnit<Orm extends MikroORM = MikroORM> extends UnitOfWorkContext {
  readonly em: Orm['em']
  readonly cached: Cache['cached']
}
