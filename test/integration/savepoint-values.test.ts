import { describe, expect, it } from 'vitest'
import { dialects } from '../support/databases.ts'
import { Author } from '../support/library-entities.ts'
import { libraryGround } from '../support/library-ground.ts'

describe.each(dialects)('values of an outer unit’s entity, after a nested unit was rolled back, on %s', (dialect) => {
  const ground = libraryGround(dialect)
  const { failing } = ground

  const author = (em = ground.data.fork()) => em.findOneOrFail(Author, 'a0')
  const write = (photo: Buffer, seen: Date) =>
    ground.data.unitOfWork(async ({ em }) => void Object.assign(await author(em), { photo, seen }))

  it('are as they were, where the nested unit had changed them in place', async () => {
    await write(Buffer.from('abc'), new Date(0))
    await ground.data.unitOfWork(async ({ em }) => {
      const own = await author(em)
      for (const text of ['x', 'y']) {
        await failing(async (inner) => {
          own.photo?.set(Buffer.from(text))
          own.seen?.setTime(1000)
          await inner.flush()
        })
        expect([String(own.photo), own.seen]).toEqual(['abc', new Date(0)])
      }
    })
    const { photo, seen } = await author()
    expect([String(photo), seen]).toEqual(['abc', new Date(0)])
  })

  it('are written, where the outer unit changes them in place', async () => {
    await ground.data.unitOfWork(async ({ em }) => {
      const own = await author(em)
      Object.assign(own, { photo: Buffer.from('abc'), seen: new Date(0) })
      await failing()
      own.photo?.set(Buffer.from('x'))
      own.seen?.setTime(1000)
    })
    const { photo, seen } = await author()
    expect([String(photo), seen]).toEqual(['xbc', new Date(1000)])
  })

  it('are as they were, where no column stores them', async () => {
    await ground.data.unitOfWork(async ({ em }) => {
      const own = await author(em)
      own.note = 'mine'
      await failing(async () => void Object.assign(own, { note: 'never' }))
      expect(own.note).toBe('mine')
    })
  })
})
