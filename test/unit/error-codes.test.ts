import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { DataAccessError, ErrorCodes, hasErrorCode } from '../../src/errors.ts'

const repository = join(import.meta.dirname, '../..')

describe('error codes', () => {
  it('are listed with their cures, each once and no others', () => {
    const page = readFileSync(join(repository, 'docs/errors.md'), 'utf8')
    const listed = [...page.matchAll(/^\| `([A-Z_0-9]+)` \|/gm)].map(([, code]) => code)
    expect(listed.sort()).toEqual([...ErrorCodes].sort())
  })

  it('are all in use', () => {
    const sources = globSync('src/**/*.ts', { cwd: repository, exclude: (path) => path.endsWith('src/errors.ts') })
    const text = sources.map((path) => readFileSync(join(repository, path), 'utf8')).join('\n')
    expect(ErrorCodes.filter((code) => !text.includes(`'${code}'`))).toEqual([])
  })

  it('are found in the chain of causes, also in one that has no end', () => {
    const inner = new DataAccessError('CLOSED', 'closed')
    expect(hasErrorCode(new Error('outer', { cause: inner }), 'CLOSED')).toBe(true)
    expect(hasErrorCode(inner, 'OPTION_INVALID')).toBe(false)
    const loop = new Error('loop')
    loop.cause = loop
    expect(hasErrorCode(loop, 'CLOSED')).toBe(false)
    expect(hasErrorCode('no error', 'CLOSED')).toBe(false)
  })
})
