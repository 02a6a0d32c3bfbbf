import { type ChildProcess, spawn } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openConsumer, packInto } from '../support/consumer.ts'
import { repository, runProgram, runWell } from '../support/programs.ts'
import { freePort } from '../support/servers/server-process.ts'

const { name, version } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'))
const scope = name.split('/')[0]
let folder: string
let registry: string
let host: string
let server: ChildProcess

// A private registry that knows no other one: what it serves is what was published to it here.
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'data-access-registry-'))
  mkdirSync(join(folder, 'storage'))
  const port = await freePort()
  host = `127.0.0.1:${port}`
  registry = `http://${host}/`
  const config = {
    storage: join(folder, 'storage'),
    auth: { htpasswd: { file: join(folder, 'htpasswd'), max_users: 10 } },
    uplinks: {},
    packages: { '**': { access: '$all', publish: '$authenticated', unpublish: '$authenticated' } },
    web: { enable: false },
    log: { type: 'stdout', format: 'pretty', level: 'warn' },
  }
  // JSON is YAML too.
  writeFileSync(join(folder, 'config.yaml'), JSON.stringify(config))
  const program = join(repository, 'node_modules/verdaccio/bin/verdaccio')
  server = spawn(process.execPath, [program, '--config', join(folder, 'config.yaml'), '--listen', host], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: folder,
  })
  let output = ''
  for (const stream of [server.stdout, server.stderr]) stream?.on('data', (chunk) => (output += chunk))
  const answers = () =>
    fetch(`${registry}-/ping`).then(
      (response) => response.ok,
      () => false,
    )
  while (!(await answers())) {
    if (server.exitCode !== null) throw new Error(`verdaccio ended with ${server.exitCode}: ${output}`)
    await setTimeout(100)
  }
}, 90_000)
afterAll(async () => {
  if (server?.exitCode === null) {
    const gone = new Promise((resolve) => server.once('exit', resolve))
    server.kill()
    await gone
  }
  if (folder) rmSync(folder, { recursive: true, force: true })
})

async function tokenOf(user: string): Promise<string> {
  const response = await fetch(`${registry}-/user/org.couchdb.user:${user}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: user, password: 'a-password-for-this-run' }),
  })
  return ((await response.json()) as { token: string }).token
}

test('a private registry takes the package once, and serves it to a fresh project', async () => {
  const publisher = openConsumer(`registry=${registry}\n//${host}/:_authToken=${await tokenOf('publisher')}`)
  const reader = openConsumer()
  try {
    const tarball = await packInto(publisher.folder)
    const publish = () => publisher.npm(['publish', tarball, '--provenance=false', '--cache', join(folder, 'npm-cache')])
    const first = await publish()
    expect(first.stderr).toBe('')
    expect(first.code).toBe(0)

    const second = await publish()
    expect(second.code).not.toBe(0)
    expect(second.stderr).toMatch(/already|cannot publish over|E409|E403/i)

    // The peers come from wherever the user's npm gets packages; only our scope lives in the private registry.
    const { npmrc, packages } = installationOfReadme()
    reader.write('.npmrc', npmrc)
    await reader.install(packages)
    const lock = JSON.parse(readFileSync(join(reader.folder, 'package-lock.json'), 'utf8'))
    expect(lock.packages[`node_modules/${name}`].version).toBe(version)
    const { stdout, stderr } = await reader.run(
      'program.mjs',
      `import { createDataAccess } from '${name}'
       const data = await createDataAccess()
       await data.migrate()
       await data.close()
       console.log('worked')`,
    )
    expect(stderr).toBe('')
    expect(stdout).toBe('worked\n')
  } finally {
    publisher.remove()
    reader.remove()
  }
})

/** What the README has a new project write and install, with this registry for the one that it names. */
function installationOfReadme(): { npmrc: string; packages: readonly string[] } {
  const readme = readFileSync(join(repository, 'README.md'), 'utf8')
  const [, ini = ''] = /```ini\n(.*?)```/s.exec(readme) ?? []
  const [, packages = ''] = /^npm install (.*)$/m.exec(readme) ?? []
  expect(ini).toMatch(new RegExp(`^${scope}:registry=https://\\S+/\n$`))
  expect(packages.split(' ')).toContain(name)
  return { npmrc: ini.replace(/https:\S+/, registry), packages: packages.split(' ') }
}

test('a reader without a token cannot publish', async () => {
  const stranger = openConsumer(`registry=${registry}\n//${host}/:_authToken=nobody`)
  try {
    const tarball = await packInto(stranger.folder)
    const { code } = await stranger.npm(['publish', tarball, '--cache', join(folder, 'npm-cache')])
    expect(code).not.toBe(0)
  } finally {
    stranger.remove()
  }
})

test('the release command publishes what is committed and tags it, and refuses the same version again', async () => {
  const copy = join(folder, 'copy')
  for (const path of ['.config', 'dist', 'docs', 'README.md'])
    cpSync(join(repository, path), join(copy, path), { recursive: true })
  writeFileSync(
    join(folder, 'npmrc'),
    `registry=${registry}\n//${host}/:_authToken=${await tokenOf('releaser')}\nupdate-notifier=false`,
  )
  const env = {
    npm_config_userconfig: join(folder, 'npmrc'),
    npm_config_cache: join(folder, 'npm-cache'),
    npm_config_loglevel: 'notice',
    GIT_AUTHOR_NAME: 'a',
    GIT_AUTHOR_EMAIL: 'a@localhost',
    GIT_COMMITTER_NAME: 'a',
    GIT_COMMITTER_EMAIL: 'a@localhost',
  }
  const git = (...args: string[]) => runWell('git', args, { cwd: copy, env })
  const release = (...args: string[]) =>
    runProgram(process.execPath, ['.config/release.ts', ...args], { cwd: copy, env, timeoutMs: 120_000 })
  // All but `verify`, which runs this very test.
  const manifest = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'))
  const next = { ...manifest, version: '987.6.5', scripts: { verify: 'node --version' } }
  writeFileSync(join(copy, 'package.json'), JSON.stringify(next))
  writeFileSync(join(copy, 'CHANGELOG.md'), '# Changelog\n')
  await git('init', '--quiet')

  const unready = await release()
  expect(unready.code).toBe(1)
  expect(unready.stderr).toContain('changes that are not committed')
  expect(unready.stderr).toContain('no section "## [987.6.5]"')

  writeFileSync(join(copy, 'CHANGELOG.md'), '# Changelog\n\n## [987.6.5] - 2026-01-01\n')
  await git('add', '--all', '--force')
  await git('commit', '--quiet', '--message', 'Release 987.6.5')
  const dry = await release('--dry-run')
  expect(dry.stdout).toContain('987.6.5 could be released; nothing was published')
  expect(await git('tag')).toBe('')

  const released = await release()
  expect(released.code, released.stderr).toBe(0)
  expect(released.stdout).toContain('is released. Push the tag: git push origin v987.6.5')
  expect((await git('tag')).trim()).toBe('v987.6.5')
  const { versions } = (await (await fetch(`${registry}${name.replace('/', '%2f')}`)).json()) as { versions: object }
  expect(Object.keys(versions)).toContain('987.6.5')

  await git('tag', '--delete', 'v987.6.5')
  const again = await release()
  expect(again.code).toBe(1)
  expect(again.stderr).toContain('the registry has 987.6.5 already')

  const unknown = await release('--dryrun')
  expect(unknown.code).toBe(2)
  expect(unknown.stderr).toContain("Unknown option '--dryrun'")
  expect(unknown.stderr).toContain('--dry-run   does all but publish and tag')
})
