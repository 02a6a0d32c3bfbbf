import { DataAccessError } from '../../errors.ts'

/** How to give the user of a Redis with access lists what a cache with this prefix needs. */
export function rightsRemedy(prefix: string): string {
  return `give its user the keys and channels of the cache: ACL SETUSER <user> ~${prefix}* &${prefix}*`
}

/** Adds the remedy to an error by which Redis refused what its user may not do; gives every other back as it is. */
export function withRemedy(error: unknown, prefix: string): unknown {
  if (!(error instanceof DataAccessError) || error.context.reply !== 'NOPERM') return error
  const { cause, context } = error
  const reply = cause instanceof Error ? cause.message : String(cause)
  const message = `Redis at ${context.address} refused ${context.command}: ${reply}; ${rightsRemedy(prefix)}`
  return new DataAccessError('REDIS_COMMAND_FAILED', message, { cause, context })
}
