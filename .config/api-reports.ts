import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Extractor, ExtractorConfig } from '@microsoft/api-extractor'
import { readCommandLine } from './command-line.ts'
import { entryPoints } from './entry-points.ts'

const usage = `npm run api [-- --check]

Writes docs/api/<entry point>.api.md from the built types: what changes there is what a user of the package sees change.

  --check   changes nothing, and fails when a report differs; \`npm run api:check\` for short
  --help    prints this`
const { check } = readCommandLine(usage, { check: { type: 'boolean', default: false } }).values
await import('./build-if-needed.ts')

const reportFolder = join(process.cwd(), 'docs/api')
const tempFolder = mkdtempSync(join(tmpdir(), 'data-access-api-'))
const wanted = new Set<string>()
mkdirSync(reportFolder, { recursive: true })

for (const { name } of entryPoints()) {
  const reportFileName = `${name.replaceAll('/', '-')}.api.md`
  wanted.add(reportFileName)
  const config = ExtractorConfig.prepare({
    configObject: {
      projectFolder: process.cwd(),
      mainEntryPointFilePath: join(process.cwd(), name === 'index' ? 'dist/index.d.ts' : `dist/${name}/index.d.ts`),
      bundledPackages: [],
      newlineKind: 'lf',
      compiler: { tsconfigFilePath: join(process.cwd(), 'tsconfig.json'), skipLibCheck: true },
      apiReport: { enabled: true, reportFileName, reportFolder, reportTempFolder: tempFolder },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      messages: {
        compilerMessageReporting: { default: { logLevel: 'none' as never } },
        // Members of MikroORM's inferred entity types are many and not ours; the report lists what we export.
        extractorMessageReporting: {
          default: { logLevel: 'none' as never },
          // A type that a user meets and cannot name is written into the report, where a reviewer sees it.
          'ae-forgotten-export': { logLevel: 'warning' as never, addToApiReportFile: true },
        },
        tsdocMessageReporting: { default: { logLevel: 'none' as never } },
      },
    },
    configObjectFullPath: undefined,
    packageJsonFullPath: join(process.cwd(), 'package.json'),
  })
  const result = Extractor.invoke(config, { localBuild: !check, messageCallback: (message) => (message.handled = true) })
  if (result.apiReportChanged) report(`docs/api/${reportFileName} differs from what is built`)
}
for (const file of readdirSync(reportFolder)) {
  if (file.endsWith('.api.md') && !wanted.has(file)) report(`docs/api/${file} belongs to no entry point: remove it`)
}
rmSync(tempFolder, { recursive: true })

function report(what: string): void {
  console.log(
    check ? `${what}: look at what users will notice, run \`npm run api\`, and commit it with the change` : `${what}: written`,
  )
  if (check) process.exitCode = 1
}
