import { defineEntity, type EntityManager, p } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { JsonTextType } from '../../src/database/json-text.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { NoteTagged, notes } from '../support/notes-module.ts'

type Tags = Record<string, unknown> | string

const DetailSchema = defineEntity({
  name: 'Detail',
  embeddable: true,
  properties: { words: p.json<unknown>().nullable() },
})
class Detail extends DetailSchema.class {}
DetailSchema.setClass(Detail)

const PaperSchema = defineEntity({
  name: 'Paper',
  tableName: 'papers',
  properties: {
    id: p.integer().primary(),
    count: p.integer().default(0),
    tags: p.json<Tags>(),
    text: p.type(JsonTextType).$type<unknown>(),
    plain: p.json<unknown>(),
    detail: () => p.embedded(Detail),
    object: () => p.embedded(Detail).object(),
    body: p.text().lazy().ref(),
    parent: () => p.manyToOne(Paper).nullable().ref(),
    children: () => p.oneToMany(Paper).mappedBy('parent'),
    sources: () => p.manyToMany(Paper).owner(),
    pages: () => p.oneToMany(Page).mappedBy('paper'),
  },
})
class Paper extends PaperSchema.class {}
PaperSchema.setClass(Paper)

const PageSchema = defineEntity({
  name: 'Page',
  tableName: 'pages',
  properties: { paper: () => p.manyToOne(Paper).primary(), number: p.integer().primary(), text: p.string() },
})
class Page extends PageSchema.class {}
PageSchema.setClass(Page)

class Forced {
  id!: number
  name: string
  constructor(name: string) {
    this.name = name
  }
}
const ForcedSchema = defineEntity({
  class: Forced,
  tableName: 'forced',
  forceConstructor: true,
  properties: { id: p.integer().primary(), name: p.string() },
} as never)

