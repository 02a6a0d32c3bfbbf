import type { RedisClient } from '../../redis/redis-client.ts'
import { RedisScript } from '../../redis/redis-script.ts'
import { rememberedIdsKey } from './remembered-ids.ts'
import { entryFields } from './stream-entry.ts'

/** How much a stream remembers, and keeps. */
export interface StreamBounds {
  readonly windowMs: number
  readonly maxIds: number
  /** 0: without limit. */
  readonly maxLength: number
}

/**
 * KEYS: stream, remembered ids. ARGV: window in ms, most ids, most entries, the entries as JSON (a list of their values, the id
 * first), then the names of their fields. Answers `{ place, error }` of each entry that Redis refused, from place 1. As one text the
 * entries cost the client a fifth of what an argument for each value does, and Redis less too.
 *
 * The ids are remembered together before the entries are added, and forgotten one by one where that fails. Only where some were
 * known already is each asked whether its age is the one just given. What it cannot write at all is the error of the whole.
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
local oldest = math.max(now, (tonumber(highest) or 0) + 1) - 1
local entries = cjson.decode(ARGV[4])
local marks, added = {}, 0
for place, entry in ipairs(entries) do
  marks[#marks + 1] = oldest + place
  marks[#marks + 1] = entry[1]
  if #marks == 2000 or place == #entries then
    added = added + redis.call('ZADD', KEYS[2], 'NX', unpack(marks))
    marks = {}
  end
end
local command = ARGV[3] == '0' and { 'XADD', KEYS[1], '*' } or { 'XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*' }
local fields = #command + 1
for index = 5, #ARGV do command[fields + 2 * (index - 5)] = ARGV[index] end
local refused = {}
for place, entry in ipairs(entries) do
  local age = added < #entries and redis.call('ZSCORE', KEYS[2], entry[1])
  if not age or tonumber(age) == oldest + place then
    for index, value in ipairs(entry) do command[fields + 2 * index - 1] = value end
    local answer = redis.pcall(unpack(command))
    if type(answer) == 'table' then
      redis.call('ZREM', KEYS[2], entry[1])
      refused[#refused + 1] = { place, answer.err }
    end
  end
end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return refused`)

/**
 * Appends entries to one stream in one round trip, in their order, without those whose ids it remembers. Resolves to the error
 * of each that Redis refused, by its index.
 *
 * @param entries see `writeEntry`.
 * @throws what the connection throws; the reply of Redis when it refuses all of them.
 */
export async function appendToStream(
  client: RedisClient,
  stream: string,
  entries: readonly string[],
  { windowMs, maxIds, maxLength }: StreamBounds,
): Promise<ReadonlyMap<number, string>> {
  const keys = [stream, rememberedIdsKey(stream)]
  const args = [windowMs, maxIds, maxLength, `[${entries.join(',')}]`, ...entryFields]
  const refused = await appendScript.run(client, keys, args)
  return new Map((refused as [number, string][]).map(([place, error]) => [place - 1, error.replace(/^-/, '')]))
}
