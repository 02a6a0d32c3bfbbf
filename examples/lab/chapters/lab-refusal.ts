import type { ActionFailure } from '../contract/actions.ts'

/** An action that was asked for and cannot be done, with what to tell the person who asked. */
export class LabRefusal extends Error {
  readonly failure: ActionFailure

  constructor(failure: ActionFailure) {
    super(failure.message)
    this.failure = failure
  }
}
