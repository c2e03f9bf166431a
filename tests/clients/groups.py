"""Consumer groups: members of one client share a topic while records flow. Members join, leave and are killed, the broker is
killed and started again. Afterwards every acknowledged record was delivered at least once, no committed offset went back,
and no partition had two owners at a time. Nothing here depends on how long anything takes, but for SECONDS_MAX.
"""

import collections
import threading
import time

import suite
from members import PARTITIONS

SESSION_MS = 8_000
# A static member comes back within this, on the slowest machine.
SESSION_STATIC_MS = 45_000
FENCED_INSTANCE_ID = 82
STRATEGIES = {
    'confluent-kafka': ('range', 'cooperative-sticky'),
    'kafka-python': ('range', 'cooperative-sticky'),
    'franz-go': ('roundrobin', 'cooperative-sticky'),
    'kafkajs': ('roundrobin',),
    'java': ('range', 'roundrobin', 'cooperative-sticky'),
    'kafka-tools': ('range',),
}
# Not kafka-python: its leader, once it is back, joins again for an assignment of its own (it does not know KIP-814).
STATIC = ('confluent-kafka', 'franz-go', 'java')


class Late(AssertionError):
    """The group did not get into a state in time. Sessions have deadlines, which a busy machine breaks."""


class Group:
    """One group, and all that its members have told. `made` makes members; `observer` is a driver."""

    def __init__(self, name, strategy, made, broker, observer):
        self.name, self.topic, self.strategy = name, f'{name}-topic', strategy
        self.made, self.broker, self.observer = made, broker, observer
        self.lock = threading.Lock()
        self.events, self.members, self.wrong = [], [], []
        # By partition: the end of what is acknowledged, the offsets delivered, the least that may be committed.
        self.ends, self.delivered, self.floor = collections.Counter(), collections.defaultdict(set), collections.Counter()
        self.asking = threading.Lock()
        self.ask('create', topic=self.topic, partitions=PARTITIONS, config={})
        self.writer = made.writer(self.told, self.topic)
        self.ended = threading.Event()
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()

    def ask(self, op, **arguments):
        with self.asking:
            return self.observer.ask(op, **arguments)

    def state(self):
        return self.ask('state', group=self.name)['state']

    def told(self, member, event):
        with self.lock:
            name = event['event']
            if name == 'acknowledged':
                self.ends[event['partition']] = max(self.ends[event['partition']], event['offset'] + 1)
                return
            if name == 'record':
                self.delivered[event['partition']].add(event['offset'])
            elif name == 'committed':
                self.raise_floor(event['offsets'])
            self.events.append((member, event))

    def raise_floor(self, offsets):
        for partition, offset in offsets.items():
            self.floor[int(partition)] = max(self.floor[int(partition)], offset)

    def watch(self):
        """What is committed never goes back, neither behind what was seen before nor behind what a member was told."""
        while not self.ended.wait(0.2):
            with self.lock:
                floor = dict(self.floor)
            try:
                offsets = self.ask('committed', group=self.name)['offsets']
            except (suite.Refused, AssertionError):  # the broker is dead, or loads
                continue
            with self.lock:
                for partition, least in floor.items():
                    found = offsets.get(str(partition), -1)
                    if found < least:
                        self.wrong.append(f'partition {partition}: {found} is committed after {least}')
                self.raise_floor(offsets)

    def join(self, instance=None):
        session = SESSION_STATIC_MS if instance else SESSION_MS
        member = self.made.member(
            self.told, topic=self.topic, group=self.name, strategy=self.strategy, instance=instance, session=session)
        self.members.append(member)
        return member

    def leave(self, member):
        self.members.remove(member)
        member.leave()
        self.wait('a member to leave', lambda: member.left)
        member.end()

    def kill(self, member):
        self.members.remove(member)
        member.kill()

    def kill_broker(self):
        self.broker.kill()
        self.broker.start()

    def wait(self, what, condition, fault=Late):
        end = time.monotonic() + suite.SECONDS_MAX
        while not condition():
            failed = [member.error for member in [*self.members, self.writer] if member.error]
            assert not failed, f'a member ended: {failed[0]}'
            owned = [sorted(member.owned) for member in self.members]
            if time.monotonic() > end:
                raise fault(f'waited in vain for {what}; owned: {owned}; not delivered: {self.missing(self.ends)}')
            time.sleep(0.05)

    def settles(self):
        """Every partition has an owner and every member has partitions; then new records come from all of them."""
        self.wait('owners', lambda: all(member.owned for member in self.members) and sorted(
            partition for member in self.members for partition in list(member.owned)) == list(range(PARTITIONS)))
        self.flows()

    def flows(self):
        with self.lock:
            ends = dict(self.ends)
        self.wait('new records', lambda: all(self.ends[partition] > ends.get(partition, 0) for partition in range(PARTITIONS)))
        with self.lock:
            ends = dict(self.ends)
        self.wait('delivery', lambda: not self.missing(ends), AssertionError)

    def missing(self, ends):
        """By partition, the first offset before the end that nobody was given."""
        with self.lock:
            left = {partition: set(range(end)) - self.delivered[partition] for partition, end in ends.items()}
        return {partition: min(offsets) for partition, offsets in left.items() if offsets}

    def mark(self):
        with self.lock:
            return len(self.events)

    def moves(self, mark=0):
        """The partitions that were given and taken since the mark, by whom."""
        with self.lock:
            return [(member, event) for member, event in self.events[mark:]
                    if event['event'] in ('assigned', 'revoked') and event['partitions']]

    def one_owner(self):
        """Of two events of the same millisecond, the one that takes away was first: the other was not possible before."""
        with self.lock:
            changes = [(event['time'], event['event'] == 'assigned', at) for at, (_, event) in enumerate(self.events)
                       if event['event'] in ('assigned', 'revoked', 'left')]
        owners = {}
        for when, given, at in sorted(changes):
            member, event = self.events[at]
            if not given:
                gone = event['partitions'] if event['event'] == 'revoked' else range(PARTITIONS)
                owners = {partition: owner for partition, owner in owners.items() if owner is not member or partition not in gone}
                continue
            for partition in event['partitions']:
                assert owners.get(partition, member) is member, f'partition {partition} has two owners at {when} ms'
                owners[partition] = member

    def stays(self):
        """Cooperative: whoever keeps a partition over a rebalance is never without it, and is given no record twice."""
        before = {}
        for member, event in self.moves():
            for partition in event['partitions'] if event['event'] == 'assigned' else []:
                assert before.get(partition) is not member, f'partition {partition} was taken from its owner and given back'
                before[partition] = member
        with self.lock:
            given = collections.Counter(
                (member, event['partition'], event['offset']) for member, event in self.events if event['event'] == 'record')
        twice = [record[1:] for record, count in given.items() if count > 1]
        assert not twice, f'given twice to the same member (partition, offset): {suite.brief(twice)}'

    def ends_well(self):
        """The writer stops; all is delivered and committed; all members leave."""
        self.writer.leave()
        self.wait('the writer to end', lambda: self.writer.left)
        self.wait('delivery of all', lambda: not self.missing(self.ends), AssertionError)
        self.wait('commits of all', lambda: all(self.floor[partition] >= end for partition, end in self.ends.items()), AssertionError)
        for member in list(self.members):
            self.leave(member)
        self.one_owner()

    def close(self):
        self.ended.set()
        self.watcher.join()
        for member in [*self.members, self.writer]:
            member.end()
        assert not self.wrong, f'{len(self.wrong)} commits went back: {suite.brief(self.wrong)}'


