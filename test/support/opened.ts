import { afterEach } from 'vitest'

interface Closable {
  close(): Promise<unknown>
}

/** Closes what a test opened when it ends, the last first; the function returned gives back what it is told of. */
export function closesOpened(): <T extends Closable>(each: T) => T {
  const opened: Closable[] = []
  afterEach(async () => {
    for (const each of opened.splice(0).reverse()) await each.close()
  })
  return (each) => {
    opened.push(each)
    return each
  }
}
