"""Processes of clients that share a topic in a group, and what they tell: events, a line each, with their `time` in milliseconds.
  assigned   partitions[]        those that are added, as the client's callback says
  revoked    partitions[]        those that are taken away, before the client joins again
  record     partition offset
  committed  offsets{partition: offset}, when it is acknowledged
  left
A driver is a member from `join` (topic group strategy instance session) until the next request, `leave`.
"""

import json
import pathlib
import signal
import subprocess
import threading
import time

PARTITIONS = 6
RATE = 100


class Member:
    """A member that a driver is, or the writer of the topic. `told` is called with each event as it comes."""

    def __init__(self, process, told, **request):
        self.process, self.told = process, told
        self.owned, self.left, self.error = set(), False, None
        if request:
            self.submit(**request)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def submit(self, **request):
        self.process.stdin.write(json.dumps(request).encode() + b'\n')
        self.process.stdin.flush()

    def read(self):
        for line in self.process.stdout:
            if line.startswith(b'{'):
                for event in self.events(json.loads(line)):
                    self.handle(event)

    def events(self, line):
        if 'error' in line:
            self.error = line
        elif 'ack' in line:
            number, _ = line['ack']
            yield {'event': 'acknowledged', 'partition': number % PARTITIONS, 'offset': number // PARTITIONS}
        else:
            # A writer tells nothing else: it has left when it answers.
            yield line if 'event' in line else {'event': 'answered'}

    def handle(self, event):
        name = event['event']
        if name == 'assigned':
            self.owned |= set(event['partitions'])
        elif name == 'revoked':
            self.owned -= set(event['partitions'])
        elif name == 'left':
            self.owned = set()
        self.left |= name in ('left', 'answered')
        self.told(self, event)

    def leave(self):
        self.left = False
        self.submit(op='leave')

    def end(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()

    def kill(self):
        """kill -9: what it has told before is read."""
        self.end()
        self.handle({'event': 'left', 'time': time.time_ns() // 1_000_000})


class Verifiable(Member):
    """Apache Kafka's tools, which tell the same events in other words."""

    NAMES = {'partitions_assigned': 'assigned', 'partitions_revoked': 'revoked', 'shutdown_complete': 'left'}

    def events(self, line):
        name, told = line.get('name'), {'time': line.get('timestamp')}
        if name in self.NAMES:
            partitions = [one['partition'] for one in line.get('partitions', [])]
            yield told | {'event': self.NAMES[name], 'partitions': partitions}
        elif name == 'records_consumed':
            for one in line['partitions']:
                for offset in range(one['minOffset'], one['maxOffset'] + 1):
                    yield told | {'event': 'record', 'partition': one['partition'], 'offset': offset}
        elif name == 'offsets_committed' and line['success']:
            offsets = {one['partition']: one['offset'] for one in line['offsets']}
            yield told | {'event': 'committed', 'offsets': offsets}
        elif name == 'producer_send_success':
            yield {'event': 'acknowledged', 'partition': line['partition'], 'offset': line['offset']}

    def leave(self):
        self.process.send_signal(signal.SIGTERM)


class Driven:
    """How the members of a group are made: each is a driver of its own. One client writes for all."""

    def __init__(self, spawn, spawn_writer):
        self.spawn, self.spawn_writer = spawn, spawn_writer

    def member(self, told, **request):
        return Member(self.spawn(), told, op='join', **request)

    def writer(self, told, topic):
        return Member(self.spawn_writer(), told, op='stream', topic=topic, partitions=PARTITIONS, count=1_000_000, rate=RATE)


class Tools:
    """kafka-verifiable-consumer and kafka-verifiable-producer."""

    ASSIGNORS = {'range': 'RangeAssignor', 'roundrobin': 'RoundRobinAssignor'}
    SETTINGS = pathlib.Path(__file__).resolve().parent / 'java/verifiable.properties'

    def __init__(self, jars, bootstrap, log):
        self.jars, self.bootstrap, self.log = jars, bootstrap, log

    def run(self, tool, *arguments):
        command = ['java', '-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-cp', f'{self.jars}/*',
                   f'org.apache.kafka.tools.{tool}', '--bootstrap-server', self.bootstrap, *map(str, arguments)]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log)

    def member(self, told, topic, group, strategy, instance, session):
        assignor = f'org.apache.kafka.clients.consumer.{self.ASSIGNORS[strategy]}'
        static = ['--group-instance-id', instance] if instance else []
        return Verifiable(self.run(
            'VerifiableConsumer', '--topic', topic, '--group-id', group, '--session-timeout', session,
            '--assignment-strategy', assignor, '--reset-policy', 'earliest', '--command-config', self.SETTINGS, *static), told)

    def writer(self, told, topic):
        # Without keys a partition would get records only every few seconds.
        settings = ['--throughput', RATE, '--acks', -1, '--repeating-keys', 10 * PARTITIONS]
        return Verifiable(self.run('VerifiableProducer', '--topic', topic, *settings), told)
