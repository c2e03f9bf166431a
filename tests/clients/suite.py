"""The checks that every client driver passes. A driver is a process that reads one JSON request a line and answers with one
JSON line, so that the checks are written once, and what one client wrote another can read.

Requests (`op`, topic, ...) and answers; bytes are base64 or null; a refusal is {"error": Kafka's code, "reason": text}:
  create   topic partitions config{}                  {}
  produce  topic codec acks idempotent records[]      {"offsets": [n]}, one per record, without acks [] or nothing that counts
  read     topic partition offset count               {"records": []}, each with `offset`; no group; out of range is refused
  offsets  topic partition when                       {"offset": n}; when: "earliest", "latest" or milliseconds (-1: none)
  describe topic                                      {"config": {}}
  alter    topic config{}                             {}
  grow     topic partitions                           {}
  trim     topic partition offset                     {}: records before the offset are deleted
  delete   topic                                      {}
  stream   topic partitions count                     {"ack": [number, offset]} for each record as it is acknowledged, then {}
  join     topic group strategy instance session      what members.py says; ends when `leave` is asked
Of confluent-kafka alone: a `rate` (records a second) of `stream`, and
  committed group                                     {"offsets": {partition: offset}}
  state    group                                      {"state": name}
Record: partition, key, value, headers [[name, bytes]], time (milliseconds).
Numbered records of `stream`: number N goes to partition N modulo partitions with the number in decimal as its value.
"""

import base64
import json
import selectors
import subprocess
import time

from broker import SECONDS_MAX

CODECS = ('none', 'gzip', 'snappy', 'lz4', 'zstd')
ACKS = (('0', False), ('1', False), ('all', False), ('all', True))
PARTITIONS = 3
COUNT = 300
# The time of the first record: records of another year would not outlive the first look for what is to be deleted.
BASE_MS = int(time.time() * 1000) - COUNT * 1000
TOPIC_EXISTS, TOPIC_UNKNOWN, TOPIC_INVALID, TOO_LARGE, OUT_OF_RANGE, CONFIG_INVALID = 36, 3, 17, 10, 1, 40


class Refused(Exception):
    def __init__(self, code, reason):
        super().__init__(f'error {code}: {reason}')
        self.code = code


def spawn(command, log, environment=None):
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment)


class Driver:
    def __init__(self, name, command, log, environment=None):
        self.name = name
        self.spawn = lambda: spawn(command, log, environment)
        self.process = None
        self.start()

    def start(self):
        self.process = self.spawn()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)
        self.buffer = b''

    def answer(self):
        end = time.monotonic() + SECONDS_MAX
        while b'\n' not in self.buffer:
            ready = self.selector.select(end - time.monotonic())
            read = ready and self.process.stdout.read1(1 << 20)
            if not read:
                # What it would answer later belongs to no later request.
                self.restart()
                raise AssertionError('the driver ended' if ready else f'no answer within {SECONDS_MAX} s')
            self.buffer += read
        line, self.buffer = self.buffer.split(b'\n', 1)
        answer = json.loads(line)
        if 'error' in answer:
            raise Refused(answer['error'], answer['reason'])
        return answer

    def submit(self, op, **arguments):
        self.process.stdin.write(json.dumps({'op': op, **arguments}).encode() + b'\n')
        self.process.stdin.flush()

    def ask(self, op, **arguments):
        self.submit(op, **arguments)
        return self.answer()

    def restart(self):
        self.stop()
        self.start()

    def stop(self):
        self.process.kill()
        self.process.wait()


def encoded(value):
    return None if value is None else base64.b64encode(value).decode()


def record(number):
    """Keys, values with every byte, some of them null or empty, times a second apart."""
    value = bytes((number * 7 + at) % 256 for at in range(200 + number))
    value = {7: None, 8: b''}.get(number % 10, value)
    return {
        'partition': number % PARTITIONS,
        'key': encoded(None if number % 10 == 4 else b'k%d' % number),
        'value': encoded(value),
        'headers': [['number', encoded(b'%d' % number)], ['empty', encoded(b'')]],
        'time': BASE_MS + number * 1000,
    }


def expected(partition):
    numbers = range(partition, COUNT, PARTITIONS)
    return [{**record(number), 'offset': offset} for offset, number in enumerate(numbers)]


def same(found, wanted, what):
    assert found == wanted, f'{what}: {brief(found)} instead of {brief(wanted)}'


def brief(value):
    text = str(value)
    return text if len(text) < 300 else text[:300] + '...'


def refused(code, driver, op, **arguments):
    try:
        answer = driver.ask(op, **arguments)
    except Refused as refusal:
        same(refusal.code, code, f'code of {refusal}')
    else:
        raise AssertionError(f'{op} was not refused: {brief(answer)}')


