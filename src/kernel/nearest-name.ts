/**
 * Finds the name that somebody may have meant, or `undefined` when none is near. Near is by Levenshtein's distance, in any case
 * of letters: at most two changes for each five letters.
 */
export function nearestName(given: string, names: readonly string[]): string | undefined {
  const limit = Math.round(given.length * 0.4)
  const ranked = names
    .map((name) => ({ name, distance: editDistance(given.toLowerCase(), name.toLowerCase()) }))
    .filter(({ distance }) => distance <= limit)
    .sort((one, other) => one.distance - other.distance)
  return ranked[0]?.name
}

/** How many letters must be added, dropped or replaced to make one text of the other, row by row (Wagner and Fischer, 1974). */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (const [line, letter] of [...from].entries()) {
    const next = [line + 1]
    for (let column = 0; column < to.length; column++) {
      const replaced = (row[column] as number) + (letter === to[column] ? 0 : 1)
      next.push(Math.min(replaced, (row[column + 1] as number) + 1, (next[column] as number) + 1))
    }
    row = next
  }
  return row.at(-1) as number
}
