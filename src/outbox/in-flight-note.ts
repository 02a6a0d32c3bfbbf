/**
 * What a relay has in hand, as few bytes as possible since every batch writes it: the first sequence number as text, then for each
 * further event the step to its number; `-n` stands for `n` events that follow one another. One event is an array of one.
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
export function readInFlightNote([first, ...steps]: InFlightNote): bigint[] {
  if (first === undefined) return []
  let last = BigInt(first)
  const sequences = [last]
  for (const step of steps.map(Number)) {
    for (let left = step < 0 ? -step : 1; left > 0; left--) {
      last += step < 0 ? 1n : BigInt(step)
      sequences.push(last)
    }
  }
  return sequences
}
