/** The keys of one store. All share the tag in braces, so that in a Redis Cluster they would lie in one slot. */
export interface RedisKeys {
  /** A pattern of all of them, for an ACL. */
  readonly all: string;
  readonly meta: string;
  /** Stamps of the last commits: the last key of every script that a mark is presented to; see history.lua. */
  readonly history: string;
  /** Of every script that changes the queue: `meta`, then those that queue.lua names. */
  readonly queue: readonly string[];
  /** Of commit.lua: those of the queue, then the store's. */
  readonly commit: readonly string[];
  readonly records: string;
  readonly lists: string;
  readonly places: string;
  readonly tombstones: string;
  readonly tombstoneAges: string;
  readonly feed: string;
  readonly wakes: string;
  readonly parked: string;
  readonly locks: string;
  readonly replicas: string;
  /** What replicas have agreed on: hash name -> value. */
  readonly agreed: string;
  /** A channel. */
  readonly bus: string;
  readonly actions: (uid: string) => string;
  readonly outputs: (uid: string) => string;
}

/** Several installations may share one Redis: each has the keys of its site. */
export function redisKeys(site: string): RedisKeys {
  const key = (name: string): string => `podgate:{${site}}:${name}`;
  const meta = key('meta');
  const wakes = key('wakes');
  const parked = queueKey('parked');
  const queue = [
    meta,
    ...['items', 'waiting', 'due', 'groups', 'later', 'leased', 'turns'].map(queueKey),
    wakes,
    parked,
  ];
  const [records, places, lists, feed] = [key('records'), key('places'), key('lists'), key('feed')];
  const [tombstones, tombstoneAges] = [key('tombstones'), key('tombstone-ages')];
  return {
    all: key('*'),
    meta,
    history: key('history'),
    queue,
    commit: [...queue, records, places, lists, tombstones, tombstoneAges, feed],
    records,
    lists,
    places,
    tombstones,
    tombstoneAges,
    feed,
    wakes,
    parked,
    locks: key('locks'),
    replicas: key('replicas'),
    agreed: key('agreed'),
    bus: key('bus'),
    actions: (uid) => key(`actions:${uid}`),
    outputs: (uid) => key(`outputs:${uid}`),
  };

  function queueKey(name: string): string {
    return key(`queue:${name}`);
  }
}
