import type { DataAccess } from '@innovateai/data-access'
import { User } from '@innovateai/data-access/assessment'
import type { CreatedUser, InitialisedDatabase } from '../contract/results.ts'
import { userCalled } from './sample-rows.ts'

/** Brings the tables up to date and makes sure that the two users of the seed are there. */
export async function initialise(data: DataAccess): Promise<InitialisedDatabase> {
  // #region initialise
  const migrations = await data.migrate() // the names of those that ran just now
  const alex = await userCalled(data, 'alex.smith@innovateai.dev', 'Alex Smith')
  const jane = await userCalled(data, 'jane.doe@innovateai.dev', 'Jane Doe')
  const users = await data.fork().getRepository(User).getMany([alex, jane])
  // #endregion
  return { migrations, users: users.flatMap((user) => (user === null ? [] : [created(user)])) }
}

function created({ id, email, name }: User): CreatedUser {
  return { id, email, name }
}
