import { describe, expect, test } from 'vitest'
import { ParkedLanes } from '../../../src/outbox/relay/parked-lanes.ts'

const moment = (now: number, wall = now) => ({ now, wall })
const park = (lanes: ParkedLanes, name: string, now: number, wall = now) =>
  lanes.park(`key ${name}`, { id: name, bucket: 1, sequence: 1n, due: moment(now, wall) })
const due = (lanes: ParkedLanes, now: number, wall = now, limit = 10) => lanes.due(moment(now, wall), limit).map(({ id }) => id)

describe('keys that wait', () => {
  test('get their turn, whatever fails again and again before them', () => {
    const lanes = new ParkedLanes()
    for (const name of ['bad1', 'bad2', 'bad3', 'bad4', 'good']) park(lanes, name, 0)
    const tried: (string | undefined)[] = []
    for (let now = 10; !tried.includes('good') && tried.length < 100; now += 10) {
      const batch = due(lanes, now, now, 2)
      tried.push(...batch)
      // Each is due again with the next try.
      for (const name of batch) park(lanes, String(name), now + 5)
    }
    expect(tried).toEqual(['bad1', 'bad2', 'bad3', 'bad4', 'good', 'bad1'])
  })

  test('are due by whichever clock gets there first', () => {
    const lanes = new ParkedLanes()
    park(lanes, 'a', 100, 5100)
    expect(due(lanes, 99, 5099)).toEqual([])
    expect(lanes.dueInMs(moment(40, 5090))).toBe(10)
    // The machine was suspended, and one clock stood still.
    expect(due(lanes, 10, 5100)).toEqual(['a'])
    // Somebody set the other one back.
    expect(due(lanes, 100, 0)).toEqual(['a'])
    expect(lanes.dueInMs(moment(10, 9000))).toBe(0)
  })

  test('behind a dead letter are never due', () => {
    const lanes = new ParkedLanes()
    lanes.hold('key a', 1)
    expect(due(lanes, Number.MAX_SAFE_INTEGER)).toEqual([])
    expect(lanes.dueInMs(moment(0))).toBe(Number.POSITIVE_INFINITY)
  })

  test('behind a dead letter keep their place before those that wait for their time', () => {
    const lanes = new ParkedLanes()
    const blocked = [{ orderingKey: 'blocked', bucket: 1 }]
    lanes.syncBlocked(blocked)
    for (const name of ['a', 'b']) park(lanes, name, 1000)
    lanes.syncBlocked(blocked)
    expect(lanes.keys(1)).toEqual(['blocked'])
  })
})
