import { chapter, sentences, table } from './support/print.ts'

// Each chapter is a program of its own, with a data access of its own: `node examples/04-read-through-caching.ts`.
const files = [
  '01-data-models',
  '02-connectivity-and-pooling',
  '03-repositories-and-n-plus-one',
  '04-read-through-caching',
  '05-transactional-outbox',
]
const start = performance.now()
for (const file of files) await import(`./${file}.ts`)
const seconds = (performance.now() - start) / 1000

chapter('What the tour has shown')
for (const { chapter, sentence } of sentences) console.log(`${chapter}: ${sentence}`)
console.log(`All five chapters took ${seconds.toFixed(1)} s.`)

chapter('Where to read on')
table(
  ['chapter', 'its code', 'the guide'],
  [
    ['1', 'examples/01-data-models.ts', 'docs/guides/data-models.md'],
    ['2', 'examples/02-connectivity-and-pooling.ts', 'docs/guides/connecting.md'],
    ['3', 'examples/03-repositories-and-n-plus-one.ts', 'docs/guides/repositories.md, docs/guides/n-plus-one.md'],
    ['4', 'examples/04-read-through-caching.ts', 'docs/guides/caching.md'],
    ['5', 'examples/05-transactional-outbox.ts', 'docs/guides/units-of-work.md, docs/guides/outbox-relay.md'],
  ],
)
console.log('The first program to write yourself, and how it goes to production, are in README.md.')
