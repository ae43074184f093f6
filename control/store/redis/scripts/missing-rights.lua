#!lua flags=no-writes
-- Which of the rights that Podgate needs its user lacks. Runs none of the commands.
-- KEYS: 1 a key of the site, 2 its bus: a channel
-- ARGV: one a right: the words of a command, separated by spaces, of which KEY and CHANNEL stand for those
-- Answers the rights that are missing.
local missing = {}
for _, right in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(right, '%S+') do
    table.insert(words, word == 'KEY' and KEYS[1] or word == 'CHANNEL' and KEYS[2] or word)
  end
  if not redis.acl_check_cmd(unpack(words)) then table.insert(missing, right) end
end
return missing
