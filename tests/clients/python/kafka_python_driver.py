"""kafka-python: kafka_python_driver.py HOST:PORT"""

import sys
import time

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, KafkaAdminClient
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import BrokerResponseError
from kafka.structs import OffsetAndMetadata

import driver

SECONDS_MAX = 30
ASSIGNORS = {'range': RangePartitionAssignor, 'cooperative-sticky': CooperativeStickyAssignor}


def refusing(method):
    def call(self, **request):
        try:
            return method(self, **request)
        except BrokerResponseError as error:
            raise driver.Refusal(error.errno, str(error)) from error

    return call


class KafkaPython:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        self.consumer = KafkaConsumer(
            bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset='none', check_crcs=True,
            allow_auto_create_topics=False)

    @refusing
    def create(self, topic, partitions, config):
        options = {'num_partitions': partitions, 'replication_factor': 1, 'configs': config}
        self.admin.create_topics({topic: options})

    @refusing
    def delete(self, topic):
        self.admin.delete_topics([topic])

    @refusing
    def produce(self, topic, codec, acks, idempotent, records):
        producer = KafkaProducer(
            bootstrap_servers=self.bootstrap, acks='all' if acks == 'all' else int(acks), enable_idempotence=idempotent,
            compression_type=None if codec == 'none' else codec, linger_ms=20)
        sent = [
            producer.send(
                topic, value=record['value'], key=record['key'], headers=record['headers'], partition=record['partition'],
                timestamp_ms=record['time'])
            for record in map(driver.decoded_record, records)
        ]
        offsets = [future.get(SECONDS_MAX).offset for future in sent]
        producer.close()
        return {'offsets': offsets}

    @refusing
    def read(self, topic, partition, offset, count):
        assigned = TopicPartition(topic, partition)
        # Without this, kafka-python waits for a topic that is not there instead of saying so.
        if topic not in self.consumer.topics():
            raise driver.Refusal(3, 'not among the topics')
        self.consumer.assign([assigned])
        self.consumer.seek(assigned, offset)
        found, end = [], time.monotonic() + SECONDS_MAX
        while len(found) < count and time.monotonic() < end:
            for records in self.consumer.poll(500).values():
                found += map(self.found, records)
        return {'records': found[:count]}

    @staticmethod
    def found(record):
        return {
            'partition': record.partition, 'offset': record.offset, 'time': record.timestamp,
            'key': driver.encoded(record.key), 'value': driver.encoded(record.value),
            'headers': [[name, driver.encoded(value)] for name, value in record.headers],
        }

    @refusing
    def offsets(self, topic, partition, when):
        at = TopicPartition(topic, partition)
        if when == 'earliest':
            return {'offset': self.consumer.beginning_offsets([at])[at]}
        if when == 'latest':
            return {'offset': self.consumer.end_offsets([at])[at]}
        found = self.consumer.offsets_for_times({at: when})[at]
        return {'offset': found.offset if found else -1}

    @refusing
    def describe(self, topic):
        described = self.admin.describe_configs([ConfigResource('topic', topic)], config_filter='all')
        [config] = [resources[topic] for resources in described.values()]
        return {'config': {name: entry['value'] for name, entry in config.items()}}

    @refusing
    def alter(self, topic, config):
        self.admin.alter_configs([ConfigResource('topic', topic, config)])

    @refusing
    def grow(self, topic, partitions):
        self.admin.create_partitions({topic: partitions})

    @refusing
    def trim(self, topic, partition, offset):
        self.admin.delete_records({TopicPartition(topic, partition): offset})

    @refusing
    def stream(self, topic, partitions, count):
        producer = KafkaProducer(
            bootstrap_servers=self.bootstrap, acks='all', enable_idempotence=True, linger_ms=1, batch_size=1000,
            retry_backoff_ms=50, reconnect_backoff_max_ms=200)
        waiting = []
        for number in range(count):
            waiting.append((number, producer.send(topic, value=b'%d' % number, partition=number % partitions)))
            while waiting and (waiting[0][1].is_done or len(waiting) >= 1000 or number == count - 1):
                sent, future = waiting.pop(0)
                driver.answer(ack=[sent, future.get(SECONDS_MAX).offset])
        producer.close()

    @refusing
    def join(self, topic, group, strategy, instance, session):
        consumer = KafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=group, group_instance_id=instance, session_timeout_ms=session,
            heartbeat_interval_ms=500, partition_assignment_strategy=[ASSIGNORS[strategy]], enable_auto_commit=False,
            auto_offset_reset='earliest', reconnect_backoff_max_ms=200)
        member = driver.Member(lambda offsets: consumer.commit(
            {TopicPartition(topic, at): OffsetAndMetadata(offset, '', -1) for at, offset in offsets.items()}, timeout_ms=3000))

        class Listener(ConsumerRebalanceListener):
            def on_partitions_assigned(self, assigned):
                member.assigned([at.partition for at in assigned])

            def on_partitions_revoked(self, revoked):
                member.revoked([at.partition for at in revoked])

            def on_partitions_lost(self, lost):
                member.lost([at.partition for at in lost])

        consumer.subscribe([topic], listener=Listener())
        while not driver.waiting():
            for at, records in consumer.poll(100, max_records=20).items():
                for record in records:
                    member.delivered(at.partition, record.offset)
            member.commit()
        consumer.close()
        driver.event('left')

    def leave(self):
        pass


driver.serve(KafkaPython(sys.argv[1]))
