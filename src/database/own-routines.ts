import type { MikroORM } from '@mikro-orm/core'

/** The part of MikroORM's schema helper that lists the functions of a database. */
interface RoutineLister {
  getAllRoutines(...args: unknown[]): Promise<{ readonly name: string }[]>
}

/**
 * Hides functions from the schema commands of an ORM, which drop what its entities do not name. MikroORM 7.2 can skip tables and views by
 * name, and functions only all together, which would take the application's own out of its hands.
 */
export function hideRoutines(orm: MikroORM, names: readonly string[]): void {
  const helper = orm.driver.getPlatform().getSchemaHelper() as Partial<RoutineLister> | undefined
  const list = helper?.getAllRoutines
  if (helper === undefined || list === undefined) return
  helper.getAllRoutines = async (...args) => {
    const found = await list.apply(helper as RoutineLister, args)
    return found.filter(({ name }) => !names.includes(name))
  }
}
