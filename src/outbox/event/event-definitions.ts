import { DataAccessError } from '../../errors.ts'
import { record } from '../../kernel/options.ts'
import { type DomainEventDefinition, eventLengths, requireName } from './define-event.ts'

/** The event definitions that the modules of a data access list: what it records, and how its relay reads payloads. */
export class EventDefinitions {
  readonly #listed = new Map<string, DomainEventDefinition>()

  /**
   * @throws DataAccessError `EVENT_DEFINITION_INVALID` for two definitions of one type and version, two aggregates of one name, or what
   * is no definition.
   */
  constructor(definitions: Iterable<DomainEventDefinition>) {
    for (const event of definitions) {
      requireDefinition(event, 'The `events` of a module hold')
      const { type, version } = event
      if ((this.find(type, version) ?? event) !== event) {
        throw new DataAccessError(
          'EVENT_DEFINITION_INVALID',
          `Event "${type}" is defined twice with version ${version}; give one definition another type, or a new shape of the same event another version`,
        )
      }
      requireOwnAggregate(event, this.#listed.values())
      this.#listed.set(keyOf(type, version), event)
    }
  }

  /** The types of the events that are listed, in whatever version. */
  get types(): readonly string[] {
    return [...new Set([...this.#listed.values()].map(({ type }) => type))]
  }

  find(type: string, version: number): DomainEventDefinition | undefined {
    return this.#listed.get(keyOf(type, version))
  }

  /**
   * Makes sure that what is recorded can be read back by the same definition.
   *
   * @throws DataAccessError `EVENT_UNKNOWN`; `EVENT_DEFINITION_INVALID` for what is no definition.
   */
  require(event: DomainEventDefinition): void {
    requireDefinition(event, 'record() was given')
    const { type, version } = event
    const listed = this.find(type, version)
    if (listed === event) return
    const fault =
      listed === undefined
        ? 'no module of this data access lists it, so its relay could not read the payload back; add it to the `events` of a module'
        : 'the modules of this data access list another definition of this type and version; record with that one'
    throw new DataAccessError('EVENT_UNKNOWN', `Event "${type}" of version ${version} was not recorded: ${fault}`, {
      context: { event: type, version },
    })
  }
}

/** Types promise more than an import: of two files that import each other, one finds `undefined` in the other. */
function requireDefinition(event: unknown, giver: string): void {
  if (record.fits(event) && typeof (event as Partial<DomainEventDefinition>).is === 'function') return
  const what = event === undefined || event === null ? String(event) : `a value of type ${typeof event}`
  throw new DataAccessError(
    'EVENT_DEFINITION_INVALID',
    `${giver} ${what} where an event belongs; give what defineEvent() returned, and see whether two files import each other`,
  )
}

function requireOwnAggregate(event: DomainEventDefinition, listed: Iterable<DomainEventDefinition>): void {
  const { type, aggregate, aggregateType } = event
  requireName('aggregate', aggregateType, eventLengths.aggregateType, type)
  if (aggregate === undefined) return
  const other = [...listed].find((each) => each.aggregateType === aggregateType && (each.aggregate ?? aggregate) !== aggregate)
  if (other === undefined) return
  throw new DataAccessError(
    'EVENT_DEFINITION_INVALID',
    `Events "${type}" and "${other.type}" are about two entities of one name, "${aggregateType}", which would share their ordering keys and dead letters; give one of the entities another name, or one of the events a name as its aggregate`,
  )
}

function keyOf(type: string, version: number): string {
  return `${version} ${type}`
}
