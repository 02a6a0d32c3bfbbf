/** How much a contestant of the cache bench does, from the end of its arguments. */
export interface ReadTask {
  readonly contestant: string
  readonly databaseUrl: string
  readonly redisUrl: string
  /** Begins the contestant's keys. */
  readonly prefix: string
  readonly reads: number
  readonly concurrency: number
}

/** The task of this process. */
export function readTask(): ReadTask {
  const [contestant = '', databaseUrl = '', redisUrl = '', prefix = '', reads = '0', concurrency = '1'] = process.argv.slice(2)
  return { contestant, databaseUrl, redisUrl, prefix, reads: Number(reads), concurrency: Number(concurrency) }
}

/** A user as JSON, about 560 bytes, for contestants that know no entities. */
export function userText(id: string): string {
  const at = '2026-01-01T00:00:00.000Z'
  const texts = { email: `${id}@example.com`, name: 'n'.repeat(240), occupationCode: '15-1252', educationLevel: 'e'.repeat(40) }
  return JSON.stringify({ id, ...texts, yearsExperience: 12, createdAt: at, updatedAt: at })
}

/** Until the compiler has done its work: what runs for a while is what is asked about. */
export function warmUpOf(reads: number): number {
  return Math.max(10_000, Math.ceil(reads / 10))
}

/** Runs reads at this concurrency, after others to warm up, and prints the figures as JSON. */
export async function measureReads(
  { reads, concurrency }: Pick<ReadTask, 'reads' | 'concurrency'>,
  read: () => Promise<unknown>,
  warmUp = warmUpOf(reads),
): Promise<void> {
  const repeat = async (count: number) => {
    let left = count
    const work = async () => {
      while (left-- > 0) {
        if ((await read()) == null) throw new Error('a read found nothing')
      }
    }
    await Promise.all(Array.from({ length: concurrency }, work))
  }
  await repeat(warmUp)
  const cpu = process.cpuUsage()
  const started = performance.now()
  await repeat(reads)
  const ms = performance.now() - started
  const { user, system } = process.cpuUsage(cpu)
  console.log(JSON.stringify({ perSecond: (reads / ms) * 1000, cpuMsPerOperation: (user + system) / 1000 / reads }))
}
