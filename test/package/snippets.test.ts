import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type CodeBlock, codeBlocks, pages } from '../support/code-blocks.ts'
import { openTestDatabase } from '../support/databases.ts'
import { repository, runProgram } from '../support/programs.ts'

// Inside the repository, so that the blocks find the built package by its name, as a user's program does.
const folder = join(repository, '.data/snippets')
const blocks = pages()
  .flatMap(codeBlocks)
  .map((block) => ({ ...block, file: fileOf(block) }))
const compilerOptions = {
  strict: true,
  module: 'nodenext',
  target: 'es2023',
  lib: ['es2023', 'esnext.disposable'],
  types: ['node'],
  noEmit: true,
  skipLibCheck: true,
  moduleDetection: 'force',
  allowImportingTsExtensions: true,
}
let complaints = ''

beforeAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const { file, code } of blocks) {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), code)
  }
  const files = [...blocks.map(({ file }) => file), join(repository, 'test/package/snippet-prelude.ts')]
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
  const compiler = join(repository, 'node_modules/.bin/tsc')
  const { stdout } = await runProgram(compiler, ['-p', folder, '--pretty', 'false'], { cwd: folder })
  complaints = stdout
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('the shared prelude of the blocks compiles', () => {
  expect(complaints.split('\n').filter((line) => line.includes('snippet-prelude'))).toEqual([])
})

/** What has a name shares a folder with the others of its page. */
function fileOf({ place, file }: CodeBlock): string {
  const slug = (text: string) => text.replace(/[^a-z0-9]+/gi, '-')
  return file === undefined ? `${slug(place)}.ts` : join(slug(place.replace(/:\d+$/, '')), file)
}

describe.each(blocks)('$place', ({ file, runs, both, code }) => {
  test('compiles', () => {
    const errors = complaints.split('\n').filter((line) => line.startsWith(`${file}(`))
    expect(errors, code).toEqual([])
  })

  if (runs) {
    test('runs on the embedded defaults', async () => {
      const { code: exitCode, stderr } = await runProgram(process.execPath, [file], { cwd: folder, timeoutMs: 30_000 })
      expect(exitCode, stderr).toBe(0)
    })
  }

  if (both) {
    test('runs alike on PostgreSQL', async () => {
      const database = await openTestDatabase('postgresql')
      const twin = `on-postgresql-${file}`
      try {
        const opening = 'createDataAccess({ '
        expect(code).toContain(opening)
        writeFileSync(join(folder, twin), code.replace(opening, `${opening}database: { url: '${database.url}' }, `))
        const [here, there] = await Promise.all(
          [file, twin].map((program) => runProgram(process.execPath, [program], { cwd: folder, timeoutMs: 30_000 })),
        )
        expect(there?.code, there?.stderr).toBe(0)
        expect(there?.stdout).toBe(here?.stdout)
      } finally {
        await database.close()
      }
    })
  }
})
