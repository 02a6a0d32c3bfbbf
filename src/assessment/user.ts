import { Cascade, defineEntity, EntityRepositoryType, p } from '@mikro-orm/core'
import { idCheck, idProps, timestampProps } from '../database/entity-props.ts'
import { AIRScore } from './air-score.ts'
import { Assessment } from './assessment.ts'
import { UserRepository } from './user-repository.ts'

/**
 * The table `users`. Lengths are in characters; `email` is unique. `occupationCode`, `educationLevel` and `yearsExperience`, which is in years,
 * are null where they are not known.
 */
export const UserSchema = defineEntity({
  name: 'User',
  tableName: 'users',
  checks: [idCheck('users')],
  properties: {
    ...idProps,
    email: p.string().length(255).check('length(email) <= 255').unique(),
    name: p.string().length(255).check('length(name) <= 255'),
    occupationCode: p.string().length(20).check('length(occupation_code) <= 20').nullable(),
    educationLevel: p.string().length(50).check('length(education_level) <= 50').nullable(),
    yearsExperience: p.double().$type<number>().nullable(),
    ...timestampProps,
    assessments: () => p.oneToMany(Assessment).mappedBy('user').cascade(Cascade.ALL).orphanRemoval(),
    scores: () => p.oneToMany(AIRScore).mappedBy('user').cascade(Cascade.ALL).orphanRemoval(),
  },
})

/** A person who takes assessments. Removing one removes its assessments and scores, in the ORM and in the database. */
export class User extends UserSchema.class {
  /** Tells `em.getRepository(User)` its type; never set. */
  declare [EntityRepositoryType]?: UserRepository
}
UserSchema.setClass(User)
UserSchema.setCustomRepository(() => UserRepository)
