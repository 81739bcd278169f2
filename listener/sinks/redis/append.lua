-- Append events to a stream, each of them once. All or nothing of it is seen by others, and by a file that is cut off.
--
-- KEYS: the stream; the marks of its newest events, a sorted set by the order in which they came.
-- ARGV: most entries of the stream (0: any number), "~" or "=", most marks, and how many arguments there are for each
--       event: the id that its entry should get, its mark, and the entry's fields, of which the first are id and source.

local stream, marks = KEYS[1], KEYS[2]
local maxlen, trim, window, width = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

-- Whether the entry with this id is that of the event: it was marked so long ago that the mark is gone.
local function is_there(entry, id, source)
  local found = redis.call('XRANGE', stream, entry, entry)[1]
  return found and found[2][2] == id and found[2][4] == source
end

-- The id behind the last one, without moving on in time: the events to come keep the ids that they should get.
local function next_entry()
  local info = redis.call('XINFO', 'STREAM', stream)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      local ms, number = string.match(info[i + 1], '^(%d+)-(%d+)$')
      return string.format('%s-%.0f', ms, tonumber(number) + 1)
    end
  end
end

local function append(i)
  local entry = ARGV[i]
  local added = redis.pcall('XADD', stream, entry, unpack(ARGV, i + 2, i + width - 1))
  if type(added) ~= 'table' or not added.err then
    return
  end
  if not string.find(added.err, 'equal or smaller', 1, true) then
    return added
  end
  -- A repetition, or one that comes late: a replayed letter, an event of another journal, of a clock that was set back.
  if not is_there(entry, ARGV[i + 3], ARGV[i + 5]) then
    redis.call('XADD', stream, next_entry(), unpack(ARGV, i + 2, i + width - 1))
  end
end

-- Without events it is a probe: of the keys' types, and from Redis 7 on of the permissions that are needed one day.
local function refusal()
  for _, command in ipairs({
    { 'XADD', stream, '*', 'id', '' }, { 'XRANGE', stream, '-', '-' }, { 'XINFO', 'STREAM', stream },
    { 'XTRIM', stream, 'MAXLEN', '1' }, { 'ZREVRANGE', marks, '0', '0' }, { 'ZSCORE', marks, '' },
    { 'ZADD', marks, '0', '' }, { 'ZREMRANGEBYRANK', marks, '0', '0' },
  }) do
    if redis.acl_check_cmd and not redis.acl_check_cmd(unpack(command)) then
      return redis.error_reply('NOPERM the user may not use ' .. command[1] .. ' on the stream or its marks')
    end
  end
  redis.call('XRANGE', stream, '-', '-')
  redis.call('ZREVRANGE', marks, 0, 0)
end

if #ARGV == 4 then
  return refusal() or redis.status_reply('OK')
end
local newest = redis.call('ZREVRANGE', marks, 0, 0, 'WITHSCORES')
local count = tonumber(newest[2] or 0)
for i = 5, #ARGV, width do
  local mark = ARGV[i + 1]
  if not redis.call('ZSCORE', marks, mark) then
    local refused = append(i)
    if refused then
      return refused
    end
  end
  -- A repetition is marked anew: after a write WAIT and WAITAOF wait for all that was written before, too. Of a connection
  -- that has written nothing Redis 7.2 and later say at once that everybody has it.
  count = count + 1
  redis.call('ZADD', marks, string.format('%.0f', count), mark)
end
redis.call('ZREMRANGEBYRANK', marks, 0, -window - 1)
if maxlen > 0 then
  redis.call('XTRIM', stream, 'MAXLEN', trim, maxlen)
end
return redis.status_reply('OK')
