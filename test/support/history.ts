export type Value = string | number | boolean | null

/** How many values each register has had up to a moment, less one. */
export type Moment = ReadonlyMap<string, number>

/**
 * What was true when: of each register all values that it ever had. A read must give a value that the register had at some
 * moment since the one that its reader knew as he began: anything else is stale, or was never true.
 */
export class History {
  readonly #values = new Map<string, Value[]>()

  /** Takes note of the values as they are after a commit. */
  commit(now: ReadonlyMap<string, Value>): void {
    for (const [register, value] of now) {
      const values = this.#values.get(register) ?? []
      if (values.length === 0 || values.at(-1) !== value) values.push(value)
      this.#values.set(register, values)
    }
  }

  moment(): Moment {
    return new Map([...this.#values].map(([register, values]) => [register, values.length - 1]))
  }

  /** What a reader who knew all up to a moment can hold against what he got; nothing if that is right. */
  complaint(register: string, got: Value, known: Moment): string | undefined {
    const right = (this.#values.get(register) ?? []).slice(known.get(register) ?? 0)
    return right.includes(got) ? undefined : `${register} gave ${got}, and was ${right.join(', then ')}`
  }
}

/** The later of two moments, register by register. */
export function later(one: Moment, other: Moment): Moment {
  const both = new Map(one)
  for (const [register, index] of other) both.set(register, Math.max(index, both.get(register) ?? 0))
  return both
}
