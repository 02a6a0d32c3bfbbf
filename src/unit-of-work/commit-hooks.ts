import type { CommitParticipant } from '../database/commit-participant.ts'
import { type CommitScope, Journal } from '../kernel/commit-scope.ts'
import type { Logger } from '../kernel/logger.ts'

/** Runs after the commit, outside the transaction and its `em`; a promise is waited for. What it throws is logged. */
export type CommitHook = () => void | Promise<void>

/** The hooks of a root transaction, each bound to the async context outside it. */
export const commitHooks = new Journal<CommitHook>('commit hooks')

/** Runs the hooks one after the other, in the order of registration; what one throws is logged and stops no other. */
export class CommitHookRunner implements CommitParticipant {
  readonly name = 'commit hooks'
  readonly #logger: Logger

  constructor(logger: Logger) {
    this.#logger = logger
  }

  async afterCommit({ scope }: { scope: CommitScope }): Promise<void> {
    for (const hook of scope.read(commitHooks)) {
      try {
        await hook()
      } catch (error) {
        this.#logger.error('A hook threw after the commit; the commit stands', { error })
      }
    }
  }
}
