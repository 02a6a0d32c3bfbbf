import { randomUUID } from 'node:crypto'
import type { EntityManager } from '@mikro-orm/core'
import { encode } from '../../src/cache/codec.ts'
import { queryKey, revalidationKey, rowKey, shapeStamp, uniqueKey, wholeEntityStamp } from '../../src/cache/key.ts'
import { Author, Book, booksOf, countBooks, latestBook } from './cache-entities.ts'
import { copiesMs } from './cache-fuzz-copies.ts'
import { type FuzzStep, sizes } from './cache-fuzz-steps.ts'
import { type FuzzProcess, type FuzzWorld, fuzzAuthors } from './cache-fuzz-world.ts'
import { History, later, type Moment, type Value } from './history.ts'

type Step<Kind extends FuzzStep['kind']> = Extract<FuzzStep, { kind: Kind }>
type Answer = readonly (readonly [register: string, got: Value])[]

/** A write, from the step in which it commits until its promise has ended. */
interface Write {
  readonly by: FuzzProcess
  readonly unacknowledgedBefore: number
  /** When it had committed. */
  moment: Moment
  ended: boolean
}

/** What takes keys from the store without a word to anybody. */
export interface Losses {
  flushAll(): Promise<void>
  /** Drops one of these: of those that are there, where that can be told. */
  evict(keys: readonly string[], which: number): Promise<void>
}

/** How often the clock moves at the end until everybody must have an answer. */
const mostWaits = 500

/** One case of the fuzz: does its steps, and compares what readers get with the history of what was committed. */
export class FuzzCase {
  readonly complaints: string[] = []
  /** How many answers were compared. */
  compared = 0
  readonly #world: FuzzWorld
  readonly #losses: Losses
  readonly #history = new History()
  readonly #authors = Array.from({ length: sizes.authors }, () => randomUUID() as string)
  readonly #books = Array.from({ length: sizes.books }, () => randomUUID() as string)
  readonly #emails = Array.from({ length: sizes.emails }, (_, index) => `${index}-${randomUUID()}@fuzz.dev`)
  /** Up to when everybody must know what was committed. */
  #announced: Moment = new Map()
  /** When it was announced: who keeps copies and has not heard of it knows it later. */
  #announcements: { readonly moment: Moment; readonly at: number }[] = []
  #writes: Write[] = []
  #reading = 0
  #version = 0
  /** Answers that came during this step: what they must be is known at its end. */
  readonly #answers: { readonly answer: Answer; readonly known: Moment }[] = []

  constructor(world: FuzzWorld, losses: Losses) {
    this.#world = world
    this.#losses = losses
  }

  /** Does the steps, then lets everything go on and looks whether all see what is true at the end. */
  async run(steps: readonly FuzzStep[]): Promise<void> {
    await this.#begin()
    for (const step of steps) {
      await this.#do(step)
      await this.#lookAround()
    }
    await this.#end()
  }

  async #begin(): Promise<void> {
    const em = this.#world.ground.fork()
    await em.nativeDelete(Author, {})
    for (const index of [0, 1]) em.create(Author, this.#newAuthor(index))
    await em.flush()
    await this.#world.sweep()
    await this.#losses.flushAll()
    await this.#lookAround()
    this.#announce(this.#history.moment())
    for (const process of this.#world.processes) {
      process.copies?.lose(false)
      process.known = this.#announced
    }
  }

