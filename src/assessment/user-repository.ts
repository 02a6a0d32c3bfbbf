import type { Loaded } from '@mikro-orm/core'
import { DataRepository } from '../repository/data-repository.ts'
import type { User } from './user.ts'

/** The users; `em.getRepository(User)` returns it. By id: `getById(id)` or `getOrFail(id)`. */
export class UserRepository extends DataRepository<User> {
  /**
   * Resolves to the user of an email, compared exactly, or to null. Served by the unique index on email. What is no text is nobody's
   * email: MikroORM would take an object of an unchecked request for a condition.
   */
  async byEmail(email: string): Promise<User | null> {
    return typeof email === 'string' ? this.findOne({ email }) : null
  }

  /**
   * Resolves to a user with its scores loaded, oldest first, or to null: two queries, however many scores there are. A join
   * would repeat the user in each row.
   */
  async getWithScores(id: string): Promise<Loaded<User, 'scores'> | null> {
    return this.getById(id, {
      populate: ['scores'],
      strategy: 'select-in',
      populateOrderBy: { scores: { createdAt: 'asc', id: 'asc' } },
    })
  }
}
