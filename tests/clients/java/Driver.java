// Apache Kafka's Java client: java -cp CLASSES:JARS Driver HOST:PORT (see ../suite.py).

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Driver {
    static final ObjectMapper JSON = new ObjectMapper();
    static final long SECONDS_MAX = 30;
    static final int CODE_OTHER = -1000;

    final String bootstrap;
    final Admin admin;
    final BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
    final KafkaConsumer<byte[], byte[]> consumer;

    Driver(String bootstrap) {
        this.bootstrap = bootstrap;
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        consumer = new KafkaConsumer<>(
            Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "none", "allow.auto.create.topics", "false",
                "fetch.max.wait.ms", "50"),
            new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    public static void main(String[] arguments) throws IOException {
        Driver driver = new Driver(arguments[0]);
        for (String line = driver.input.readLine(); line != null; line = driver.input.readLine()) {
            ObjectNode answer = JSON.createObjectNode();
            try {
                JsonNode request = JSON.readTree(line);
                driver.step(request.get("op").asText(), request.path("topic").asText(), request, answer);
            } catch (Exception error) {
                Throwable inner = error instanceof ExecutionException ? error.getCause() : error;
                boolean outOfRange = inner instanceof OffsetOutOfRangeException;
                int code = outOfRange ? Errors.OFFSET_OUT_OF_RANGE.code() : Errors.forException(inner).code();
                answer.put("error", code == Errors.UNKNOWN_SERVER_ERROR.code() ? CODE_OTHER : code);
                answer.put("reason", inner.toString());
            }
            say(answer);
        }
        Runtime.getRuntime().halt(0);
    }

    static synchronized void say(ObjectNode answer) {
        System.out.println(answer);
        System.out.flush();
    }

    void step(String operation, String topic, JsonNode request, ObjectNode answer) throws Exception {
        TopicPartition partition = new TopicPartition(topic, request.path("partition").asInt());
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        switch (operation) {
            case "create" -> {
                NewTopic created = new NewTopic(topic, request.get("partitions").asInt(), (short) 1);
                admin.createTopics(List.of(created.configs(settings(request.get("config"))))).all().get();
            }
            case "delete" -> admin.deleteTopics(List.of(topic)).all().get();
            case "grow" -> {
                NewPartitions grown = NewPartitions.increaseTo(request.get("partitions").asInt());
                admin.createPartitions(Map.of(topic, grown)).all().get();
            }
            case "trim" -> {
                RecordsToDelete before = RecordsToDelete.beforeOffset(request.get("offset").asLong());
                admin.deleteRecords(Map.of(partition, before)).all().get();
            }
            case "alter" -> {
                List<AlterConfigOp> changes = new ArrayList<>();
                settings(request.get("config")).forEach((name, value) ->
                    changes.add(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
                admin.incrementalAlterConfigs(Map.of(resource, changes)).all().get();
            }
            case "describe" -> {
                ObjectNode config = answer.putObject("config");
                admin.describeConfigs(List.of(resource)).all().get().get(resource).entries()
                    .forEach(entry -> config.put(entry.name(), entry.value()));
            }
            case "produce" -> produce(topic, request, answer.putArray("offsets"));
            case "read" -> read(partition, request.get("offset").asLong(), request.get("count").asInt(), answer);
            case "offsets" -> {
                OffsetSpec when = switch (request.get("when").asText()) {
                    case "earliest" -> OffsetSpec.earliest();
                    case "latest" -> OffsetSpec.latest();
                    default -> OffsetSpec.forTimestamp(request.get("when").asLong());
                };
                answer.put("offset", admin.listOffsets(Map.of(partition, when)).all().get().get(partition).offset());
            }
            case "stream" -> stream(topic, request.get("partitions").asInt(), request.get("count").asInt());
            case "join" -> new Member(bootstrap, topic, request).run(input);
            case "leave" -> { }
            default -> throw new IllegalArgumentException(operation);
        }
    }

    static Map<String, String> settings(JsonNode config) {
        Map<String, String> settings = new HashMap<>();
        config.fields().forEachRemaining(entry -> settings.put(entry.getKey(), entry.getValue().asText()));
        return settings;
    }

    KafkaProducer<byte[], byte[]> producer(Map<String, Object> settings) {
        Map<String, Object> all = new HashMap<>(settings);
        all.put("bootstrap.servers", bootstrap);
        return new KafkaProducer<>(all, new ByteArraySerializer(), new ByteArraySerializer());
    }

    void produce(String topic, JsonNode request, ArrayNode offsets) throws Exception {
        Map<String, Object> settings = Map.of(
            "acks", request.get("acks").asText(), "compression.type", request.get("codec").asText(),
            "enable.idempotence", request.get("idempotent").asBoolean(), "linger.ms", 20);
        try (KafkaProducer<byte[], byte[]> producer = producer(settings)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (JsonNode record : request.get("records")) {
                ProducerRecord<byte[], byte[]> produced = new ProducerRecord<>(
                    topic, record.get("partition").asInt(), record.get("time").asLong(),
                    record.get("key").binaryValue(), record.get("value").binaryValue());
                for (JsonNode header : record.get("headers")) {
                    produced.headers().add(header.get(0).asText(), header.get(1).binaryValue());
                }
                sent.add(producer.send(produced));
            }
            producer.flush();
            for (Future<RecordMetadata> one : sent) {
                offsets.add(one.get().offset());
            }
        }
    }

    void read(TopicPartition partition, long offset, int count, ObjectNode answer) {
        // Without this the consumer waits for a topic that is not there instead of saying so.
        if (!consumer.listTopics().containsKey(partition.topic())) {
            throw Errors.UNKNOWN_TOPIC_OR_PARTITION.exception();
        }
        consumer.assign(List.of(partition));
        consumer.seek(partition, offset);
        ArrayNode records = answer.putArray("records");
        long end = System.nanoTime() + SECONDS_MAX * 1_000_000_000;
        while (records.size() < count && System.nanoTime() < end) {
            for (ConsumerRecord<byte[], byte[]> found : consumer.poll(Duration.ofMillis(500))) {
                if (records.size() < count) {
                    describe(found, records.addObject());
                }
            }
        }
    }

    static void describe(ConsumerRecord<byte[], byte[]> found, ObjectNode record) {
        record.put("partition", found.partition()).put("offset", found.offset()).put("time", found.timestamp());
        record.put("key", found.key()).put("value", found.value());
        ArrayNode headers = record.putArray("headers");
        for (Header header : found.headers()) {
            headers.addArray().add(header.key()).add(header.value());
        }
    }

    void stream(String topic, int partitions, int count) throws Exception {
        Map<String, Object> settings = Map.of(
            "acks", "all", "enable.idempotence", true, "linger.ms", 1, "batch.size", 1000, "buffer.memory", 100_000,
            "reconnect.backoff.max.ms", 200, "retry.backoff.ms", 50, "retry.backoff.max.ms", 200);
        AtomicReference<Exception> failure = new AtomicReference<>();
        try (KafkaProducer<byte[], byte[]> producer = producer(settings)) {
            for (int sent = 0; sent < count; sent++) {
                int number = sent;
                byte[] value = Integer.toString(number).getBytes();
                producer.send(new ProducerRecord<>(topic, number % partitions, null, value), (metadata, error) -> {
                    if (error != null) {
                        failure.set(error);
                        return;
                    }
                    ObjectNode answer = JSON.createObjectNode();
                    answer.putArray("ack").add(number).add(metadata.offset());
                    say(answer);
                });
            }
        }
        if (failure.get() != null) {
            throw failure.get();
        }
    }
}
