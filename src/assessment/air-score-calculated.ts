import * as v from 'valibot'
import { defineEvent } from '../outbox/event/define-event.ts'
import { AIRScore } from './air-score.ts'

/** An AI-R score was calculated and stored. Its payload has the ids of user and score, the score and the code of the occupation. Its events are ordered per score. */
export const AIRScoreCalculated = defineEvent({
  type: 'AIRScoreCalculated',
  aggregate: AIRScore,
  payload: v.object({
    userId: v.pipe(v.string(), v.uuid()),
    airScoreId: v.pipe(v.string(), v.uuid()),
    airScoreValue: v.number(),
    occupation: v.pipe(v.string(), v.maxLength(20)),
  }),
})
