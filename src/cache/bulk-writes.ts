import {
  type EntityManager,
  type EntityMetadata,
  EventType,
  type MikroORM,
  QueryFlag,
  type Transaction,
  Utils,
} from '@mikro-orm/core'
import { comesFrom } from '../database/failure.ts'
import { overrideManagers } from '../database/override-managers.ts'
import { type BuiltConflict, namesInBuilder, namesInCall, type WrittenNames } from './written-names.ts'

/** A write that passed an entity manager without change sets. */
export interface BulkWrite {
  /** An entity manager in the transaction in which it ran, if it ran in one. */
  readonly em: EntityManager
  readonly meta: EntityMetadata
  readonly deletes: boolean
  readonly names: WrittenNames
}

/** Who hears of bulk writes. */
export interface BulkWriteObserver {
  /** True if such a write outside a transaction is to get one of its own, in which the observer can note it. */
  wantsTransaction(write: BulkWrite): boolean
  /** The write has run, though perhaps not committed. Rejects only if what must be written in its transaction cannot be. */
  wrote(write: BulkWrite): Promise<void>
}

/** The methods of an entity manager, and so of its repositories, that write without change sets; and where their options are. */
const methods = {
  insert: 2,
  insertMany: 2,
  upsert: 2,
  upsertMany: 2,
  nativeUpdate: 3,
  nativeDelete: 2,
  clone: undefined,
} as const

/** The kinds of a query builder that write. */
const writing: ReadonlySet<unknown> = new Set(['INSERT', 'UPDATE', 'DELETE', 'UPSERT', 'TRUNCATE'])

type Method = (...args: readonly unknown[]) => unknown

/** What is needed of a query builder: the ORM's SQL part need not be there. */
interface QueryBuilder {
  readonly type: unknown
  readonly state: {
    readonly data?: unknown
    readonly onConflict?: readonly BuiltConflict[]
    readonly flags: ReadonlySet<QueryFlag>
  }
  readonly mainAlias: { readonly meta: EntityMetadata }
  /** The transaction in which it runs. */
  context: Transaction | undefined
  execute: Method
  stream: (...args: readonly unknown[]) => AsyncGenerator<unknown>
  clone: Method
}

/**
 * Tells of every bulk write through an ORM's entity managers and query builders, before the caller hears of it: MikroORM raises no
 * event for them. Also of a write that failed, since after a lost connection it may have taken place. Entity managers forked
 * earlier are not watched.
 */
export function watchBulkWrites(orm: MikroORM, observer: BulkWriteObserver): void {
  if (orm.em !== undefined) {
    watch(orm, orm.em, observer)
    return
  }
  // An extension is registered before the first entity manager is made.
  const { driver } = orm
  const create = driver.createEntityManager
  driver.createEntityManager = (...args) => {
    const made = create.apply(driver, args)
    watch(orm, made as EntityManager, observer)
    return made
  }
}

function watch(orm: MikroORM, manager: EntityManager, observer: BulkWriteObserver): void {
  overrideManagers(manager, ({ own: managers, define }) => {
    const own = managers as unknown as Readonly<Record<string, Method | undefined>>
    for (const [method, optionsAt] of Object.entries(methods)) {
      define(method, async function (...args: unknown[]): Promise<unknown> {
        const run = (given: readonly unknown[]) => own[method]?.apply(this, given as never)
        const meta = metadataOf(orm, args[0])
        if (meta === undefined) return run(args)
        const options = optionsAt === undefined ? undefined : (args[optionsAt] as { readonly ctx?: Transaction } | undefined)
        const em = within(this.getContext(false), options?.ctx)
        const inside = (ctx: Transaction) => run(withItem(args, optionsAt as number, { ...options, ctx }))
        const write = { em, meta, deletes: method === 'nativeDelete', names: namesInCall(em, method, meta, args) }
        return tellOf(
          write,
          observer,
          () => run(args),
          optionsAt === undefined || runsHooks(em, method, meta) ? undefined : inside,
        )
      })
    }
    if (own.createQueryBuilder === undefined) return
    define('createQueryBuilder', function (...args: unknown[]): unknown {
      return watched(own.createQueryBuilder?.apply(this, args as never) as QueryBuilder, this.getContext(false), observer)
    })
  })
}

