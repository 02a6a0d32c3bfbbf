// Runs before every npm script, on whatever Node is first there, so this file keeps to what the oldest of them can read.
var needed = require('../package.json').engines.node.replace('>=', '')
var have = process.versions.node.split('.').map(Number)
var want = needed.split('.').map(Number)

if (have[0] < want[0] || (have[0] === want[0] && have[1] < want[1])) {
  console.error(
    'This is Node ' +
      process.versions.node +
      ' (' +
      process.execPath +
      '), and Node ' +
      needed +
      ' or newer is needed: ' +
      'run "npm ci", which brings Node 24 for all npm scripts, or install a newer Node.',
  )
  process.exit(1)
}
