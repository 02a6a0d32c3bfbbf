/** So many commands at most go to Redis together: each must be answered within the timeout of one. */
const largestPortion = 128

/** About how many bytes go together, for the same reason. */
const portionBytes = 1_000_000

/** Parts what is to be sent, in its order; what is larger than a portion goes alone. Each part is made when it is asked for. */
export function* portionsOf<T>(items: Iterable<T>, bytesOf: (item: T) => number = () => 0): Generator<readonly T[]> {
  let portion: T[] = []
  let bytes = 0
  for (const item of items) {
    const more = bytesOf(item)
    if (portion.length === largestPortion || (portion.length > 0 && bytes + more > portionBytes)) {
      yield portion
      portion = []
      bytes = 0
    }
    portion.push(item)
    bytes += more
  }
  if (portion.length > 0) yield portion
}