def compare(driver, topic):
    """All of a topic that was written by `written`, by every way to find a record."""
    for partition in range(PARTITIONS):
        wanted = expected(partition)
        found = driver.ask('read', topic=topic, partition=partition, offset=0, count=len(wanted))['records']
        same(len(found), len(wanted), f'records in partition {partition}')
        for have, want in zip(found, wanted):
            same(have, want, f'record {want["offset"]} of partition {partition}')
        for when, offset in (
            ('earliest', 0), ('latest', 100), (wanted[37]['time'], 37), (wanted[37]['time'] - 1, 37),
            (0, 0), (wanted[-1]['time'] + 1, -1),
        ):
            same(driver.ask('offsets', topic=topic, partition=partition, when=when)['offset'], offset, f'offset of {when}')
    middle = driver.ask('read', topic=topic, partition=1, offset=41, count=2)['records']
    same(middle, expected(1)[41:43], 'from offset 41')


def write(driver, topic, codec, acks, idempotent):
    driver.ask('create', topic=topic, partitions=PARTITIONS, config={})
    records = [record(number) for number in range(COUNT)]
    produced = driver.ask('produce', topic=topic, codec=codec, acks=acks, idempotent=idempotent, records=records)
    if acks != '0':
        same(produced['offsets'], [number // PARTITIONS for number in range(COUNT)], 'acknowledged offsets')


def topic_of(client, codec, acks, idempotent):
    return f'{client}-{codec}-' + ('idempotent' if idempotent else f'acks-{acks}')


def written(client):
    """The topics that a client's checks leave behind."""
    return [topic_of(client, codec, *acks) for codec in CODECS for acks in ACKS]


def produces(codec, acks, idempotent):
    def check(driver):
        topic = topic_of(driver.name, codec, acks, idempotent)
        write(driver, topic, codec, acks, idempotent)
        compare(driver, topic)

    return topic_of('produces', codec, acks, idempotent), check


def refuses_topics(driver):
    topic = f'{driver.name}-refuses'
    driver.ask('create', topic=topic, partitions=1, config={})
    refused(TOPIC_EXISTS, driver, 'create', topic=topic, partitions=1, config={})
    refused(TOPIC_INVALID, driver, 'create', topic='no/name', partitions=1, config={})
    refused(CONFIG_INVALID, driver, 'create', topic=topic + '-2', partitions=1, config={'cleanup.policy': 'sometimes'})
    refused(TOPIC_UNKNOWN, driver, 'delete', topic=topic + '-3')


def reads_unknown_topic(driver):
    refused(TOPIC_UNKNOWN, driver, 'read', topic=f'{driver.name}-unknown', partition=0, offset=0, count=1)


def produces_oversize(driver):
    topic = f'{driver.name}-oversize'
    driver.ask('create', topic=topic, partitions=1, config={'max.message.bytes': '10000'})
    big = {**record(1), 'partition': 0, 'value': encoded(bytes(20_000))}
    small = {**record(2), 'partition': 0}
    arguments = {'topic': topic, 'codec': 'none', 'acks': 'all', 'idempotent': False}
    refused(TOO_LARGE, driver, 'produce', records=[big], **arguments)
    same(driver.ask('produce', records=[small], **arguments)['offsets'], [0], 'offset after the refusal')
    same(driver.ask('read', topic=topic, partition=0, offset=0, count=1)['records'], [{**small, 'offset': 0}], 'read')


def reads_out_of_range(driver):
    topic = f'{driver.name}-none-acks-all'
    refused(OUT_OF_RANGE, driver, 'read', topic=topic, partition=0, offset=10_000, count=1)


def administers(driver):
    topic = f'{driver.name}-administers'
    driver.ask('create', topic=topic, partitions=1, config={'retention.ms': '7200000'})
    same(driver.ask('describe', topic=topic)['config'].get('retention.ms'), '7200000', 'retention.ms')
    driver.ask('alter', topic=topic, config={'retention.ms': '3600000', 'cleanup.policy': 'compact,delete'})
    config = driver.ask('describe', topic=topic)['config']
    same((config['retention.ms'], config['cleanup.policy']), ('3600000', 'compact,delete'), 'altered')
    driver.ask('grow', topic=topic, partitions=PARTITIONS)
    records = [{**record(number), 'key': encoded(b'key')} for number in range(COUNT)]
    driver.ask('produce', topic=topic, codec='none', acks='all', idempotent=False, records=records)
    driver.ask('trim', topic=topic, partition=2, offset=60)
    same(driver.ask('offsets', topic=topic, partition=2, when='earliest')['offset'], 60, 'earliest after deletion')
    refused(OUT_OF_RANGE, driver, 'read', topic=topic, partition=2, offset=59, count=1)
    left = [{**record, 'offset': at} for at, record in enumerate(records[2::PARTITIONS])][60:]
    same(driver.ask('read', topic=topic, partition=2, offset=60, count=40)['records'], left, 'what is left')
    driver.ask('delete', topic=topic)
    refused(TOPIC_UNKNOWN, driver, 'delete', topic=topic)


CHECKS = [produces(codec, *acks) for codec in CODECS for acks in ACKS] + [
    (check.__name__.replace('_', '-'), check)
    for check in (refuses_topics, reads_unknown_topic, produces_oversize, reads_out_of_range, administers)
]
