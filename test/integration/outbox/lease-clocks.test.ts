import { beforeEach, describe, expect, test } from 'vitest'
import { ManualClock } from '../../../src/testing/manual-clock.ts'
import { dialects } from '../../support/databases.ts'
import { ids, leaseGround, leaseMs } from '../../support/lease-ground.ts'

/** A machine whose wall clock can go on, or be set, while the other clock stands still. */
class Machine extends ManualClock {
  ahead = 1_000_000

  wall(): number {
    return this.now() + this.ahead
  }
}

describe.each(dialects)('the leases of a machine beside %s', (dialect) => {
  const ground = leaseGround(dialect)
  let machine: Machine
  let dead: string[]

  beforeEach(() => {
    machine = new Machine()
    dead = []
  })

  const open = (id: string) => ground.leases(id, { clock: machine, onDead: (found) => void dead.push(found.id) })

  test('that was suspended are not trusted, although its own clock stood still, until the database has confirmed them', async () => {
    const one = open(ids.one)
    await one.join()
    machine.ahead += leaseMs - 1000
    expect(one.safe(1)).toBe(true)
    machine.ahead += 1
    expect(one.safe(1)).toBe(false)
    await one.keep()
    expect(one.safe(1)).toBe(true)
  })

  test('that was suspended do not make it take the others for dead at once: they may have been so too', async () => {
    const [one, two] = [open(ids.one), open(ids.two)]
    await one.join()
    await two.join()
    machine.ahead += 2 * leaseMs
    const past = dialect === 'postgresql' ? "now() - interval '1 second'" : '0'
    await ground.bench.sql(`update outbox_relays set expires_at = ${past}`)
    await two.keep()
    expect(dead).toEqual([])
  })

  test('whose wall clock is set back last no longer for that', async () => {
    const one = open(ids.one)
    await one.join()
    machine.ahead -= 3_600_000
    await machine.advance(leaseMs - 1000)
    expect(one.safe(1)).toBe(true)
    await machine.advance(1)
    expect(one.safe(1)).toBe(false)
  })
})
