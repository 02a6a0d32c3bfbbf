import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type ProgramResult, repository, runProgram, runWell } from './programs.ts'

/** A fresh project of somebody else, in a temporary folder, with its own npm settings. */
export interface Consumer {
  readonly folder: string
  write(path: string, text: string): void
  /** Installs packages as a person would, by name and version, or by the path of a tarball. */
  install(packages: readonly string[], options?: readonly string[]): Promise<void>
  npm(args: readonly string[]): Promise<ProgramResult>
  /** Writes a module and runs it with this Node. */
  run(path: string, text: string, nodeOptions?: readonly string[]): Promise<ProgramResult>
  remove(): void
}

/** Makes an empty ESM project. Its npm reads the settings given here, and none of the user's. */
export function openConsumer(npmrc = ''): Consumer {
  const folder = mkdtempSync(join(tmpdir(), 'data-access-consumer-'))
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  write('package.json', JSON.stringify({ name: 'consumer', version: '1.0.0', private: true, type: 'module' }))
  write('.npmrc-user', `fund=false\naudit=false\nupdate-notifier=false\nloglevel=error\n${npmrc}\n`)
  const npm = (args: readonly string[]) =>
    runProgram('npm', args, { cwd: folder, env: { npm_config_userconfig: join(folder, '.npmrc-user') }, timeoutMs: 240_000 })
  return {
    folder,
    write,
    npm,
    install: async (packages, options = []) => {
      // Without install scripts: better-sqlite3 brings its binary, and would compile another one.
      const result = await npm(['install', '--ignore-scripts', '--prefer-offline', ...options, ...packages])
      if (result.code !== 0) throw new Error(`npm install ${packages.join(' ')} failed:\n${result.stdout}${result.stderr}`)
    },
    run: (path, text, nodeOptions = []) => {
      write(path, text)
      return runProgram(process.execPath, [...nodeOptions, path], { cwd: folder })
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** Packs the package into the folder, as `npm publish` would, and gives the path of the tarball. */
export async function packInto(folder: string): Promise<string> {
  const output = await runWell('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: repository })
  return join(folder, JSON.parse(output)[0].filename)
}

/** Names and versions for `npm install`: these packages at the versions that our own lock file holds. */
export function atLockedVersions(names: readonly string[]): readonly string[] {
  const { packages } = JSON.parse(readFileSync(join(repository, 'package-lock.json'), 'utf8'))
  return names.map((name) => `${name}@${packages[`node_modules/${name}`].version}`)
}
