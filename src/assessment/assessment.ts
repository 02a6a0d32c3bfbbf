import { defineEntity, p } from '@mikro-orm/core'
import { idCheck, idProps, timestampProps } from '../database/entity-props.ts'
import { User } from './user.ts'

/**
 * The table `assessments`. `status` begins as `in_progress`, `currentAbility` and `itemsAdministered` as 0. Deleting the user deletes its rows.
 */
export const AssessmentSchema = defineEntity({
  name: 'Assessment',
  tableName: 'assessments',
  checks: [idCheck('assessments')],
  properties: {
    ...idProps,
    user: () => p.manyToOne(User).inversedBy('assessments').deleteRule('cascade').index().ref(),
    status: p.string().length(20).check('length(status) <= 20').default('in_progress'),
    component: p.string().length(50).check('length(component) <= 50'),
    currentAbility: p.double().$type<number>().default(0),
    itemsAdministered: p.integer().default(0),
    ...timestampProps,
  },
})

/** One evaluation session of a user. */
export class Assessment extends AssessmentSchema.class {}
AssessmentSchema.setClass(Assessment)
