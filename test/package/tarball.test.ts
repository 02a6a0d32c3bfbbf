import { existsSync, globSync, readFileSync, renameSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { entryPoints } from '../../.config/entry-points.ts'
import { codeBlocks } from '../support/code-blocks.ts'
import { atLockedVersions, type Consumer, openConsumer, packInto } from '../support/consumer.ts'
import { repository, runProgram } from '../support/programs.ts'

const doors = entryPoints().map(({ specifier }) => specifier)
const manifest = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'))
const peers = Object.keys(manifest.peerDependencies)
let consumer: Consumer

beforeAll(async () => {
  consumer = openConsumer()
  const tarball = await packInto(consumer.folder)
  await consumer.install([tarball, ...atLockedVersions([...peers, 'typescript', '@types/node'])])
}, 300_000)
afterAll(() => consumer?.remove())

test('every entry point can be imported', async () => {
  const { stdout, stderr } = await consumer.run(
    'import-all.mjs',
    `for (const door of ${JSON.stringify(doors)}) console.log(door, Object.keys(await import(door)).length > 0)`,
  )
  expect(stderr).toBe('')
  expect(stdout.trim().split('\n')).toEqual(doors.map((door) => `${door} true`))
})

test('every entry point can be required from CommonJS', async () => {
  const { stdout, stderr } = await consumer.run(
    'require-all.cjs',
    `for (const door of ${JSON.stringify(doors)}) console.log(door, Object.keys(require(door)).length > 0)`,
  )
  expect(stderr).toBe('')
  expect(stdout.trim().split('\n')).toEqual(doors.map((door) => `${door} true`))
})

test('its package.json can be read through the exports', async () => {
  const { stdout } = await consumer.run('version.cjs', `console.log(require('${manifest.name}/package.json').version)`)
  expect(stdout.trim()).toBe(manifest.version)
})

test('an error is an instance of the same DataAccessError behind every door', async () => {
  const { stdout, stderr } = await consumer.run(
    'instances.mjs',
    `
    import { DataAccessError } from '${manifest.name}'
    import { defineEvent } from '${manifest.name}/outbox'
    for (const door of ${JSON.stringify(doors)}) {
      const other = (await import(door)).DataAccessError
      if (other && other !== DataAccessError) console.log(door, 'has another DataAccessError')
    }
    try {
      defineEvent({ type: '', aggregate: 'User', payload: undefined })
    } catch (error) {
      console.log(error instanceof DataAccessError, error.code)
    }`,
  )
  expect(stderr).toBe('')
  expect(stdout).toMatch(/^true [A-Z_]+\n$/)
})

describe('types', () => {
  const check = async (options: Readonly<Record<string, boolean>>, seen: readonly string[] = doors) => {
    const compilerOptions = {
      strict: true,
      module: 'nodenext',
      target: 'es2023',
      lib: ['es2023'],
      types: ['node'],
      noEmit: true,
      allowImportingTsExtensions: true,
      noUncheckedIndexedAccess: true,
      ...options,
    }
    consumer.write('tsconfig.json', JSON.stringify({ compilerOptions, files: ['doors.ts', 'program.ts'] }))
    consumer.write('doors.ts', seen.map((door, index) => `export * as door${index} from '${door}'`).join('\n'))
    consumer.write('program.ts', firstProgram())
    const compiler = join(consumer.folder, 'node_modules/.bin/tsc')
    const { stdout } = await runProgram(compiler, ['-p', '.', '--pretty', 'false'], { cwd: consumer.folder })
    return stdout
  }

  test('the strictest consumer sees no error', async () => {
    expect(await check({ skipLibCheck: true, exactOptionalPropertyTypes: true })).toBe('')
  })

  // Not together with exactOptionalPropertyTypes: the types of @mikro-orm/core 7.2 do not hold under both.
  test('a consumer that checks the types of its libraries too sees no error', async () => {
    expect(await check({ skipLibCheck: false })).toBe('')
  })

  test('nor does one that has installed neither Redis nor PostgreSQL, behind the doors that need neither', async () => {
    const withoutDriver = doors.filter((door) => !/redis/.test(door))
    expect(withoutDriver).toContain(manifest.name)
    await without(['ioredis', '@mikro-orm/postgresql'], async () => {
      expect(await check({ skipLibCheck: false }, withoutDriver)).toBe('')
    })
  })
})

test('the program of the README runs', async () => {
  const { code, stdout, stderr } = await consumer.run('program.ts', firstProgram())
  expect(stderr).toBe('')
  expect(code).toBe(0)
  expect(stdout).toContain('AIRScoreCalculated')
})

test('it runs as the README says in a project of `npm init -y`, which is CommonJS', async () => {
  const [, file = ''] = /run it by `node (\S+)`/.exec(readFileSync(join(repository, 'README.md'), 'utf8')) ?? []
  consumer.write('fresh/package.json', JSON.stringify({ name: 'fresh', version: '1.0.0', type: 'commonjs' }))
  const { code, stdout, stderr } = await consumer.run(join('fresh', file), firstProgram())
  expect(stderr).toBe('')
  expect(code).toBe(0)
  expect(stdout).toContain('AIRScoreCalculated')
})

test('every relative link of the pages that come along leads to something that comes along', () => {
  const root = join(consumer.folder, 'node_modules', manifest.name)
  const shipped = globSync('{*.md,docs/**/*.md}', { cwd: root })
  expect(shipped).toContain('README.md')
  const links = shipped.flatMap((page) =>
    [...readFileSync(join(root, page), 'utf8').matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(
      ([, link = '']) => [page, link] as const,
    ),
  )
  expect(links.length).toBeGreaterThan(10)
  expect(links.filter(([page, link]) => !existsSync(join(root, dirname(page), link)))).toEqual([])
})

describe('what importing loads', () => {
  // Once for all: a file that one test writes anew is empty for a moment while another test's program reads it.
  beforeAll(() => {
    consumer.write(
      'record.mjs',
      `import { registerHooks } from 'node:module'
       const urls = []
       registerHooks({ load(url, context, next) { urls.push(url); return next(url, context) } })
       process.on('exit', () => console.log(JSON.stringify(urls)))`,
    )
  })

  const loadedBy = async (door: string) => {
    const file = `load-${door.replace(/[^a-z]+/g, '-')}.mjs`
    const { stdout, stderr } = await consumer.run(file, `await import('${door}')`, ['--import', './record.mjs'])
    expect(stderr).toBe('')
    const urls: string[] = JSON.parse(stdout)
    const packages = urls
      .map((url) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)?.[1])
      .filter((name) => name !== undefined)
    return [...new Set(packages)].filter((name) => name !== manifest.name).sort()
  }

  test('the main door loads no driver and no Redis client', async () => {
    const packages = await loadedBy(manifest.name)
    expect(packages.filter((name) => /^(ioredis|pg|better-sqlite3|@mikro-orm\/(postgresql|sqlite))$/.test(name))).toEqual([])
  })

  test('every door loads what is written down here, and nothing more', async () => {
    const report = await Promise.all(
      doors.map(async (door) => `${door}\n${(await loadedBy(door)).map((name) => `  ${name}\n`).join('')}`),
    )
    await expect(report.join('')).toMatchFileSnapshot('__expected__/loaded-packages.txt')
  })
})

test.each(doors)('on a Node that is too old, importing %s says which one is needed', async (door) => {
  const versions = "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '22.17.1' } })"
  const { code, stderr } = await consumer.run('old-node.mjs', `${versions}\nawait import('${door}')`)
  expect(code).not.toBe(0)
  expect(stderr).toContain(`Error: ${manifest.name} needs Node 22.18 or newer, and this is Node 22.17.1 (`)
})

const installed = (name: string) => atLockedVersions([name])[0] as string
test.each([
  ['@mikro-orm/postgresql', 'postgres://nobody@127.0.0.1:1/nothing', `npm install ${installed('@mikro-orm/postgresql')}`],
  ['pg', 'postgres://nobody@127.0.0.1:1/nothing', 'The package pg, which @mikro-orm/postgresql needs,'],
  ['@mikro-orm/sqlite', ':memory:', `npm install ${installed('@mikro-orm/sqlite')}`],
  ['better-sqlite3', ':memory:', 'The package better-sqlite3, which @mikro-orm/sqlite needs,'],
])('without %s an error says what to install', async (name, url, words) => {
  await without([name], async () => {
    const { stdout } = await consumer.run(
      'missing-driver.mjs',
      `import { createDataAccess } from '${manifest.name}'
       try {
         const data = await createDataAccess({ database: { url: '${url}' } })
         await data.close()
       } catch (error) {
         console.log(error.code, error.message)
       }`,
    )
    expect(stdout).toMatch(/^DRIVER_MISSING /)
    expect(stdout).toContain(words)
  })
})

/** Hides packages that are installed while something runs. */
async function without(names: readonly string[], run: () => Promise<void>): Promise<void> {
  const folders = names.map((name) => join(consumer.folder, 'node_modules', name))
  for (const folder of folders) renameSync(folder, `${folder}-hidden`)
  try {
    await run()
  } finally {
    for (const folder of folders) renameSync(`${folder}-hidden`, folder)
  }
}

function firstProgram(): string {
  const [program] = codeBlocks('README.md')
  if (program === undefined) throw new Error('README.md has no ts block')
  return program.code
}