function watched(builder: QueryBuilder, em: EntityManager, observer: BulkWriteObserver): QueryBuilder {
  const { execute, stream, clone } = builder
  builder.clone = (...args) => watched(clone.apply(builder, args as never) as QueryBuilder, em, observer)
  const writeOf = () => {
    const { context, state, mainAlias } = builder
    const type = kindOf(builder)
    if (!writing.has(type)) return undefined
    const { meta } = mainAlias
    return {
      em: within(em, context),
      meta,
      deletes: type === 'DELETE' || type === 'TRUNCATE',
      names: namesInBuilder(em, meta, type, state.data, state.onConflict),
    }
  }
  builder.execute = (...args) => {
    const run = () => execute.apply(builder, args as never)
    const write = writeOf()
    if (write === undefined) return run()
    const inside = async (ctx: Transaction) => {
      builder.context = ctx
      return Promise.resolve(run()).finally(() => {
        builder.context = undefined
      })
    }
    return tellOf(write, observer, run, inside)
  }
  // Of a statement that returns what it has written. Its stream may be left open: in a transaction the commit ends it. Elsewhere the
  // database commits with the last of its rows, which is not to wait for who reads them.
  builder.stream = async function* (...args) {
    const write = writeOf()
    const rows = stream.apply(builder, args as never)
    if (write === undefined) return yield* rows
    if (write.em.isInTransaction()) {
      await observer.wrote(write)
      return yield* rows
    }
    const read: unknown[] = []
    await toldOf(write, observer, async () => {
      for await (const row of rows) read.push(row)
    })
    yield* read
  }
  return builder
}

/** One that updates or deletes by a condition on other tables calls itself a select, of the ids in question, until it runs. */
function kindOf({ type, state: { flags } }: QueryBuilder): unknown {
  if (flags.has(QueryFlag.UPDATE_SUB_QUERY)) return 'UPDATE'
  return flags.has(QueryFlag.DELETE_SUB_QUERY) ? 'DELETE' : type
}

/** Runs a write and tells of it: in its own transaction if it is in none, one is wanted, and it can be run in one. */
async function tellOf(
  write: BulkWrite,
  observer: BulkWriteObserver,
  run: () => unknown,
  runIn?: (transaction: Transaction) => unknown,
): Promise<unknown> {
  const { em } = write
  if (em.isInTransaction() || runIn === undefined || !observer.wantsTransaction(write)) {
    return toldOf(write, observer, async () => run())
  }
  const inside = em.fork({ clear: true, disableContextResolution: true })
  await inside.begin()
  // MikroORM knows of no transaction where they are switched off.
  const transaction = inside.getTransactionContext()
  if (transaction === undefined) return tellOf(write, observer, run)
  try {
    const result = await runIn(transaction)
    await observer.wrote({ ...write, em: inside })
    await commit(inside)
    return result
  } catch (error) {
    await inside.rollback().catch(() => undefined) // what went wrong is told already, and a transaction that is gone is rolled back
    throw error
  }
}

/** Tells of a write when it has run. The error of one that failed is not to be hidden by that of telling: its transaction may be aborted. */
async function toldOf<Result>(write: BulkWrite, observer: BulkWriteObserver, run: () => Promise<Result>): Promise<Result> {
  let result: Result
  try {
    result = await run()
  } catch (error) {
    await observer.wrote(write).catch(() => {})
    throw error
  }
  await observer.wrote(write)
  return result
}

/** A commit at which a deferred constraint fails rejects as the statement itself would without a transaction. */
async function commit(em: EntityManager): Promise<void> {
  try {
    await em.commit()
  } catch (error) {
    throw comesFrom(error, em.getConnection('write')) ? em.getDriver().convertException(error) : error
  }
}

/** The entity manager itself, or one in the transaction that a caller named beside it. */
function within(em: EntityManager, transaction: Transaction | undefined): EntityManager {
  if (transaction === undefined || em.getTransactionContext() === transaction) return em
  const inside = em.fork({ clear: true, disableContextResolution: true })
  inside.setTransactionContext(transaction)
  return inside
}

/** What a hook writes through the entity manager that it is given would wait for our transaction, which waits for the hook. */
function runsHooks(em: EntityManager, method: string, meta: EntityMetadata): boolean {
  if (!method.startsWith('upsert')) return false
  const events = em.getEventManager()
  return events.hasListeners(EventType.beforeUpsert, meta) || events.hasListeners(EventType.afterUpsert, meta)
}

function withItem(items: readonly unknown[], index: number, item: unknown): readonly unknown[] {
  return Array.from({ length: Math.max(items.length, index + 1) }, (_, each) => (each === index ? item : items[each]))
}

/** Bulk writes take an entity's class, schema or name, or entities themselves. */
function metadataOf(orm: MikroORM, what: unknown): EntityMetadata | undefined {
  const first: unknown = Array.isArray(what) ? what[0] : what
  if (first === undefined) return undefined
  return orm.getMetadata().find((Utils.isEntity(first) ? (first as object).constructor : first) as never)
}
