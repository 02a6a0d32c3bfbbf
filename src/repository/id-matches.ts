import { type EntityManager, type EntityProperty, helper, Utils } from '@mikro-orm/core'
import { databaseValue, plainText } from '../cache/key.ts'
import { spellingOf } from '../database/spelling.ts'
import { dialectOf } from '../database/sql.ts'

/** The id in what was given for one: of an entity or a reference, where the key is a relation, its own. */
export function plainId(id: unknown): unknown {
  return Utils.isEntity(id, true) ? helper(id).getPrimaryKey() : id
}

/** Finds among entities the one of an id, by what the database takes for the same: 7 and '7', two dates of one moment. */
export class IdMatches<Entity extends object> {
  readonly #em: EntityManager
  readonly #key: EntityProperty
  readonly #entities: ReadonlyMap<string, Entity>

  /** @param key the one property of their primary key. */
  constructor(em: EntityManager, key: EntityProperty, entities: readonly Entity[]) {
    this.#em = em
    this.#key = key
    this.#entities = new Map(entities.map((entity) => [this.#spelled(plainId(entity)).text, entity]))
  }

  /** @returns `undefined` where only the database can tell, as of a text that it compares in a way of its own. */
  of(id: unknown): Entity | null | undefined {
    const { text, certain } = this.#spelled(id)
    return this.#entities.get(text) ?? (certain ? null : undefined)
  }

  #spelled(id: unknown): { readonly text: string; readonly certain: boolean } {
    const value = databaseValue(this.#key, id, this.#em.getPlatform())
    const spelling = spellingOf(this.#key, value, dialectOf(this.#em))
    return { text: spelling ?? plainText(value), certain: spelling !== undefined || value instanceof Date }
  }
}
