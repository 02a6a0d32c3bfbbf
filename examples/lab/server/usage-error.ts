/** What whoever starts the lab can mend himself: told in one sentence, without a stack. */
export class UsageError extends Error {}
