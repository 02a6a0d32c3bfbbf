import { accessSync, constants, globSync, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** The first folder, of PATH and then of `places` (globs, newest version first), that holds all these programs. */
export function findPrograms(names: readonly string[], places: readonly string[]): string | undefined {
  const onPath = (process.env.PATH ?? '').split(delimiter).filter(Boolean)
  const elsewhere = places.flatMap((place) => globSync(place).sort(byVersionDescending))
  return [...onPath, ...elsewhere].find((folder) => names.every((name) => isProgram(join(folder, name))))
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

function byVersionDescending(one: string, other: string): number {
  return other.localeCompare(one, 'en', { numeric: true })
}
