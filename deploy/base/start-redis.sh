#!/bin/sh
# Starts Redis: start-redis.sh CONFIGURATION DIRECTORY
#
# Every commit of Podgate is a transaction in the append-only file. When Redis is killed, or the power fails, while it
# writes one, the file ends within it. Redis skips such a rest when it starts, but may leave the beginning of it in the
# file (valkey-io/valkey#4342 describes it): the next transaction is written behind that, and the start after next carries
# out the two as one. So what is left is cut off before Redis starts. It is always the last, which nobody was told of.
# Anything else that is wrong with the file is left to Redis, which then does not start.
configuration=$1
files=$2/appendonlydir
manifest=$files/appendonly.aof.manifest

# Is a file valid up to a place after which no transaction ends? Every commit is one, so no commit is cut off.
is_torn() {
  invalid=$(redis-check-aof "$manifest" 2>&1 | grep '^AOF analyzed: .* diff=[1-9]') || return 1
  name=$(echo "$invalid" | sed 's/.* filename=\([^,]*\),.*/\1/')
  valid=$(echo "$invalid" | sed 's/.* ok_up_to=\([0-9]*\),.*/\1/')
  ! tail -c "+$((valid + 1))" "$files/$name" | grep -aqi '^EXEC'
}

if [ -e "$manifest" ] && is_torn; then
  echo "The append-only file ends within a transaction: cutting it off."
  echo y | redis-check-aof --fix "$manifest"
fi
exec redis-server "$configuration"
