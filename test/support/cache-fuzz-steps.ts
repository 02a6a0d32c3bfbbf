import fc from 'fast-check'
import type { Mishap } from './gates.ts'

/** What a process of the fuzz reads: those that come first the more often. */
const readings = ['row', 'row', 'row', 'latest', 'latest', 'email', 'rows', 'books', 'count'] as const
/** What it writes, in one transaction each. */
const writings = ['rename', 'rename', 'rename', 'book', 'book', 'edition', 'unbook', 'email', 'bulk', 'come or go'] as const

interface Suffering {
  readonly process: number
  readonly mishap: Mishap | undefined
}

/** One step of a case. Numbers choose among what is there. */
export type FuzzStep =
  | ({
      readonly kind: 'read'
      readonly what: (typeof readings)[number]
      readonly of: number
      readonly fresh: boolean
    } & Suffering)
  | ({
      readonly kind: 'write'
      readonly what: (typeof writings)[number]
      readonly of: number
      readonly to: number
      readonly rollsBack: boolean
    } & Suffering)
  /** Lets something go on that waits. */
  | { readonly kind: 'resume'; readonly which: number }
  | { readonly kind: 'flushall' }
  /** Drops one key: an eviction, or a lease that ends. */
  | { readonly kind: 'evict'; readonly which: number }
  | { readonly kind: 'outage'; readonly process: number; readonly begins: boolean }
  /** Ends a process where it stands, and starts another in its place. */
  | { readonly kind: 'crash'; readonly process: number }
  | { readonly kind: 'sweep' }
  | { readonly kind: 'pass'; readonly ms: number }
  /** A process with copies hears what another one expired. */
  | { readonly kind: 'hear'; readonly process: number }
  /** Or it hears nothing any more, without knowing it. */
  | { readonly kind: 'deaf'; readonly process: number; readonly begins: boolean }

/** How many there are of each that steps choose from. */
export const sizes = { authors: 3, emails: 4, books: 4 } as const

/** What is read, two writes that change it, and of which author the second is: a book that goes to another one leaves this one. */
const races = [
  ['row', 'rename', 'rename', 0],
  ['row', 'come or go', 'come or go', 0],
  ['row', 'rename', 'bulk', 0],
  ['rows', 'book', 'edition', 0],
  ['email', 'email', 'email', 0],
  ['books', 'book', 'book', 1],
  ['latest', 'book', 'book', 1],
  ['latest', 'book', 'unbook', 0],
  ['count', 'book', 'unbook', 0],
] as const

/**
 * Steps of so many processes, which mostly meet at one row: single ones, and races of a slow reader with a writer and others who
 * read. Crashes and sweeps only where there are several processes, and news of others only where there are copies.
 */
