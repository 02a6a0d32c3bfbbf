import { readFileSync } from 'node:fs'
import { defineConfig } from 'tsup'
import { entryPoints } from './.config/entry-points.ts'

const { name: packageName, engines } = JSON.parse(readFileSync('package.json', 'utf8'))
const outputName = (name: string) => (name === 'index' ? name : `${name}/index`)

/** On an older Node a driver crashes without a word: the first file that is loaded refuses instead, whichever the door. */
function refuseOlderNode(): string {
  const [major, minor] = engines.node.replace('>=', '').split('.')
  const say = `"${packageName} needs Node ${major}.${minor} or newer, and this is Node " + process.versions.node + " (" + process.execPath + ")."`
  return `{ const [major, minor] = process.versions.node.split(".").map(Number); if (major < ${major} || (major === ${major} && minor < ${minor})) throw new Error(${say}); }`
}

export default defineConfig({
  entry: Object.fromEntries(entryPoints().map(({ name, source }) => [outputName(name), source])),
  format: 'esm',
  target: 'node22.18',
  platform: 'node',
  // Without splitting every entry point would hold its own DataAccessError, and `instanceof` across them would be false.
  splitting: true,
  dts: true,
  sourcemap: true,
  clean: true,
  banner: { js: refuseOlderNode() },
  // Dependencies and peers stay imports; tsup knows them from package.json.
  skipNodeModulesBundle: true,
})
