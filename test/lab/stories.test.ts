import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { LabPage } from '../support/lab/lab-page.ts'
import { openBrowser, patienceMs } from '../support/lab/open-browser.ts'
import { grounds, type LabGround, openGround } from '../support/lab/open-ground.ts'

describe.each(grounds)('the lab on %s', (kind) => {
  let ground: LabGround
  let browser: Browser
  let lab: LabPage

  beforeAll(async () => {
    ;[ground, browser] = await Promise.all([openGround(kind), openBrowser()])
  })
  afterAll(async () => {
    await browser?.close()
    await ground?.close()
  })
  beforeEach(async () => {
    lab = await LabPage.open(browser, ground.lab.url, '/')
  })
  afterEach(async () => {
    lab.expectNoComplaints()
    await lab.close()
  })

  const count = async (sql: string) => Number(await ground.read(`select count(*) from ${sql}`))
  const eventually = (sql: string, rows: number) => expect.poll(() => count(sql), { timeout: patienceMs }).toBe(rows)

  test('1: a form becomes a row, and what does not fit is refused with its reason', async () => {
    await lab.goTo('/data-models')
    await lab.shows('user_id', lab.region('Entity Assessment'))
    const create = async (email: string, name: string) => {
      await lab.fill('E-mail', email)
      await lab.fill('Name', name)
      await lab.press('Create user')
    }
    await create('developer@example.com', 'Developer User')
    await lab.shows('Created Developer User')
    await lab.shows('developer@example.com', lab.region('Rows of users'))
    expect(await count("users where email = 'developer@example.com' and name = 'Developer User'")).toBe(1)

    await create('developer@example.com', 'Somebody Else')
    await lab.shows('developer@example.com is taken: every user has an address of his own')
    await create('other@example.com', '   ')
    await lab.shows('Give a name')
    await create('other@example.com', 'N'.repeat(10_000))
    await lab.shows('At most 255 characters fit; these are 10000')
    await create('no address', 'Developer User')
    await lab.shows('This is no e-mail address: it needs an @ and a domain')
    expect(await count("users where email like '%@example.com'")).toBe(1)

    await lab.press('Remove developer@example.com')
    await eventually("users where email = 'developer@example.com'", 0)
  })

  test('2: two users are there after initialising, and a load is measured', async () => {
    await lab.goTo('/connectivity')
    await lab.shows(
      kind === 'embedded defaults' ? 'DATABASE_URL is not set' : 'DATABASE_URL is set',
      lab.region('What is in use'),
    )
    await lab.press('Initialise and create sample users')
    await lab.shows('Jane Doe:')
    expect(await count("users where name in ('Alex Smith', 'Jane Doe')")).toBe(2)

    await lab.shows(kind === 'embedded defaults' ? 'of at most 1' : 'of at most 10', lab.region('The pool, live'))
    await lab.slide('requests', 100)
    await lab.slide('at a time', 8)
    await lab.press('Run the load')
    const measured = lab.region('Measured').getByRole('row').filter({ hasText: '/s' })
    await measured.first().waitFor()
    expect(await measured.first().getByRole('cell').allInnerTexts()).toEqual(expect.arrayContaining(['8', '100']))
    await lab.shows('No load is running.')
    expect(await count("assessments where component = 'load'")).toBe(0)
  })

  test('3: six queries become two, and the guard names the line and its cure', async () => {
    await lab.goTo('/repositories')
    await lab.slide('user', 5)
    await lab.press('Add 3 sample scores to each')
    await lab.shows(/There are \d+ scores in the database now/)
    expect(await count("air_scores where user_id in (select id from users where email like 'reader-%')")).toBe(20)

    await lab.press('Fetch in both ways')
    await lab.shows('6 queries became 2')
    const loop = lab.region('N+1: one query for each user')
    await lab.shows('users with 20 scores', loop)
    await loop.getByText('Each of the 6 statements').click()
    expect(
      await loop
        .getByRole('list', { name: /^Statements/ })
        .getByRole('listitem')
        .count(),
    ).toBe(6)
    await lab.shows(/User\.scores was loaded in 5 queries, one for each, at examples\/lab\/chapters\/n-plus-one\.ts/)
    await lab.shows(/populate: \['scores'\]/, lab.region('What the N+1 guard says'))
  })

  test('4: a read misses, then hits, until a commit changes its row', async () => {
    await lab.goTo('/caching')
    const reads = lab
      .region('Reads of this window')
      .getByRole('row')
      .filter({ has: lab.page.locator('.badge') })
    let done = 0
    const read = async (button: string) => {
      await lab.press(button)
      done += 1
      await expect.poll(() => reads.count(), { timeout: patienceMs }).toBe(done)
      const [, gives, outcome] = await reads.first().getByRole('cell').allInnerTexts()
      return { gives, outcome }
    }
    const name = () => ground.read("select name from users where email = 'cache-demo@innovateai.dev'")
    expect(await read('Fetch user')).toEqual({ gives: 'Cache Demo User', outcome: 'miss' })
    expect(await read('Fetch user')).toEqual({ gives: 'Cache Demo User', outcome: 'hit' })
    await lab.press('Commit a new name')
    await lab.shows(/a unit of work committed the name/)
    expect(await name()).not.toBe('Cache Demo User')
    expect(await read('Fetch user')).toEqual({ gives: await name(), outcome: 'miss' })
    await lab.press('Invalidate the user')
    await lab.shows('invalidated by hand: the entry of this user is gone')
    expect((await read('Fetch user')).outcome).toBe('miss')
    expect((await read('Fetch user')).outcome).toBe('hit')

    expect(await read('Fetch latest score')).toEqual({ gives: '71.5', outcome: 'miss' })
    expect((await read('Fetch latest score')).outcome).toBe('hit')
    await lab.press('Commit a new score')
    await lab.shows(/a unit of work committed the score/)
    const latest = await read('Fetch latest score')
    expect(latest.outcome).toBe('miss')
    expect(await count(`air_scores where air_score = ${latest.gives}`)).toBe(1)
    await lab.shows(/\d+ hits \/ \d+ requests/)
  })

  test('4: the stale-set race leaves the naive cache stale, and ours right', async () => {
    await lab.goTo('/caching')
    const ours = lab.region('Our cache')
    const naive = lab.region('A naive cache')
    await lab.press(/^1\. Let the slow reader load/)
    await lab.press(/^2\. Commit the score 93/)
    await lab.press(/^3\. Let the slow reader fill/)
    await lab.shows('refused: a commit came between', ours)
    await lab.shows('accepted', naive)
    await lab.press(/^4\. Read again/)
    await lab.shows('stale, until it expires', naive)
    await lab.shows('right', ours)
    expect(
      await ground.read(
        "select max(air_score) from air_scores s join users u on u.id = s.user_id where u.name = 'Race Demo User'",
      ),
    ).toBe(93)
  })

  test('5: an event commits with its score, and the relay brings it to the subscriber', async () => {
    await lab.goTo('/outbox')
    await lab.press('Calculate and store a score')
    await lab.shows(/: pending\./)
    expect(await count("domain_events where status = 'pending'")).toBe(1)
    await lab.shows('Pending: 1')
    await lab.press('Run the relay once')
    await lab.shows('Drained: 1 published')
    await lab.shows('Published: 1')
    await lab.shows('Arrived: 1')
    expect(await count("domain_events where status = 'published'")).toBe(1)

    await lab.press('6 users × 8 scores')
    await lab.shows('Recorded 48 events')
    await lab.slide('for a wave', 0)
    await lab.press('Run the relay once')
    await lab.shows('Drained: 48 published')
    await lab.shows('Stream 6', lab.region('Waves'))
    await lab.shows('Arrived: 49')
    expect(await count("domain_events where status = 'pending'")).toBe(0)
  })

  test('5: while the broker is away events wait, and they arrive when it is back', async () => {
    await lab.goTo('/outbox')
    await lab.switch('Broker down', true)
    await lab.press('Start and keep running')
    await lab.press('Calculate and store a score')
    await lab.shows('paused: the publisher is away')
    expect(await count("domain_events where status = 'pending'")).toBe(1)
    await lab.switch('Broker down', false)
    await eventually("domain_events where status = 'pending'", 0)
    await lab.shows('Nothing waits.')
    await lab.stopRelay()
  })

  test('5: a poisoned event becomes a dead letter with its history, and a redriven one is published', async () => {
    await lab.goTo('/outbox')
    await lab.press('A score with a poisoned event')
    await lab.press('Start and keep running')
    await lab.shows('given up after 3 attempts')
    expect(await count('outbox_dead_letters')).toBe(1)
    await lab.page.locator('summary', { hasText: 'History' }).click()
    await lab.shows(/it was poisoned in the lab/)
    await lab.press(/^Heal and redrive event/)
    await lab.shows('Dead letters: 0')
    await eventually('outbox_dead_letters', 0)
    await eventually("domain_events where status = 'pending'", 0)
    await lab.stopRelay()
  })

  test('the overview removes all rows of the lab, after asking', async () => {
    await lab.press('Start afresh …')
    await lab.press('Remove all rows of the lab')
    await lab.shows('All rows of the lab are gone.')
    expect(await count('domain_events')).toBe(0)
    await eventually("users where email not like 'cache-demo%'", 0)
  })
})
