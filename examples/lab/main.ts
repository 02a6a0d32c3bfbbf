import { DataAccessError } from '@innovateai/data-access'
import { connectLab, type LabConnection } from './server/connect-lab.ts'
import { Lab } from './server/lab.ts'
import { help, type LabOptions, readOptions } from './server/lab-options.ts'
import { listen } from './server/listen.ts'
import { bundlePage } from './server/page-bundle.ts'
import { UsageError } from './server/usage-error.ts'
import { webApp } from './server/web-app.ts'

try {
  const options = readOptions(process.argv.slice(2), process.env)
  if (options === 'help') console.log(help)
  else await run(options)
} catch (error) {
  // What people can mend is told in one sentence; anything else is a defect and keeps its stack.
  console.error(error instanceof UsageError || error instanceof DataAccessError ? error.message : error)
  process.exitCode = 1
}

async function run(options: LabOptions): Promise<void> {
  const connection = await connectLab(options)
  const lab = await Lab.open(connection)
  const server = await serve(lab, options.port).catch(async (error) => {
    await lab.close()
    throw error
  })
  announce(`http://127.0.0.1:${server.port}`, connection, options)
  const end = async () => {
    await server.close()
    await lab.close()
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void end())
}

async function serve(lab: Lab, wantedPort: number): Promise<Awaited<ReturnType<typeof listen>>> {
  let port = wantedPort
  const app = webApp({ lab, files: await bundlePage(), port: () => port })
  const server = await listen(app, wantedPort)
  port = server.port
  return server
}

function announce(url: string, { database, cache }: LabConnection, { json }: LabOptions): void {
  const lines = [
    `The lab is at ${url}`,
    `  database  ${database.name} (${database.why})`,
    `  cache     ${cache.name} (${cache.why})`,
    'ctrl-C ends it.',
  ]
  console.log(json ? JSON.stringify({ url, database: database.name, cache: cache.name }) : lines.join('\n'))
}
