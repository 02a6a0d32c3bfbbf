import { RedisScript } from '../../redis/redis-script.ts'

// One key holds `L<token>` while somebody loads, and `V<token>|<version>|<stamps>|<payload>` once it is filled. A load that fails
// leaves `F`, and who loads next holds `M<token>`. So each script touches one key, hence one hash slot of a cluster,
// and one DEL ends entry, lease and failure alike.

/** What a load that failed leaves. */
export const failureText = 'F'

/** ARGV: token, mark of the replaceable entry, lease in ms. Answers 1 if granted. */
export const acquireScript = new RedisScript(`
local found = redis.call('GET', KEYS[1])
local kind = 'L'
if found == 'F' then
  kind = 'M'
elseif found then
  if string.sub(found, 1, 1) ~= 'V' or ARGV[2] == '' or string.sub(found, 2, 1 + #ARGV[2]) ~= ARGV[2] then return 0 end
end
redis.call('SET', KEYS[1], kind .. ARGV[1], 'PX', ARGV[3])
return 1`)

/** ARGV: token, lease in ms from now. */
export const renewScript = new RedisScript(`
local found = redis.call('GET', KEYS[1])
if found == 'L' .. ARGV[1] or found == 'M' .. ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1`)

/** ARGV: value for a missing stamp, life in ms. Answers the live value; a longer life that it already has is left. */
export const openStampScript = new RedisScript(`
local value = redis.call('GET', KEYS[1])
if not value then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return ARGV[1]
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return value`)

/**
 * ARGV: token, what is to be there or '' to give the lease back, ttl in ms, mark of the entry to replace or '' for a lease. Answers 1 if that
 * was still there.
 */
export const fillScript = new RedisScript(`
local found = redis.call('GET', KEYS[1])
if ARGV[4] == '' then
  if found ~= 'L' .. ARGV[1] and found ~= 'M' .. ARGV[1] then return 0 end
elseif not found or string.sub(found, 1, #ARGV[4] + 2) ~= 'V' .. ARGV[4] .. '|' then
  return 0
end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1`)