def shares(group):
    first = group.join()
    group.settles()
    second, _ = group.join(), group.join()
    group.settles()
    group.leave(second)
    group.settles()
    if group.strategy.startswith('cooperative'):
        group.stays()
    # A group at rest does not notice that the broker was dead.
    mark = group.mark()
    group.kill_broker()
    group.flows()
    assert not group.moves(mark), 'the death of the broker moved partitions'
    # In the middle of a rebalance: until the session of the dead member has ended, none is over.
    group.kill(first)
    group.join()
    group.wait('a rebalance', lambda: group.state() == 'PREPARING_REBALANCING')
    group.kill_broker()
    group.settles()
    group.ends_well()


def static(group):
    names = ['one', 'two', 'three']
    members = [group.join(name) for name in names]
    group.settles()
    for member, name, broker_too in (members[0], names[0], False), (members[1], names[1], True):
        mark, had = group.mark(), set(member.owned)
        group.kill(member)
        if broker_too:
            group.kill_broker()
        back = group.join(name)
        group.settles()
        suite.same(back.owned, had, 'partitions of a static member that is back')
        assert all(who is back for who, _ in group.moves(mark)), 'the partitions of others moved'
    mark, twin = group.mark(), group.join(names[2])
    fenced = members[2]
    group.members.remove(fenced)
    group.wait('fencing', lambda: fenced.error)
    suite.same(fenced.error['error'], FENCED_INSTANCE_ID, f'code of {fenced.error}')
    fenced.kill()
    group.settles()
    assert all(who in (twin, fenced) for who, _ in group.moves(mark)), 'the partitions of others moved'
    # For the twin had the partitions before the other knew.
    group.events = [event for event in group.events if event[0] is not fenced]
    group.ends_well()


def checks(client):
    """Name, scenario and strategy of each of a client's checks."""
    for strategy in STRATEGIES.get(client, ()):
        yield f'group-{strategy}', shares, strategy
    if client in STATIC:
        yield 'group-static', static, STRATEGIES[client][0]


def check(scenario, *arguments):
    group = Group(*arguments)
    try:
        scenario(group)
    finally:
        group.close()
