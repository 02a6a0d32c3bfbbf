import {
  type EntityProperty,
  EntityRepository,
  type FilterQuery,
  type FindOneOptions,
  type FindOptions,
  type Loaded,
  type Primary,
  QueryFlag,
} from '@mikro-orm/core'
import { couldBeKey } from '../database/key-value.ts'
import { dialectOf } from '../database/sql.ts'
import { DataAccessError } from '../errors.ts'
import { describeValue } from '../kernel/options.ts'
import { IdMatches, plainId } from './id-matches.ts'
import { findPage, type Page, type PageOptions } from './page.ts'

/** MikroORM's options of `findOne()`. An id needs no index hint. */
export type GetOptions<Entity, Hint extends string = never> = Omit<FindOneOptions<Entity, Hint>, 'using'>

/** MikroORM's options of `find()`. Ids need no index hint. */
export type GetManyOptions<Entity, Hint extends string = never> = Omit<FindOptions<Entity, Hint>, 'using'>

/**
 * A MikroORM repository with a few verbs more. Extend it for an entity's own queries, and name it to the entity:
 *
 * ```ts
 * export class BookRepository extends DataRepository<Book> {}
 * export class Book extends BookSchema.class {
 *   declare [EntityRepositoryType]?: BookRepository
 * }
 * BookSchema.setClass(Book)
 * BookSchema.setCustomRepository(() => BookRepository)
 * ```
 *
 * It reads through the entity manager it came from: its transaction, its identity map, its filters.
 */
export class DataRepository<Entity extends object> extends EntityRepository<Entity> {
  /**
   * Resolves to the entity of an id, or to null. What cannot be an id at all, such as a malformed uuid, has no entity either:
   * null, without a query, on both dialects. An entity that the entity manager holds already takes no query. A key of several properties
   * is given as `findOne()` takes it.
   */
  async getById<Hint extends string = never>(
    id: Primary<Entity>,
    options: GetOptions<Entity, Hint> = {},
  ): Promise<Loaded<Entity, Hint> | null> {
    const plain = plainId(id)
    return this.#canBeId(plain) ? this.findOne<Hint, never, never, never>(plain as FilterQuery<Entity>, options) : null
  }

  /**
   * Resolves to the entity of an id.
   *
   * @throws DataAccessError `ENTITY_NOT_FOUND`, which names the entity and the id, also in its context; what the database throws.
   */
  async getOrFail<Hint extends string = never>(
    id: Primary<Entity>,
    options: GetOptions<Entity, Hint> = {},
  ): Promise<Loaded<Entity, Hint>> {
    const found = await this.getById(id, options)
    if (found !== null) return found
    const { className: entity } = this.em.getMetadata().get(this.entityName)
    throw new DataAccessError('ENTITY_NOT_FOUND', `There is no ${entity} with the id ${describeId(id)}`, {
      context: { entity, id },
    })
  }

  /**
   * Resolves to the entities of these ids, place by place: in the order of the ids, an id given twice twice, and null where
   * there is none. One query, or none for no id; and one for each id that was not found in a column which may know it in another
   * spelling, such as `citext`.
   *
   * @throws DataAccessError `OPTION_INVALID` for what is no array, or an entity whose key has several properties; what the database throws.
   */
  async getMany<Hint extends string = never>(
    ids: readonly Primary<Entity>[],
    options: GetManyOptions<Entity, Hint> = {},
  ): Promise<(Loaded<Entity, Hint> | null)[]> {
    requireIds(ids)
    const key = this.#key
    const plain = ids.map(plainId)
    const wanted = new Set(plain.filter((id) => this.#canBeId(id)))
    if (wanted.size === 0) return ids.map(() => null)
    const found = await this.find<Hint, never, never, never>({ [key.name]: { $in: [...wanted] } } as FilterQuery<Entity>, options)
    const matches = new IdMatches(this.em, key, found)
    const answers: (Loaded<Entity, Hint> | null)[] = []
    for (const id of plain) {
      const match = wanted.has(id) ? matches.of(id) : null
      answers.push(match === undefined ? await this.getById(id as Primary<Entity>, options) : match)
    }
    return answers
  }

  /**
   * Tells whether at least one entity matches; `{}` is matched by all. Reads one key and makes no entity managed.
   *
   * @throws DataAccessError `OPTION_INVALID` for no condition at all.
   */
  async exists(where: FilterQuery<Entity>): Promise<boolean> {
    if (where === undefined || where === null) {
      throw new DataAccessError('OPTION_INVALID', `exists was given ${where}; give a condition, or {} for any entity`)
    }
    const found = await this.find(where, {
      fields: this.em.getMetadata().get(this.entityName).primaryKeys as never,
      populate: [],
      disableIdentityMap: true,
      limit: 1,
      // The first row answers: several of one entity need not be told apart.
      flags: [QueryFlag.DISABLE_PAGINATE],
    })
    return found.length > 0
  }

  /**
   * Resolves to one page of what matches, in a stable order, and to the cursor of the next page. It reads by key and not by
   * offset: a deep page costs as much as the first one, and rows that come or go meanwhile neither repeat nor hide others.
   *
   * @throws DataAccessError `PAGE_CURSOR_INVALID` for a cursor that is damaged, or was made for another entity or order;
   * `OPTION_INVALID`.
   */
  page<Hint extends string = never>(options: PageOptions<Entity, Hint> = {}): Promise<Page<Loaded<Entity, Hint>>> {
    return findPage(this.em, this.entityName, options)
  }

  /** The one property of the primary key. */
  get #key(): EntityProperty {
    const { primaryKeys, properties, className } = this.em.getMetadata().get(this.entityName)
    const [key, ...more] = primaryKeys
    if (key !== undefined && more.length === 0) return properties[key] as EntityProperty
    throw new DataAccessError('OPTION_INVALID', `${className} has a key of several properties; use find() with conditions`)
  }

  #canBeId(id: unknown): boolean {
    const { primaryKeys, properties } = this.em.getMetadata().get(this.entityName)
    // A key of several properties is given as an object.
    if (primaryKeys.length > 1) return id !== undefined && id !== null
    return couldBeKey(properties[primaryKeys[0] as keyof typeof properties], id, dialectOf(this.em))
  }
}

/** @throws DataAccessError `OPTION_INVALID` for what is no array of ids. */
export function requireIds(ids: unknown): void {
  if (Array.isArray(ids)) return
  throw new DataAccessError('OPTION_INVALID', `getMany was given ${describeValue(ids)}; give an array of ids`)
}

function describeId(id: unknown): string {
  if (typeof id === 'string') return `"${id.slice(0, 64)}"`
  // JSON has no word for these.
  return typeof id === 'bigint' ? String(id) : (JSON.stringify(id) ?? typeof id)
}
