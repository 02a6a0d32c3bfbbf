import { p } from '@mikro-orm/core'
import { v7 as uuidv7 } from 'uuid'
import { Uuid } from './uuid.ts'

/**
 * The primary key of an entity: `id`, a uuid of version 7, set by `em.create()` so that it is known before the flush. Ids
 * created by one process sort in the order of their creation, also within a millisecond.
 *
 * Spread it into the properties of `defineEntity`, and add {@link idCheck} to its checks.
 */
export const idProps = {
  id: p
    .type(Uuid)
    .$type<string>()
    .primary()
    .onCreate(() => uuidv7()),
}

/** When a row was created and last changed, in milliseconds: both are set at creation, `updatedAt` again at every update. */
export const timestampProps = {
  createdAt: p.datetime(3).onCreate(() => new Date()),
  updatedAt: p
    .datetime(3)
    .onCreate(() => new Date())
    .onUpdate(() => new Date()),
}

/**
 * A check constraint that refuses malformed ids in SQL that bypasses the ORM, where SQLite has no uuid type.
 *
 * The expression is written so that PostgreSQL gives it back in the words in which it got it, and without a comma followed by
 * a space, at which MikroORM would split it on SQLite: else every schema comparison would see a change.
 */
export function idCheck(table: string): { name: string; expression: string } {
  return { name: `${table}_id_check`, expression: `length(id || '') = 36 and ltrim(id || '','0123456789abcdef-') = ''` }
}
