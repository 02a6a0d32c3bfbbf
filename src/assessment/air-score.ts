import { defineEntity, EntityRepositoryType, p } from '@mikro-orm/core'
import { idCheck, idProps, timestampProps } from '../database/entity-props.ts'
import { AIRScoreRepository } from './air-score-repository.ts'
import { User } from './user.ts'

/**
 * The table `air_scores`. The scores and the bounds of their confidence interval, `ciLower` and `ciUpper`, are doubles without a limit;
 * `calculationMetadata` is a JSON object, by default empty. Deleting the user deletes its rows.
 */
export const AIRScoreSchema = defineEntity({
  name: 'AIRScore',
  tableName: 'air_scores',
  checks: [idCheck('air_scores')],
  properties: {
    ...idProps,
    user: () => p.manyToOne(User).inversedBy('scores').deleteRule('cascade').index().ref(),
    occupationCode: p.string().length(20).check('length(occupation_code) <= 20'),
    airScore: p.double().$type<number>(),
    vrScore: p.double().$type<number>(),
    hrScore: p.double().$type<number>(),
    synergyScore: p.double().$type<number>(),
    ciLower: p.double().$type<number>(),
    ciUpper: p.double().$type<number>(),
    parameterVersion: p.string().length(20).check('length(parameter_version) <= 20'),
    calculationMetadata: p
      .json<Readonly<Record<string, unknown>>>()
      .onCreate(() => ({}))
      .defaultRaw("'{}'"),
    ...timestampProps,
  },
})

/** One AI-R score of a user, with the scores it is made of, its confidence interval and how it was calculated. */
export class AIRScore extends AIRScoreSchema.class {
  /** Tells `em.getRepository(AIRScore)` its type; never set. */
  declare [EntityRepositoryType]?: AIRScoreRepository
}
AIRScoreSchema.setClass(AIRScore)
AIRScoreSchema.setCustomRepository(() => AIRScoreRepository)
