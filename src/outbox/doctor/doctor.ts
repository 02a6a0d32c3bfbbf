import { hasErrorCode } from '../../errors.ts'
import { atMost, late } from '../../kernel/at-most.ts'
import { checkOptions, numberFrom } from '../../kernel/options.ts'
import { inRootContext } from '../../kernel/root-context.ts'
import type { Check, CheckContext, CheckName, Diagnosis, DoctorOptions } from './doctor-check.ts'
import { outboxChecks } from './doctor-checks.ts'
import { postgresqlChecks } from './doctor-checks-postgresql.ts'

/** One of the doctor's findings. */
export interface DoctorFinding extends Diagnosis {
  /** Which check it is of: a permanent name, for alerts. */
  readonly check: CheckName
}

/** A timer set to more milliseconds would fire at once. */
const longestTimerMs = 2 ** 31 - 1

/**
 * Runs all checks and resolves to a finding for each, within `timeoutMs`. Changes nothing.
 *
 * @throws DataAccessError `OPTION_INVALID`; `CLOSED`. Whatever else goes wrong is a finding.
 */
export function examine(parts: Omit<CheckContext, 'limits'>, options: DoctorOptions = {}): Promise<DoctorFinding[]> {
  const limit = numberFrom(0, Number.MAX_SAFE_INTEGER)
  const limits = { transactionMs: limit, deadTuples: limit, oldestDueMs: limit, timeoutMs: numberFrom(0, longestTimerMs) }
  checkOptions({ door: 'doctor' }, options, limits)
  const { transactionMs = 60_000, deadTuples = 50_000, oldestDueMs = 60_000, timeoutMs = 5000 } = options
  const context = { ...parts, limits: { transactionMs, deadTuples, oldestDueMs, timeoutMs } }
  const checks = Object.entries({ ...postgresqlChecks, ...outboxChecks }) as [CheckName, Check][]
  return inRootContext(async () => {
    const over = parts.clock.now() + timeoutMs
    // One after the other: an examination must not take all connections of a busy pool. The channel alone needs none.
    const channel = conduct('wake', outboxChecks.wake, context, over)
    // It is awaited in its turn, and not at all when another check was refused before.
    channel.catch(() => {})
    const findings: DoctorFinding[] = []
    for (const [name, check] of checks) {
      findings.push(name === 'wake' ? await channel : await conduct(name, check, context, over))
    }
    return findings
  })
}

async function conduct(check: CheckName, run: Check, context: CheckContext, over: number): Promise<DoctorFinding> {
  const { clock, limits } = context
  const answer = run(context).catch((error: unknown): Diagnosis => {
    // Nothing can be told of an outbox that is not there any more.
    if (hasErrorCode(error, 'CLOSED')) throw error
    const reason = error instanceof Error ? error.message : String(error)
    return { ok: false, finding: `The check failed: ${reason}`, remedy: 'See that the database answers and is migrated' }
  })
  const diagnosis = await atMost(Math.max(0, over - clock.now()), answer, clock)
  if (diagnosis !== late) return { check, ...diagnosis }
  return {
    ...{ check, ok: false, finding: `No answer within the ${limits.timeoutMs} ms of the examination` },
    remedy: 'See that database and pool answer: data.health() and data.stats() tell',
  }
}
