import type { Logger } from '../../kernel/logger.ts'
import type { OutboxEvent } from '../publishing/publisher.ts'

/** Tells once of each kind of event whose payload a relay passes on as plain JSON. */
export class UnreadTypes {
  readonly #logger: Logger
  readonly #told = new Set<string>()

  constructor(logger: Logger) {
    this.#logger = logger
  }

  note({ type, schemaVersion, decoded }: OutboxEvent): void {
    const kind = `${schemaVersion} ${type}`
    if (decoded || this.#told.has(kind)) return
    this.#told.add(kind)
    this.#logger.warn(
      `Events "${type}" of version ${schemaVersion} are published with the plain JSON as their payload, since no module of this data access lists them; add them to the \`events\` of a module if the publisher reads payloads`,
      { type, schemaVersion },
    )
  }
}
