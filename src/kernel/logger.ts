import type { Expectation } from './options.ts'

/** Facts that go with a log line; never a secret. */
export type LogContext = Readonly<Record<string, unknown>>

/**
 * Where this library's few log lines go. Any logger with these four methods fits. What it throws, or rejects with, disturbs nobody: the
 * line goes to the console then. It is not waited for.
 */
export interface Logger {
  /** Nothing is logged so at present. */
  debug(message: string, context?: LogContext): void
  /** What was away is back. */
  info(message: string, context?: LogContext): void
  /** Something failed and is done without, or tried on; or a setting costs more than it should. */
  warn(message: string, context?: LogContext): void
  /** Something failed for good, such as an event that became a dead letter or a hook after a commit; somebody should look. */
  error(message: string, context?: LogContext): void
}

const toStandardError: Logger['warn'] = (message, context) => console.warn(message, ...(context === undefined ? [] : [context]))

/** Writes to standard error, and drops what is for debugging alone: the default. */
export const consoleLogger: Logger = {
  debug: () => {},
  info: toStandardError,
  warn: toStandardError,
  error: (message, context) => console.error(message, ...(context === undefined ? [] : [context])),
}

/** Writes nothing. */
export const silentLogger: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** A logger that writes to this one, and to the console what it fails to write: that must not end the work of which it tells. */
export function steadyLogger(logger: Logger): Logger {
  const levelOf = (level: keyof Logger) => (message: string, context?: LogContext) => {
    const failed = (loggerError: unknown) =>
      consoleLogger[level === 'error' ? 'error' : 'warn'](`${message} (The logger that was given failed)`, {
        ...context,
        loggerError,
      })
    try {
      // Also an async function may stand where nothing is returned.
      const returned: unknown = logger[level](message, context)
      if (returned instanceof Promise) returned.catch(failed)
    } catch (error) {
      failed(error)
    }
  }
  return { debug: levelOf('debug'), info: levelOf('info'), warn: levelOf('warn'), error: levelOf('error') }
}

/** What a logger that is given must be. */
export const loggerExpected: Expectation = {
  words: 'a logger with the methods debug, info, warn and error',
  fits: (value) =>
    ['debug', 'info', 'warn', 'error'].every(
      (level) => typeof (value as Partial<Record<string, unknown>> | null)?.[level] === 'function',
    ),
}
