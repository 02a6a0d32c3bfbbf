/**
 * What a relay has in hand, as few bytes as possible since every batch writes it: a text is a sequence number itself, a number the
 * step to it from the one before, and `-n` stands for `n` events that follow one another. One event is an array of one. A fetch
 * that makes its own note writes texts alone.
 */
export type InFlightNote = readonly (string | number)[]

/** Makes the note of these sequence numbers, in any order. */
export function toInFlightNote(sequences: readonly bigint[]): InFlightNote {
  const [first, ...others] = [...new Set(sequences)].sort((one, other) => (one < other ? -1 : 1))
  if (first === undefined) return []
  const steps: number[] = []
  let last = first
  for (const sequence of others) {
    const step = Number(sequence - last)
    const run = steps.at(-1) ?? 0
    if (step !== 1) steps.push(step)
    else if (run < 0) steps[steps.length - 1] = run - 1
    else steps.push(-1)
    last = sequence
  }
  return [String(first), ...steps]
}

/** Reads the sequence numbers of a note, in order. */
export function readInFlightNote(note: InFlightNote): bigint[] {
  let last = 0n
  const sequences: bigint[] = []
  for (const part of note) {
    const run = typeof part === 'number' && part < 0 ? -part : 1
    for (let left = run; left > 0; left--) {
      last = typeof part === 'string' ? BigInt(part) : last + (part < 0 ? 1n : BigInt(part))
      sequences.push(last)
    }
  }
  return sequences
}
