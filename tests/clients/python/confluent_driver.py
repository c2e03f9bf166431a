"""confluent-kafka (librdkafka): confluent_driver.py HOST:PORT"""

import sys

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ConfigSource, NewPartitions, NewTopic, ResourceType)

import driver

SECONDS_MAX = 30


def refusing(method):
    def call(self, **request):
        try:
            return method(self, **request)
        except KafkaException as error:
            raise driver.Refusal(error.args[0].code(), error.args[0].str()) from error

    return call


class Confluent:
    def __init__(self, bootstrap):
        self.base = {'bootstrap.servers': bootstrap, 'reconnect.backoff.max.ms': 200}
        self.admin = AdminClient(self.base)
        self.consumer = Consumer(self.base | {
            'group.id': 'unused', 'enable.auto.commit': False, 'auto.offset.reset': 'error', 'check.crcs': True,
            'fetch.wait.max.ms': 50})

    @staticmethod
    def wait(futures):
        for future in futures.values():
            future.result(SECONDS_MAX)

    @refusing
    def create(self, topic, partitions, config):
        self.wait(self.admin.create_topics([NewTopic(topic, partitions, 1, config=config)]))

    @refusing
    def delete(self, topic):
        self.wait(self.admin.delete_topics([topic]))

    @refusing
    def produce(self, topic, codec, acks, idempotent, records):
        producer = Producer(self.base | {
            'acks': acks, 'compression.type': codec, 'enable.idempotence': idempotent, 'linger.ms': 20})
        offsets, errors = [None] * len(records), []

        def delivered(number):
            def call(error, message):
                offsets[number] = message.offset()
                if error:
                    errors.append(error)

            return call

        for number, record in enumerate(map(driver.decoded_record, records)):
            producer.produce(
                topic, value=record['value'], key=record['key'], partition=record['partition'],
                on_delivery=delivered(number), timestamp=record['time'], headers=record['headers'])
        assert producer.flush(SECONDS_MAX) == 0, 'not all was delivered'
        if errors:
            raise KafkaException(errors[0])
        return {'offsets': offsets}

    def polled(self):
        message = self.consumer.poll(SECONDS_MAX)
        assert message is not None, 'no record'
        if message.error():
            # An error of librdkafka's own, which has the broker's in its text.
            out_of_range = message.error().code() == KafkaError._AUTO_OFFSET_RESET and 'Offset out of range' in str(message.error())
            raise KafkaException(KafkaError(KafkaError.OFFSET_OUT_OF_RANGE) if out_of_range else message.error())
        return message

    @refusing
    def read(self, topic, partition, offset, count):
        # Without this, librdkafka 2.16 waits for a topic that is not there instead of saying so (to Apache Kafka, too).
        if error := self.consumer.list_topics(topic, SECONDS_MAX).topics[topic].error:
            raise KafkaException(error)
        self.consumer.assign([TopicPartition(topic, partition, offset)])
        try:
            return {'records': [self.found(self.polled()) for _ in range(count)]}
        finally:
            self.consumer.unassign()

    @staticmethod
    def found(message):
        return {
            'partition': message.partition(), 'offset': message.offset(), 'time': message.timestamp()[1],
            'key': driver.encoded(message.key()), 'value': driver.encoded(message.value()),
            'headers': [[name, driver.encoded(value)] for name, value in message.headers() or []],
        }

    @refusing
    def offsets(self, topic, partition, when):
        if when in ('earliest', 'latest'):
            ends = self.consumer.get_watermark_offsets(TopicPartition(topic, partition), SECONDS_MAX)
            return {'offset': ends[when == 'latest']}
        [at] = self.consumer.offsets_for_times([TopicPartition(topic, partition, when)], SECONDS_MAX)
        return {'offset': at.offset}

    @refusing
    def describe(self, topic):
        [future] = self.admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
        return {'config': {name: entry.value for name, entry in future.result(SECONDS_MAX).items()}}

    @refusing
    def alter(self, topic, config):
        entries = [ConfigEntry(name, value, ConfigSource.DYNAMIC_TOPIC_CONFIG,
                               incremental_operation=AlterConfigOpType.SET) for name, value in config.items()]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        self.wait(self.admin.incremental_alter_configs([resource]))

    @refusing
    def grow(self, topic, partitions):
        self.wait(self.admin.create_partitions([NewPartitions(topic, partitions)]))

    @refusing
    def trim(self, topic, partition, offset):
        self.wait(self.admin.delete_records([TopicPartition(topic, partition, offset)]))

    # With a rate (records a second) it ends when the next request comes.
    @refusing
    def stream(self, topic, partitions, count, rate=None):
        producer = Producer(self.base | {
            'acks': 'all', 'enable.idempotence': True, 'linger.ms': 1, 'batch.num.messages': 50,
            'reconnect.backoff.max.ms': 200, 'retry.backoff.ms': 50, 'retry.backoff.max.ms': 200})
        errors = []

        def delivered(error, message):
            if error:
                errors.append(error)
            else:
                driver.answer(ack=[int(message.value()), message.offset()])

        for number in range(count):
            while len(producer) >= 1000:
                producer.poll(0.1)
            if rate:
                producer.poll(1 / rate)
                if driver.waiting():
                    break
            producer.produce(topic, value=b'%d' % number, partition=number % partitions, on_delivery=delivered)
            producer.poll(0)
        assert producer.flush(2 * SECONDS_MAX) == 0, 'not all was delivered'
        if errors:
            raise KafkaException(errors[0])

    @refusing
    def join(self, topic, group, strategy, instance, session):
        consumer = Consumer(self.base | {
            'group.id': group, 'partition.assignment.strategy': strategy, 'session.timeout.ms': session,
            'heartbeat.interval.ms': 500, 'enable.auto.commit': False, 'auto.offset.reset': 'earliest',
            'fetch.wait.max.ms': 50, 'reconnect.backoff.max.ms': 200,
        } | ({'group.instance.id': instance} if instance else {}))

        def commit(offsets):
            at = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
            for answer in consumer.commit(offsets=at, asynchronous=False):
                if answer.error:
                    raise KafkaException(answer.error)

        member = driver.Member(commit)

        def calls(function):
            return lambda _, partitions: function([at.partition for at in partitions])

        consumer.subscribe(
            [topic], on_assign=calls(member.assigned), on_revoke=calls(member.revoked), on_lost=calls(member.lost))
        since = 0
        while not driver.waiting():
            message = consumer.poll(0.1)
            if message and message.error() and message.error().code() == KafkaError._FATAL:
                # An error of librdkafka's own, which has the broker's in its text.
                fenced = 'Static consumer fenced' in str(message.error())
                raise KafkaException(KafkaError(KafkaError.FENCED_INSTANCE_ID) if fenced else message.error())
            if message and not message.error():
                member.delivered(message.partition(), message.offset())
                since += 1
            if not message or since == 20:
                member.commit()
                since = 0
        consumer.close()
        driver.event('left')

    def leave(self):
        pass

    def fresh(self):
        """One that asked a broker for a coordinator when it was killed may send nothing ever after (librdkafka 2.16)."""
        return AdminClient(self.base)

    @refusing
    def committed(self, group):
        admin = self.fresh()
        [future] = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
        found = future.result(SECONDS_MAX).topic_partitions
        return {'offsets': {at.partition: at.offset for at in found if not at.error}}

    @refusing
    def state(self, group):
        admin = self.fresh()
        [future] = admin.describe_consumer_groups([group]).values()
        return {'state': future.result(SECONDS_MAX).state.name}


driver.serve(Confluent(sys.argv[1]))
