import type { LogContext, Logger } from '../../src/kernel/logger.ts'

/** Keeps what is logged, so that a test can say that nothing else was. */
export class MemoryLogger implements Logger {
  readonly warnings: { message: string; context: LogContext | undefined }[] = []
  readonly errors: { message: string; context: LogContext | undefined }[] = []

  debug(): void {}
  info(): void {}
  warn(message: string, context?: LogContext): void {
    this.warnings.push({ message, context })
  }
  error(message: string, context?: LogContext): void {
    this.errors.push({ message, context })
  }
}
