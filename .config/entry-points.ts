import { readFileSync } from 'node:fs'

/** One door of the package, as package.json `exports` names it. */
export interface EntryPoint {
  /** As a user imports it: `@innovateai/data-access/outbox`. */
  readonly specifier: string
  /** `index` for the main door, else the path behind the package's name: `cache/redis`. */
  readonly name: string
  /** The source file, relative to the repository. */
  readonly source: string
}

/** The doors of the package that hold code. package.json is the one list of them: the build and the checks read it here. */
export function entryPoints(): readonly EntryPoint[] {
  // By the working folder, which is the repository's in every npm script: tsup moves the code of its config elsewhere.
  const { name: packageName, exports } = JSON.parse(readFileSync('package.json', 'utf8'))
  return Object.keys(exports)
    .filter((door) => door !== './package.json')
    .map((door) => {
      const path = door.replace(/^\.\/?/, '')
      return {
        specifier: path === '' ? packageName : `${packageName}/${path}`,
        name: path === '' ? 'index' : path,
        source: path === '' ? 'src/index.ts' : `src/${path}/index.ts`,
      }
    })
}
