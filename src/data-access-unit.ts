import type { MikroORM } from '@mikro-orm/core'
import type { Cache } from './repository/cached-reads.ts'
import type { UnitOfWorkContext } from './unit-of-work/unit-of-work.ts'

/** The unit of work of a data access: with its cached reads, which inside a transaction read its own writes. */
export interface DataAccessUnit<Orm extends MikroORM = MikroORM> extends UnitOfWorkContext {
  /** The entity manager of this unit's transaction, of your ORM's own type; flushed before the commit. No other may be used inside. */
  readonly em: Orm['em']
  /** As `data.cached`, in this unit's transaction: it reads the database, past the cache, and its results belong to `em`. */
  readonly cached: Cache['cached']
}
