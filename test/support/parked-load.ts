import type { MikroORM } from '@mikro-orm/core'

/** A read of the database that has its rows and does not hand them out yet. */
export interface ParkedLoad {
  /** Resolves once the rows are read. */
  readonly parked: Promise<void>
  /** Hands them out. */
  resume(): void
}

/** Parks the next read of the database through this ORM, after its SQL. */
export function parkNextLoad(orm: MikroORM): ParkedLoad {
  const driver = orm.em.getDriver()
  const find = driver.find
  let tellParked = (): void => undefined
  let resume = (): void => undefined
  const parked = new Promise<void>((resolve) => {
    tellParked = resolve
  })
  const gate = new Promise<void>((resolve) => {
    resume = resolve
  })
  driver.find = (async (...args: Parameters<typeof find>) => {
    driver.find = find
    const rows = await find.apply(driver, args)
    tellParked()
    await gate
    return rows
  }) as typeof find
  return { parked, resume }
}
