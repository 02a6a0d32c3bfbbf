import type { OutboxEvent } from '../../outbox/publishing/publisher.ts'
import type { RedisClient } from '../../redis/redis-client.ts'
import { RedisScript } from '../../redis/redis-script.ts'
import { toStreamEntry } from './stream-entry.ts'

/** How much a stream remembers, and keeps. */
export interface StreamBounds {
  readonly windowMs: number
  readonly maxIds: number
  /** 0: without limit. */
  readonly maxLength: number
}

/**
 * KEYS: stream, remembered ids. ARGV: window in ms, most ids, most entries, fields per entry, then each entry's names and
 * values, its id first. Answers one text per entry: its place in the stream, '' for a repetition, or `-` and the error. The ids
 * are remembered together before the entries are added, which takes a third off the script, and forgotten one by one where that
 * fails. Only where some were known already is each asked whether its age is the one just given. What it cannot write at all is
 * the error of the whole.
 *
 * It begins with an addition that adds nothing: a Redis without memory refuses only the first write of a script, and only one
 * that could add something. Behind a removal everything would be taken, however far beyond `maxmemory`.
 *
 * The score of an id is its age: microseconds of Redis's clock, or one more than the highest when the clock is not past it
 * (several ids of one script, or a clock that was set back). Equal scores would be forgotten in the order of their ids, the
 * newest perhaps first. Whole and below 2^53, so that doubles carry them exactly.
 */
const appendScript = new RedisScript(`
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local refusal = redis.pcall('ZADD', KEYS[2], 'XX', 0, '')
if type(refusal) == 'table' then return refusal end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now - ARGV[1] * 1000))
local highest = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
local age = math.max(now, (tonumber(highest) or 0) + 1)
local width = ARGV[4] * 2
local marks, added, count = {}, 0, 0
for first = 5, #ARGV, width do
  marks[#marks + 1] = age + count
  marks[#marks + 1] = ARGV[first + 1]
  count = count + 1
  if #marks == 2000 or first + width > #ARGV then
    added = added + redis.call('ZADD', KEYS[2], 'NX', unpack(marks))
    marks = {}
  end
end
local answers = {}
for first = 5, #ARGV, width do
  local answer
  local known = added < count and redis.call('ZSCORE', KEYS[2], ARGV[first + 1])
  if known and tonumber(known) ~= age + #answers then
    answer = ''
  elseif ARGV[3] == '0' then
    answer = redis.pcall('XADD', KEYS[1], '*', unpack(ARGV, first, first + width - 1))
  else
    answer = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', unpack(ARGV, first, first + width - 1))
  end
  if type(answer) == 'table' then
    redis.call('ZREM', KEYS[2], ARGV[first + 1])
    answer = '-' .. answer.err
  end
  answers[#answers + 1] = answer
end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return answers`)

/**
 * Appends events to one stream in one round trip, in their order, without those whose ids it remembers. Resolves to the error
 * of each, `undefined` for those that are in the stream.
 *
 * @throws what the connection throws; the reply of Redis when it refuses all of them.
 */
export async function appendToStream(
  client: RedisClient,
  stream: string,
  events: readonly OutboxEvent[],
  { windowMs, maxIds, maxLength }: StreamBounds,
): Promise<(string | undefined)[]> {
  const entries = events.map((event) => Object.entries(toStreamEntry(event)).flat())
  const fields = (entries[0]?.length ?? 0) / 2
  const answers = await appendScript.run(
    client,
    [stream, rememberedIdsKey(stream)],
    [windowMs, maxIds, maxLength, fields, ...entries.flat()],
  )
  const texts: readonly unknown[] = Array.isArray(answers) ? answers : []
  return events.map((_, index) => {
    const text = texts[index]
    if (typeof text !== 'string') return 'Redis gave no answer for this event'
    return text.startsWith('-') ? text.slice(1).replace(/^-/, '') : undefined
  })
}

/** The key of a stream's remembered ids, in the hash slot of the stream. */
function rememberedIdsKey(stream: string): string {
  return /^[^{]*\{[^}]+\}/.test(stream) ? `${stream}:published` : `{${stream}}:published`
}