  async #do(step: FuzzStep): Promise<void> {
    const { processes, clock } = this.#world
    switch (step.kind) {
      case 'read':
        return this.#read(processes[step.process] as FuzzProcess, step)
      case 'write':
        return this.#write(processes[step.process] as FuzzProcess, step)
      case 'resume': {
        const parked = processes.flatMap(({ gates }) => gates.parked.map((_, index) => ({ gates, index })))
        const chosen = parked[step.which % Math.max(1, parked.length)]
        if (chosen !== undefined) chosen.gates.parked.splice(chosen.index, 1)[0]?.resume()
        return
      }
      case 'flushall':
        return this.#losses.flushAll()
      case 'evict':
        return this.#losses.evict(this.#keys(), step.which)
      case 'outage':
        ;(processes[step.process] as FuzzProcess).gates.away = step.begins
        return
      case 'crash':
        return this.#world.replace(step.process, this.#announced)
      case 'sweep':
        await this.#world.sweep()
        this.#announce(this.#history.moment())
        return
      case 'pass':
        return clock.advance(step.ms)
      case 'hear':
        return processes[step.process]?.copies?.hear()
      case 'deaf':
        return processes[step.process]?.copies?.lose(step.begins)
    }
  }

  #read(by: FuzzProcess, { what, of, fresh, mishap }: Step<'read'>): void {
    by.gates.mishap = mishap
    const known = later(this.#knownTo(by), by.known)
    this.#reading += 1
    this.#ask(by, what, of, fresh)
      .then(
        (answer) => this.#answers.push({ answer, known }),
        // Nobody hears of a process that died, and a database that fails is told.
        (error: Error) =>
          by.gates.dead || error.message === 'load fails' || this.complaints.push(`a read failed: ${error.message}`),
      )
      .finally(() => {
        this.#reading -= 1
      })
  }

  async #ask({ ground: { cache } }: FuzzProcess, what: Step<'read'>['what'], of: number, fresh: boolean): Promise<Answer> {
    const index = of % sizes.authors
    const id = this.#authors[index] as string
    switch (what) {
      case 'row':
        return [[`author ${index}`, (await cache.cached(fuzzAuthors).get(id, { fresh }))?.name ?? null]]
      case 'rows': {
        const [authors, books] = await Promise.all([
          cache.cached(fuzzAuthors).getMany(this.#authors, { fresh }),
          cache.cached(Book).getMany(this.#books, { fresh }),
        ])
        return [
          ...authors.map((author, each) => [`author ${each}`, author?.name ?? null] as const),
          ...books.map((book, each) => [`book ${each}`, book?.edition ?? null] as const),
        ]
      }
      case 'email': {
        const email = of % sizes.emails
        const author = await cache.cached(fuzzAuthors).byEmail(this.#emails[email] as string, { fresh })
        const found = author === null ? null : this.#authors.indexOf(author.id)
        return [[`email ${email}`, found], ...(author === null ? [] : [[`author ${found}`, author.name] as const])]
      }
      case 'books': {
        const books = await cache.cached(booksOf).get({ authorId: id }, { fresh })
        return this.#books.flatMap((each, book) => {
          const found = books.find((one) => one.id === each)
          const there = [`book ${book} of author ${index}`, found !== undefined] as const
          return found === undefined ? [there] : [there, [`book ${book}`, found.edition] as const]
        })
      }
      case 'latest': {
        const book = await cache.cached(latestBook).get({ authorId: id }, { fresh })
        return [[`latest of author ${index}`, book === null ? null : this.#books.indexOf(book.id)]]
      }
      case 'count':
        return [['count', (await cache.cached(countBooks).get({} as never, { fresh })).books]]
    }
  }

  async #write(by: FuzzProcess, step: Step<'write'>): Promise<void> {
    by.gates.mishap = step.mishap
    const write: Write = { by, unacknowledgedBefore: this.#unacknowledged(by), moment: new Map(), ended: false }
    this.#writes.push(write)
    const before = this.#history.moment()
    const em = by.ground.fork()
    const work = step.rollsBack
      ? em.transactional(async (inside) => {
          await this.#change(inside, step)
          await inside.flush()
          throw new Error('rolled back')
        })
      : this.#change(em, step).then(() => em.flush())
    work
      .catch(
        (error: Error) =>
          by.gates.dead || error.message === 'rolled back' || this.complaints.push(`a write failed: ${error.message}`),
      )
      .finally(() => {
        write.ended = true
      })
    // Until its commit it holds the only lock of SQLite.
    await this.#world.settled()
    await this.#observe()
    // Of what others commit meanwhile it promises nothing.
    write.moment = new Map([...this.#history.moment()].filter(([register, index]) => index !== before.get(register)))
  }

  async #change(em: EntityManager, { what, of, to }: Step<'write'>): Promise<void> {
    const index = of % sizes.authors
    const author = await em.findOne(Author, this.#authors[index] as string)
    const bookId = this.#books[to % sizes.books] as string
    const book = await em.findOne(Book, bookId)
    this.#version += 1
    switch (what) {
      case 'rename':
        if (author !== null) author.name = String(this.#version)
        return
      case 'bulk':
        await em.nativeUpdate(Author, this.#authors[index] as string, { name: String(this.#version) })
        return
      case 'come or go':
        if (author === null) em.create(Author, this.#newAuthor(index))
        else em.remove(author)
        return
      case 'email': {
        const email = this.#emails[to % sizes.emails] as string
        if (author !== null && (await em.count(Author, { email })) === 0) author.email = email
        return
      }
      case 'book':
        if (author === null) return
        if (book === null) em.create(Book, { id: bookId, author: author.id, title: 'a book', edition: this.#version })
        else book.author = em.getReference(Author, author.id, { wrapped: true })
        return
      case 'edition':
        if (book !== null) book.edition = this.#version
        return
      case 'unbook':
        if (book !== null) em.remove(book)
    }
  }

  #newAuthor(index: number): { id: string; email: string; name: string } {
    this.#version += 1
    const id = this.#authors[index] as string
    return { id, email: `${this.#version}-${id}@fuzz.dev`, name: String(this.#version) }
  }

  /** What is true now, and who must know it. */
  async #lookAround(): Promise<void> {
    await this.#world.settled()
    for (const { gates } of this.#world.processes) gates.mishap = undefined
    await this.#observe()
    for (const { answer, known } of this.#answers.splice(0)) {
      this.compared += answer.length
      for (const [register, got] of answer) {
        const complaint = this.#history.complaint(register, got, known)
        if (complaint !== undefined) this.complaints.push(complaint)
      }
    }
    for (const write of this.#writes.filter(({ ended }) => ended)) {
      if (write.by.gates.dead) continue
      write.by.known = later(write.by.known, write.moment)
      const acknowledged = this.#unacknowledged(write.by) === write.unacknowledgedBefore
      if (acknowledged) this.#announce(write.moment)
    }
    this.#writes = this.#writes.filter(({ ended }) => !ended)
  }

  async #observe(): Promise<void> {
    const em = this.#world.ground.fork()
    const authors = await em.find(Author, this.#authors)
    const books = await em.find(Book, this.#books)
    const now = new Map<string, Value>()
    for (const [index, id] of this.#authors.entries()) {
      now.set(`author ${index}`, authors.find((author) => author.id === id)?.name ?? null)
      const own = books.filter(({ author }) => author.id === id)
      for (const [book, each] of this.#books.entries())
        now.set(
          `book ${book} of author ${index}`,
          own.some((one) => one.id === each),
        )
      const latest = own.sort((one, other) => other.edition - one.edition)[0]
      now.set(`latest of author ${index}`, latest === undefined ? null : this.#books.indexOf(latest.id))
    }
    for (const [index, id] of this.#books.entries())
      now.set(`book ${index}`, books.find((book) => book.id === id)?.edition ?? null)
    for (const [index, email] of this.#emails.entries()) {
      const owner = authors.find((author) => author.email === email)
      now.set(`email ${index}`, owner === undefined ? null : this.#authors.indexOf(owner.id))
    }
    now.set('count', books.length)
    this.#history.commit(now)
  }

  async #end(): Promise<void> {
    const { processes, clock } = this.#world
    for (const { gates, copies } of processes) {
      gates.away = false
      copies?.lose(false)
    }
    for (let wait = 0; this.#reading + this.#writes.length > 0 && wait < mostWaits; wait++) {
      for (const { gates } of processes) for (const { resume } of gates.parked.splice(0)) resume()
      await clock.advance(50)
      await this.#lookAround()
    }
    if (this.#reading + this.#writes.length > 0)
      this.complaints.push(`${this.#reading} reads and ${this.#writes.length} writes hang`)
    await this.#world.sweep()
    this.#announce(this.#history.moment())
    for (const { copies } of processes) while (copies?.upToDate === false) copies.hear()
    for (const [process, by] of processes.entries()) {
      for (const what of ['rows', 'rows', 'email', 'books', 'latest', 'count'] as const) {
        for (let of = 0; of < sizes.emails; of++)
          this.#read(by, { kind: 'read', process, what, of, fresh: false, mishap: undefined })
        await this.#world.settled()
      }
    }
    for (let wait = 0; this.#reading > 0 && wait < mostWaits; wait++) await clock.advance(50)
    await this.#lookAround()
    await this.#world.bury()
  }

  #announce(moment: Moment): void {
    this.#announced = later(this.#announced, moment)
    this.#announcements.push({ moment: this.#announced, at: this.#world.clock.now() })
  }

  /** What a process must know that others did: with copies, what it has heard, and what is older than any copy. */
  #knownTo({ copies }: FuzzProcess): Moment {
    if (copies === undefined || copies.upToDate) return this.#announced
    const oldest = this.#world.clock.now() - copiesMs
    return this.#announcements.findLast(({ at }) => at <= oldest)?.moment ?? new Map()
  }

  /** Keys of every kind. */
  #keys(): readonly string[] {
    const rows = this.#authors.flatMap((id) => [rowKey('Author', id), shapeStamp('Book', { author: id })])
    const emails = this.#emails.map((email) => uniqueKey('Author', 'email', email))
    const books = this.#books.flatMap((id) => [rowKey('Book', id), revalidationKey(rowKey('Book', id))])
    const queries = [booksOf, latestBook].flatMap(({ name }) =>
      this.#authors.map((authorId) => queryKey(name, encode({ authorId }))),
    )
    const ofAll = [queryKey(countBooks.name, encode({})), shapeStamp('Book', {}), ...['Author', 'Book'].map(wholeEntityStamp)]
    return [...rows, ...emails, ...books, ...queries, ...ofAll]
  }

  #unacknowledged({ ground }: FuzzProcess): number {
    return ground.cache.stats().invalidations.unacknowledged
  }
}
