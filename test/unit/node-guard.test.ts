import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const guard = join(import.meta.dirname, '../../.config/node-guard.cjs')

function runOn(version: string) {
  const pretend = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } })`
  return spawnSync(process.execPath, ['-e', `${pretend}; require(${JSON.stringify(guard)})`], { encoding: 'utf8' })
}

test.each(['0.10.48', '18.20.8', '20.20.2', '22.17.1'])('Node %s is refused with one line that says what to do', (version) => {
  const { status, stdout, stderr } = runOn(version)
  expect(status).toBe(1)
  expect(stdout).toBe('')
  expect(stderr.trim().split('\n')).toHaveLength(1)
  expect(stderr).toMatch(new RegExp(`^This is Node ${version} \\(.+\\), and Node 22\\.18 or newer is needed: run "npm ci"`))
})

test.each(['22.18.0', '22.21.0', '24.0.0', '26.1.0'])('Node %s passes without a word', (version) => {
  expect(runOn(version)).toMatchObject({ status: 0, stdout: '', stderr: '' })
})

test('the guard keeps to what an old Node can read', () => {
  expect(readFileSync(guard, 'utf8')).not.toMatch(/=>|`|\b(const|let|import|class)\b|\?\.|\?\?/)
})
