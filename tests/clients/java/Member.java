// A member of a group, and what it tells (see ../groups.py).

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

class Member implements ConsumerRebalanceListener {
    static final Map<String, String> ASSIGNORS = Map.of(
        "range", RangeAssignor.class.getName(), "roundrobin", RoundRobinAssignor.class.getName(),
        "cooperative-sticky", CooperativeStickyAssignor.class.getName());
    static final Duration COMMIT_MAX = Duration.ofSeconds(3);

    final KafkaConsumer<byte[], byte[]> consumer;
    final Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();

    Member(String bootstrap, String topic, JsonNode request) {
        Map<String, Object> settings = new HashMap<>(Map.of(
            "bootstrap.servers", bootstrap, "group.id", request.get("group").asText(), "enable.auto.commit", "false",
            "session.timeout.ms", request.get("session").asText(), "heartbeat.interval.ms", "500", "max.poll.records", "20",
            "partition.assignment.strategy", ASSIGNORS.get(request.get("strategy").asText()), "auto.offset.reset", "earliest",
            "reconnect.backoff.max.ms", "200",
            // A client whose only broker is away forgets its topics otherwise, and rebalances if it looks just then (KAFKA-18194).
            "metadata.recovery.strategy", "none"));
        if (!request.path("instance").isNull()) {
            settings.put("group.instance.id", request.get("instance").asText());
        }
        consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.subscribe(List.of(topic), this);
    }

    // Until the next request comes.
    void run(BufferedReader input) throws IOException {
        try (consumer) {
            while (!input.ready()) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                    Driver.say(event("record").put("partition", record.partition()).put("offset", record.offset()));
                    TopicPartition partition = new TopicPartition(record.topic(), record.partition());
                    next.put(partition, new OffsetAndMetadata(record.offset() + 1));
                }
                commit();
            }
        }
        Driver.say(event("left"));
    }

    static ObjectNode event(String name) {
        return Driver.JSON.createObjectNode().put("event", name).put("time", System.currentTimeMillis());
    }

    static ObjectNode event(String name, Collection<TopicPartition> partitions) {
        ObjectNode event = event(name);
        ArrayNode numbers = event.putArray("partitions");
        partitions.forEach(partition -> numbers.add(partition.partition()));
        return event;
    }

    void commit() {
        if (next.isEmpty()) {
            return;
        }
        try {
            consumer.commitSync(next, COMMIT_MAX);
        } catch (RetriableException | RebalanceInProgressException | CommitFailedException error) {
            return; // these offsets come again with later ones
        }
        ObjectNode event = event("committed");
        ObjectNode offsets = event.putObject("offsets");
        next.forEach((partition, at) -> offsets.put(Integer.toString(partition.partition()), at.offset()));
        Driver.say(event);
        next.clear();
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        Driver.say(event("assigned", partitions));
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        commit();
        onPartitionsLost(partitions);
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        partitions.forEach(next::remove);
        Driver.say(event("revoked", partitions));
    }
}