describe.each(dialects)('the rows of an outer unit after a nested one was rolled back, on %s', (dialect) => {
  let database: TestDatabase
  let data: DataAccess

  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    const papers = { name: 'papers', entities: [Paper, Page, ForcedSchema] as never }
    data = await createDataAccess({ modules: [notes, papers], database: { url: database.url } })
    await data.migrate()
    await data.orm.schema.update()
    await data.unitOfWork(async ({ em }) => {
      for (const id of [1, 2]) create(em, id)
      em.create(Forced, { id: 1, name: 'good' } as never)
    })
  })
  afterEach(async () => {
    await data.close()
    await database.close()
  })

  const create = (em: EntityManager, id: number) =>
    em.create(Paper, {
      id,
      tags: { a: [1, { b: null }] },
      text: { z: 1, a: 2 },
      plain: '5',
      detail: { words: { inline: [1] } },
      object: { words: { nested: [1] } },
      body: 'good',
    } as never)
  const failing = async (work: (em: EntityManager) => Promise<void> = async () => {}) => {
    const nested = data.unitOfWork(async ({ em }) => {
      await work(em)
      await em.flush()
      throw new Error('only the savepoint')
    })
    await expect(nested).rejects.toThrow('only the savepoint')
  }
  const read = (id: number) => data.fork().findOneOrFail(Paper, id, { populate: ['body'] as never })
  const jsonOf = ({ tags, text, plain, detail, object }: Paper) => ({ tags, text, plain, in: detail.words, of: object.words })
  const json = { tags: { a: [1, { b: null }] }, text: { z: 1, a: 2 }, plain: '5', in: { inline: [1] }, of: { nested: [1] } }

  it.each(['found', 'created', 'refreshed'])('hold JSON as it was, when they were %s', async (how) => {
    await data.unitOfWork(async ({ em }) => {
      const paper = how === 'created' ? create(em, 3) : await em.findOneOrFail(Paper, 1)
      if (how === 'refreshed') await em.refresh(paper)
      await failing(async (inner) => {
        const own = await inner.findOneOrFail(Paper, paper.id)
        Object.assign(own, { tags: 'other', text: [], plain: 6 })
        own.detail.words = 7
        own.object.words = 8
      })
      expect(jsonOf(paper)).toEqual(json)
      // An edit in place, and one that builds on what is there.
      ;(paper.object.words as { nested: number[] }).nested.push(2)
      paper.tags = { ...(paper.tags as object), reviewed: true }
    })
    const stored = jsonOf(await read(how === 'created' ? 3 : 1))
    expect(stored).toEqual({ ...json, tags: { ...json.tags, reviewed: true }, of: { nested: [1, 2] } })
  })

  it.each(['null', 'another'])('keep a parent that the outer unit has set to %s', async (to) => {
    await data.unitOfWork(async ({ em }) => {
      create(em, 3)
      const [first, second] = [await em.findOneOrFail(Paper, 1), await em.findOneOrFail(Paper, 2)]
      first.parent = em.getReference(Paper, second.id, { wrapped: true })
      await em.flush()
      await second.children.loadItems()
      first.parent = to === 'null' ? null : em.getReference(Paper, 3, { wrapped: true })
      await failing()
      first.count = 1
    })
    expect((await read(1)).parent?.id).toBe(to === 'null' ? undefined : 3)
  })

  it('keep the relations of what a nested unit has loaded through them and emptied', async () => {
    await data.unitOfWork(async ({ em }) => {
      const child = create(em, 3)
      child.parent = em.getReference(Paper, 1, { wrapped: true })
      child.sources.add(em.getReference(Paper, 2))
    })
    await data.unitOfWork(async ({ em }) => {
      const parent = await em.findOneOrFail(Paper, 1)
      const nested = data.unitOfWork(async () => {
        const [child] = await parent.children.loadItems()
        await child?.sources.loadItems()
        child?.sources.removeAll()
        throw new Error('only the savepoint')
      })
      await expect(nested).rejects.toThrow('only the savepoint')
    })
    const child = await data.fork().findOneOrFail(Paper, 3, { populate: ['sources'] })
    expect(child.sources.getIdentifiers()).toEqual([2])
  })

  it('are read anew, where a nested unit has loaded and changed them, also by a key of several columns', async () => {
    await data.unitOfWork(async ({ em }) => {
      for (const number of [1, 2]) em.create(Page, { paper: 1, number, text: `page ${number}` } as never)
    })
    await data.unitOfWork(async ({ em }) => {
      const paper = await em.findOneOrFail(Paper, 1)
      let pages: Page[] = []
      await failing(async () => {
        pages = (await paper.pages.loadItems()).slice()
        for (const page of pages) page.text = 'never'
      })
      expect(pages.map(({ text }) => text).sort()).toEqual(['page 1', 'page 2'])
    })
  })

  it('hold nothing of what a nested unit wrote behind a lazy reference', async () => {
    await data.unitOfWork(async ({ em }) => {
      const paper = await em.findOneOrFail(Paper, 1)
      await failing(async (inner) => {
        const own = await inner.findOneOrFail(Paper, 1, { populate: ['body'] as never })
        own.body.set('rolled back')
      })
      expect(await paper.body.load()).toBe('good')
    })
    expect((await read(1)).body.unwrap()).toBe('good')
  })

  it('hold nothing of what a nested unit wrote to a parameter of a constructor', async () => {
    await data.unitOfWork(async ({ em }) => {
      const forced = await em.findOneOrFail(Forced, 1 as never)
      await failing(async (inner) => {
        const own = await inner.findOneOrFail(Forced, 1 as never)
        own.name = 'rolled back'
      })
      expect(forced.name).toBe('good')
    })
    expect((await data.fork().findOneOrFail(Forced, 1 as never)).name).toBe('good')
  })

  it('are inserted and removed, when the outer unit asked for it while the nested one was open', async () => {
    const open = Promise.withResolvers<void>()
    const end = Promise.withResolvers<void>()
    await data.unitOfWork(async ({ em, record }) => {
      const second = await em.findOneOrFail(Paper, 2)
      const nested = failing(async () => {
        open.resolve()
        await end.promise
      })
      await open.promise
      create(em, 3)
      em.remove(second)
      record(NoteTagged, 'x', 'kept')
      end.resolve()
      await nested
      // Found only if it is inserted before the query.
      expect(await em.find(Paper, { id: 3 })).toHaveLength(1)
    })
    expect((await data.fork().findAll(Paper, { orderBy: { id: 'asc' } })).map(({ id }) => id)).toEqual([1, 3])
  })

  it('get no item that a unit inside a nested one made for them, when only the inner one was rolled back', async () => {
    await data.unitOfWork(async ({ em }) => {
      const parent = await em.findOneOrFail(Paper, 1, { populate: ['children'] })
      await data.unitOfWork(async (middle) => {
        await failing(async (inner) => {
          create(inner, 3).parent = inner.getReference(Paper, 1, { wrapped: true })
          create(inner, 4)
          parent.count = 7
        })
        create(middle.em, 5)
      })
      expect(parent.children).toHaveLength(0)
      parent.count++
    })
    const stored = await data.fork().findAll(Paper, { orderBy: { id: 'asc' } })
    expect(stored.map(({ id, count }) => [id, count])).toEqual([
      [1, 1],
      [2, 0],
      [5, 0],
    ])
  })
})
