import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { readCommandLine } from '../../.config/command-line.ts'
import { repository, runProgram } from '../support/programs.ts'
import { startServers } from '../support/servers/start-servers.ts'
import { areas } from './areas.ts'
import { type Contestant, type Figures, render, type Table } from './table.ts'

const help = `npm run bench [-- <area> …] [--rounds 5] [--json]

Measures side by side and writes docs/performance.md. Areas: ${Object.keys(areas).join(', ')}. Each round runs every contestant once,
each in a fresh process on a fresh database; the tables show medians with the least and the most.`

const { values, positionals } = readCommandLine(
  help,
  { rounds: { type: 'string', default: '5' }, json: { type: 'boolean' } },
  true,
)
const rounds = Number(values.rounds)
const unknown = positionals.filter((area) => !(area in areas))
if (unknown.length > 0 || !(Number.isInteger(rounds) && rounds >= 1)) {
  console.error(unknown.length > 0 ? `There is no area ${unknown.join(', ')}.\n\n${help}` : help)
  process.exit(2)
}
await import('../../.config/build-if-needed.ts')

/** What else ran on the machine: figures taken beside other work say little. */
const [loadBefore = 0] = loadavg()
const bench = join(repository, 'test/bench')
if (!existsSync(join(bench, 'peers/node_modules'))) {
  say('installing the peers …')
  execFileSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: join(bench, 'peers'), stdio: 'inherit' })
}
const servers = await startServers(say)
await makeDurable()
try {
  for (const area of positionals.length > 0 ? positionals : Object.keys(areas)) {
    const sections: string[] = []
    for (const table of areas[area] ?? []) sections.push(render(table, await measure(table)))
    write(area, sections.join('\n\n'))
  }
} finally {
  await servers.stop()
}

async function measure(table: Table): Promise<Map<Contestant, Figures[]>> {
  say(`\n${table.title}`)
  const results = new Map<Contestant, Figures[]>(table.contestants.map((contestant) => [contestant, []]))
  for (let round = 1; round <= rounds; round++) {
    for (const [contestant, figures] of results) {
      const result = await runOnce(contestant)
      figures.push(result)
      const [[figure, value] = ['nothing', Number.NaN]] = Object.entries(result)
      say(`  round ${round}/${rounds}  ${figure} ${value.toFixed(1).padStart(9)}  ${contestant.name}`)
    }
  }
  return results
}

async function runOnce(contestant: Contestant): Promise<Figures> {
  const name = `bench_${randomUUID().replaceAll('-', '')}`
  await onServer(`create database ${name}`)
  const databaseUrl = new URL(servers.databaseUrl)
  databaseUrl.pathname = `/${name}`
  try {
    const args = contestant.args({ databaseUrl: databaseUrl.href, redisUrl: servers.redisUrl, stream: name })
    const { code, stdout, stderr } = await runProgram(process.execPath, [join(bench, contestant.program), ...args], {
      cwd: repository,
      env: contestant.env ?? {},
      timeoutMs: 300_000,
    })
    if (code !== 0) throw new Error(`${contestant.name} ended with ${code}:\n${stdout}\n${stderr}`)
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Figures
  } finally {
    await onServer(`drop database ${name} with (force)`)
  }
}

/** The tests' own server skips fsync; a figure without it would flatter everybody. */
async function makeDurable(): Promise<void> {
  if (process.env.DATABASE_URL) return
  for (const setting of ['fsync', 'synchronous_commit', 'full_page_writes']) await onServer(`alter system set ${setting} = on`)
  await onServer('select pg_reload_conf()')
}

async function onServer(statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: servers.databaseUrl })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}

/** Puts an area's tables between its marks in docs/performance.md. */
function write(area: string, tables: string): void {
  const path = join(repository, 'docs/performance.md')
  const [cpu] = cpus()
  const where = `${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${cpu?.model.trim()}, Node ${process.versions.node}, ${rounds} rounds, medians; load average before the run ${loadBefore.toFixed(1)}.`
  const section = `<!-- ${area} -->\n${where}\n\n${tables}\n<!-- /${area} -->`
  const page = readFileSync(path, 'utf8')
  const marks = new RegExp(`<!-- ${area} -->[^]*<!-- /${area} -->`)
  writeFileSync(path, marks.test(page) ? page.replace(marks, () => section) : `${page.trimEnd()}\n\n${section}\n`)
  if (values.json) console.log(JSON.stringify({ area, tables }))
  else say(`\n${tables}`)
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
