import { styleText } from 'node:util'
import Table from 'cli-table3'

/** What the chapters of this run have shown, for the summary of the tour. */
export const sentences: { readonly chapter: string; readonly sentence: string }[] = []
let current = ''

export function chapter(title: string): void {
  current = title
  console.log(`\n${styleText('bold', `${title}\n${'═'.repeat(title.length)}`)}`)
}

export function step(title: string): void {
  console.log(`\n${styleText('bold', title)}`)
}

export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): void {
  const style = { head: [], border: [], compact: true }
  const printed = new Table({ head: head.map((text) => styleText('bold', text)), style })
  printed.push(...rows.map((row) => row.map(String)))
  console.log(String(printed))
}

/** The last line of a chapter. */
export function shown(sentence: string): void {
  sentences.push({ chapter: current, sentence })
  console.log(`\nShown: ${sentence}`)
}

export function ms(milliseconds: number): string {
  return `${milliseconds.toFixed(milliseconds < 10 ? 3 : 1)} ms`
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}

/** A text in one line of at most so many characters. */
export function short(text: string, length = 96): string {
  const line = text.replaceAll(/\s+/g, ' ')
  return line.length > length ? `${line.slice(0, length - 1)}…` : line
}