export function fuzzSteps(processes: number, longest: number, withCopies = false): fc.Arbitrary<FuzzStep[]> {
  const process = fc.nat(processes - 1)
  const any = mostly(0, fc.nat(11))
  type Choice = fc.Arbitrary<number>
  const read = (what: fc.Arbitrary<(typeof readings)[number]>, mishap: fc.Arbitrary<Mishap | undefined>, of: Choice) =>
    fc.record({ kind: fc.constant('read' as const), process, what, of, fresh: mostly(false, fc.boolean()), mishap })
  const write = (what: fc.Arbitrary<(typeof writings)[number]>, mishap: fc.Arbitrary<Mishap | undefined>, of: Choice) =>
    fc.record({ kind: fc.constant('write' as const), process, what, of, to: of, rollsBack: mostly(false, rarely), mishap })
  const resume = fc.record({ kind: fc.constant('resume' as const), which: any })
  const unheard = mishapOf(['invalidate'])
  const alone = [
    only(10, read(fc.constantFrom(...readings), mishapOf(['load', 'load', 'read', 'acquire', 'fill']), any)),
    only(6, write(fc.constantFrom(...writings), unheard, any)),
    only(4, resume),
    only(1, fc.constant({ kind: 'flushall' as const })),
    // The row where all meet, or any key of any kind.
    only(2, fc.record({ kind: fc.constant('evict' as const), which: fc.oneof(fc.constant(0), fc.nat(9999)) })),
    only(1, fc.record({ kind: fc.constant('outage' as const), process, begins: fc.boolean() })),
    only(1, fc.record({ kind: fc.constant('pass' as const), ms: fc.constantFrom(1, 20, 300, 6000, 61_000) })),
  ]
  const together = [
    only(1, fc.record({ kind: fc.constant('crash' as const), process })),
    only(1, fc.constant({ kind: 'sweep' as const })),
  ]
  const news = [
    only(4, fc.record({ kind: fc.constant('hear' as const), process })),
    only(1, fc.record({ kind: fc.constant('deaf' as const), process, begins: fc.boolean() })),
  ]
  const step = fc.oneof(...alone, ...(processes > 1 ? together : []), ...(withCopies ? news : []))

  const some = fc.array(step, { maxLength: 1 })
  const [here, never] = [fc.constant(0), fc.constant(undefined)]
  const race = fc.tuple(fc.constantFrom(...races), process).chain(([[what, first, second, of], writer]) => {
    const reader = (mishap: fc.Arbitrary<Mishap | undefined>) => read(fc.constant(what), mishap, here)
    const [slow, quick] = [reader(fc.constantFrom(...late)), reader(never)]
    const begun = write(fc.constant(first), never, here)
    const changes = (mishap: fc.Arbitrary<Mishap | undefined>) => write(fc.constant(second), mishap, fc.constant(of))
    const outage = (begins: boolean) => fc.constant({ kind: 'outage' as const, process: writer, begins })
    return fc.oneof(
      // After the first write nothing is cached, so the slow one loads; somebody else may be loading as he goes on.
      {
        weight: 3,
        arbitrary: fc.tuple(begun, slow, some, changes(mostly(undefined, unheard)), fc.oneof(slow, quick), resume, some, quick),
      },
      // What was cached before a write of which the store does not hear.
      { weight: 1, arbitrary: fc.tuple(begun, quick, quick, outage(true), changes(never), quick, outage(false), some, quick) },
    )
  })
  // Copies made while their own process commits what replaces them, or long on their way to one that hears nothing.
  const copying = fc.tuple(process, process).map(([by, other]): FuzzStep[] => {
    const look = (mishap?: Mishap): FuzzStep => ({ kind: 'read', process: by, what: 'row', of: 0, fresh: false, mishap })
    const rename = (process: number, mishap?: Mishap): FuzzStep => {
      return { kind: 'write', process, what: 'rename', of: 0, to: 0, rollsBack: false, mishap }
    }
    const goOn: FuzzStep = { kind: 'resume', which: 0 }
    return [
      ...[look(), rename(by, { call: 'invalidate', what: 'waits', when: 'before' }), look(), look(), goOn, look()],
      ...[{ kind: 'deaf', process: by, begins: true } as const, { kind: 'pass', ms: 300 } as const],
      ...[look({ call: 'read', what: 'waits', when: 'after' }), rename(other), { kind: 'pass', ms: 300 } as const, goOn, look()],
    ]
  })
  const scene: fc.Arbitrary<FuzzStep[]> = fc.oneof(
    step.map((one) => [one]),
    race.map((parts) => [...parts].flat()),
    ...(withCopies ? [copying] : []),
  )
  return fc.array(scene, { minLength: 1, maxLength: longest, size: 'max' }).map((scenes) => scenes.flat())
}

/** A reader who comes too late with what he read. */
const late: readonly Mishap[] = [
  { call: 'load', what: 'waits', when: 'after' },
  { call: 'fill', what: 'waits', when: 'before' },
]
const rarely = fc.constantFrom(true, false, false, false)
const anyTime = fc.constantFrom('before' as const, 'after' as const)

function only<Step extends FuzzStep>(
  weight: number,
  step: fc.Arbitrary<Step>,
): { weight: number; arbitrary: fc.Arbitrary<FuzzStep> } {
  return { weight, arbitrary: step as fc.Arbitrary<FuzzStep> }
}

function mostly<T>(usual: T, others: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight: 3, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: others })
}

function mishapOf(calls: readonly string[]): fc.Arbitrary<Mishap | undefined> {
  const mishap = fc.record({
    call: fc.constantFrom(...calls),
    what: mostly('waits' as const, fc.constantFrom('waits' as const, 'fails' as const)),
    when: anyTime,
  })
  return fc.option(mishap, { nil: undefined, freq: 2 })
}
