/** The part of Kysely's transaction that is needed here: the ORM's SQL part need not be there. */
export interface Kysely {
  withPlugin(plugin: object): Kysely
  getExecutor(): Executor
}

/** A statement as it goes to the database. */
interface CompiledQuery {
  readonly sql: string
}

/** Through what the statements of a Kysely, and of each query that is built with it, are run. */
interface Executor {
  executeQuery(query: CompiledQuery, ...rest: unknown[]): Promise<unknown>
  stream(query: CompiledQuery, ...rest: unknown[]): AsyncGenerator<unknown>
}

/** What is done about a Kysely that was made for a transaction. */
export interface KyselyWatch {
  /** Called before each statement; throws for one that must not be run. */
  readonly check: (statement: string) => void
  readonly streams: (rows: AsyncGenerator<unknown>) => void
  /** Called before the transaction is ended through it. */
  readonly refuseEnd: (end: string) => void
}

type Method = (...args: unknown[]) => unknown
type Methods = Record<string, Method | undefined>

/** What makes another executor, for a plugin or a connection. */
const executorMakers = ['withPlugin', 'withPlugins', 'withPluginAtFront', 'withoutPlugins', 'withConnectionProvider']

/** What gives the transaction anew. */
const kyselyMakers = ['withPlugin', 'withoutPlugins', 'withSchema', 'withTables', '$extendTables', '$omitTables', '$pickTables']

/** What gives it anew once it is executed. */
const commandMakers = ['savepoint', 'rollbackToSavepoint', 'releaseSavepoint']

const plain = {
  transformQuery: ({ node }: { node: unknown }) => node,
  transformResult: async ({ result }: { result: unknown }) => result,
}

/** A Kysely like this one, and all that is made from it, under a watch. */
export function watchedKysely(kysely: Kysely, watch: KyselyWatch): Kysely {
  // With an executor of its own: that of the transaction is MikroORM's too.
  return watchKysely(kysely.withPlugin(plain), watch)
}

function watchKysely<Made extends Kysely>(kysely: Made, watch: KyselyWatch): Made {
  watchExecutor(kysely.getExecutor(), watch)
  const again = (made: unknown) => watchKysely(made as Kysely, watch)
  override(kysely, kyselyMakers, (make) => again(make()))
  override(kysely, commandMakers, (make) => {
    const command = make() as { execute(): Promise<unknown> }
    const execute = command.execute.bind(command)
    return Object.assign(command, { execute: async () => again(await execute()) })
  })
  return override(kysely, ['commit', 'rollback'], (end, name) => {
    watch.refuseEnd(name)
    return end()
  })
}

function watchExecutor<Made extends Executor>(executor: Made, watch: KyselyWatch): Made {
  override(executor, executorMakers, (make) => watchExecutor(make() as Executor, watch))
  override(executor, ['executeQuery'], async (execute, _, [query]) => {
    watch.check((query as CompiledQuery).sql)
    return execute()
  })
  return override(executor, ['stream'], (stream, _, [query]) => {
    watch.check((query as CompiledQuery).sql)
    const rows = stream() as AsyncGenerator<unknown>
    watch.streams(rows)
    return rows
  })
}

/** Puts a function in front of methods of an object, as far as it has them. */
function override<Target extends object>(
  target: Target,
  names: readonly string[],
  by: (own: () => unknown, name: string, args: readonly unknown[]) => unknown,
): Target {
  const own = Object.getPrototypeOf(target) as Methods
  for (const name of names) {
    const method = own[name]
    if (method === undefined) continue
    Object.assign(target, { [name]: (...args: unknown[]) => by(() => method.apply(target, args), name, args) })
  }
  return target
}
