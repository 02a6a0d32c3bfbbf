import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { UnderscoreNamingStrategy } from '@mikro-orm/core'
import { describe, expect, it } from 'vitest'
import { DeadLetters } from '../../../src/outbox/dead-letters.ts'
import { DomainEventSchema, domainEventStatuses } from '../../../src/outbox/event/domain-event.ts'
import type { RecordOptions } from '../../../src/outbox/event/recorded-event.ts'
import { Outbox } from '../../../src/outbox/outbox.ts'
import type { Outcome, PublishFault } from '../../../src/outbox/publishing/publisher.ts'
import { type DeadLetterReason, type Settlement, settle } from '../../../src/outbox/publishing/retry-policy.ts'
import type { RelayEventName, RelayEvents } from '../../../src/outbox/relay/relay-events.ts'
import type { RelayOptions } from '../../../src/outbox/relay/relay-options.ts'
import {
  OutboxDeadLetter,
  OutboxFailure,
  OutboxLease,
  OutboxProgress,
  OutboxRelay,
} from '../../../src/outbox/store/relay-tables.ts'
import { outboxTables } from '../../../src/outbox/store/tables.ts'
import { repository } from '../../support/programs.ts'

const page = readFileSync(join(repository, 'docs/outbox-lifecycle.md'), 'utf8')
const glossary = readFileSync(join(repository, 'docs/glossary.md'), 'utf8')

// Names that the compiler knows: one that is added, or named anew, does not compile here without its line.
const faults: Record<PublishFault, true> = { retryable: true, permanent: true, unavailable: true }
const reasons: Record<DeadLetterReason, true> = { permanent: true, exhausted: true }
const causes: Record<RelayEvents['paused']['cause'], true> = { publisher: true, database: true }
const told: Record<RelayEventName, true> = {
  published: true,
  retried: true,
  deadLettered: true,
  paused: true,
  resumed: true,
  leaseLost: true,
}
/** In which state of the diagram a settlement leaves an event, and by which event a relay tells of it. */
const settled: Record<Settlement['kind'], { state: string; tells: RelayEventName }> = {
  published: { state: 'published', tells: 'published' },
  retry: { state: 'waiting', tells: 'retried' },
  'dead-letter': { state: 'dead_letter', tells: 'deadLettered' },
  pause: { state: 'pending', tells: 'paused' },
}
const options: readonly (keyof RelayOptions | keyof RecordOptions)[] = ['publishTimeout', 'availableAt']

/** The arrows of the first diagram. */
const arrows = [...(page.match(/stateDiagram-v2\n(.*?)```/s)?.[1] ?? '').matchAll(/^ *(\S+) --> (\S+): (.*)$/gm)].map(
  ([, from = '', to = '', words = '']) => ({ from, to, words: words.split(/, or |, | or |\(\)/) }),
)
const words = (from: string, to: string) =>
  arrows.filter((arrow) => arrow.from === from && arrow.to === to).flatMap((arrow) => arrow.words)

const naming = new UnderscoreNamingStrategy()
/** The columns of our tables, by the names of both in the database. */
const columns = new Map(
  [DomainEventSchema, OutboxLease, OutboxRelay, OutboxProgress, OutboxFailure, OutboxDeadLetter].map(({ meta }) => [
    meta.tableName,
    Object.keys(meta.properties).map((name) => naming.propertyToColumnName(name)),
  ]),
)

describe('the page on how an event moves', () => {
  it('has each state of its diagram in its table, and no other', () => {
    const states = new Set(arrows.flatMap(({ from, to }) => [from, to]).filter((state) => state !== '[*]'))
    const rows = [...page.matchAll(/^\| (.+?) \|/gm)].map(([, cell = '']) => cell)
    const named = rows.filter((cell) => cell !== 'state')
    expect(named.map((cell) => cell.replaceAll(' ', '_')).sort()).toEqual([...states].sort())
    for (const status of domainEventStatuses) expect(states).toContain(status)
  })

  it.each<[Outcome['status'], attempts: number, word: string]>([
    ['published', 0, 'published'],
    ['retryable', 0, 'retryable'],
    ['retryable', 19, 'exhausted'],
    ['permanent', 0, 'permanent'],
    ['unavailable', 0, 'unavailable'],
  ])('says where an outcome %s after %i attempts leads to, and that it is %s', (status, attempts, word) => {
    const outcome = (status === 'published' ? { status } : { status, error: new Error('no') }) satisfies Outcome
    const event = { type: 'NoteTagged', orderingKey: 'a', attempts }
    const settlement = settle(event, outcome, { attempts: 20, baseMs: 1, maxMs: 1 }, 'skip')
    const { state } = settled[settlement.kind]
    expect(words('in_hand', state).join(' ')).toMatch(new RegExp(`\\b${word}\\b`))
    for (const fault of Object.keys(faults)) {
      // No other state is said to follow from it.
      const leads = Object.values(settled).filter((other) => words('in_hand', other.state).includes(fault))
      expect(leads, fault).toHaveLength(1)
    }
    if (settlement.kind === 'dead-letter') expect(reasons[settlement.reason]).toBe(true)
  })

  it('calls the ways back and out as the code does', () => {
    expect(words('[*]', 'pending')).toContain('record')
    expect(words('dead_letter', 'pending')).toEqual(['redrive'])
    expect(words('dead_letter', '[*]')).toEqual(['discard'])
    for (const verb of ['redrive', 'discard'] as const) expect(DeadLetters.prototype[verb]).toBeTypeOf('function')
    expect(words('published', '[*]')).toEqual(['prune', 'retention delete'])
    expect(Outbox.prototype.prune).toBeTypeOf('function')
    expect('delete' satisfies RelayOptions['retention']).toBe('delete')
  })

  it('has the words of the settlements and of what a relay tells', () => {
    const decided = /^\| \*\*settle\*\* \| (.*) \|$/m.exec(glossary)?.[1] ?? ''
    for (const [kind, { state, tells }] of Object.entries(settled)) {
      const word = kind.replace('-', ' ')
      if (kind !== 'pause') expect(decided).toContain(word)
      expect(page, kind).toMatch(new RegExp(`\\b${word}`))
      // `retried` of retry, `deadLettered` of dead letter, `paused` of pause.
      expect(tells.toLowerCase()).toContain(kind.replace('-', '').slice(0, -1))
      expect(arrows.map(({ to }) => to)).toContain(state)
    }
  })

  it('names in code type only what there is', () => {
    expect([...columns.keys()].sort()).toEqual(outboxTables.names.filter((name) => name !== 'outbox_sequence').sort())
    const known = new Set<string>([...options, ...Object.keys(told), ...outboxTables.functions])
    const unknown: string[] = []
    for (const [, code = ''] of page.matchAll(/(?<!`)`([^`\n]+)`(?!`)/g)) {
      const cause = /^cause: '(\w+)'$/.exec(code)?.[1]
      const status = /^status = '(\w+)'$/.exec(code)?.[1]
      const [table = '', column] = code.split('.')
      const isColumn = [...columns.values()].some((names) => names.includes(code))
      const fits =
        known.has(code) ||
        (cause !== undefined && cause in causes) ||
        domainEventStatuses.some((each) => each === status) ||
        (column === undefined ? columns.has(table) || isColumn : columns.get(table)?.includes(column) === true)
      if (!fits) unknown.push(code)
    }
    expect(unknown).toEqual([])
  })
})
