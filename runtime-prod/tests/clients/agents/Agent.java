import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/** The agent of the Apache Kafka Java client. */
public final class Agent {
    private static final int LONG = 65_536;
    private static final long PATIENCE = 110;
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Map<String, Member> members = new ConcurrentHashMap<>();
    private final Semaphore gate = new Semaphore(0);
    private String address;
    private Admin admin;

    public static void main(String[] arguments) throws Exception {
        JSON.getFactory().setStreamReadConstraints(
            StreamReadConstraints.builder().maxStringLength(Integer.MAX_VALUE).build());
        PrintStream out = System.out;
        System.setOut(System.err);
        Agent agent = new Agent();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonNode request = JSON.readTree(line);
            Thread thread = new Thread(() -> answer(agent, request, out));
            thread.setDaemon(true);
            thread.start();
        }
        Runtime.getRuntime().halt(0);
    }

    private static void answer(Agent agent, JsonNode request, PrintStream out) {
        ObjectNode reply = JSON.createObjectNode().put("id", request.get("id").asLong());
        try {
            reply.set("result", JSON.valueToTree(agent.call(request.get("call").asText(), request.get("args"))));
        } catch (Throwable error) {
            Throwable cause = error;
            while ((cause instanceof ExecutionException) && cause.getCause() != null) {
                cause = cause.getCause();
            }
            Errors known = Errors.forException(cause);
            ObjectNode said = reply.putObject("error");
            if (known == Errors.UNKNOWN_SERVER_ERROR) {
                said.putNull("code");
            } else {
                said.put("code", known.code());
            }
            said.put("text", cause.toString());
        }
        synchronized (out) {
            out.print(reply + "\n");
            out.flush();
        }
    }

    private Object call(String call, JsonNode args) throws Exception {
        switch (call) {
            case "start": return start(args.get("address").asText());
            case "produce": return produce(args);
            case "go": gate.release(); return null;
            case "open": return open(args);
            case "poll": return member(args).take(args.get("most").asInt(), args.get("wait_ms").asLong());
            case "assignment": return assignment(member(args));
            case "events": return new ArrayList<>(member(args).events);
            case "seek": return seek(member(args), partition(args), args.get("offset").asLong());
            case "pause": return member(args).order(client -> client.pause(List.of(partition(args))));
            case "resume": return member(args).order(client -> client.resume(List.of(partition(args))));
            case "commit": return commit(member(args), args.get("offsets"));
            case "close": return close(args.get("name").asText());
            case "reset": return reset();
            default: return administer(call, args);
        }
    }

    private Object administer(String call, JsonNode args) throws Exception {
        switch (call) {
            case "at_time": return atTime(partition(args), args.get("timestamp").asLong());
            case "ends": return List.of(end(partition(args), OffsetSpec.earliest()), end(partition(args), OffsetSpec.latest()));
            case "create_topic": return createTopic(args);
            case "delete_topic": return done(admin.deleteTopics(List.of(args.get("name").asText())).all());
            case "grow": return done(admin.createPartitions(Map.of(args.get("name").asText(),
                NewPartitions.increaseTo(args.get("partitions").asInt()))).all());
            case "topics": return topics();
            case "delete_records": return get(admin.deleteRecords(Map.of(partition(args),
                RecordsToDelete.beforeOffset(args.get("before").asLong()))).lowWatermarks().get(partition(args))).lowWatermark();
            case "topic_configs": return configs(ConfigResource.Type.TOPIC, args.get("name").asText());
            case "broker_configs": return configs(ConfigResource.Type.BROKER, args.get("node").asText());
            case "set_topic_config": return setTopicConfig(args);
            default: return administerGroups(call, args, args.path("group").asText());
        }
    }

    private Object administerGroups(String call, JsonNode args, String group) throws Exception {
        switch (call) {
            case "committed": {
                Map<TopicPartition, OffsetAndMetadata> found =
                    get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
                OffsetAndMetadata offset = found.get(partition(args));
                return offset == null ? null : offset.offset();
            }
            case "groups": {
                List<String> names = new ArrayList<>();
                get(admin.listConsumerGroups().all()).forEach(one -> names.add(one.groupId()));
                return names;
            }
            case "describe_group": {
                var found = get(admin.describeConsumerGroups(List.of(group)).describedGroups().get(group));
                return Map.of("state", found.state().toString(), "members", found.members().size());
            }
            case "delete_group": return done(admin.deleteConsumerGroups(List.of(group)).all());
            case "set_group_offset": return done(admin.alterConsumerGroupOffsets(group,
                Map.of(partition(args), new OffsetAndMetadata(args.get("offset").asLong()))).all());
            case "group_offsets": {
                List<List<Object>> offsets = new ArrayList<>();
                get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata()).entrySet().stream()
                    .filter(one -> one.getValue() != null)
                    .sorted((a, b) -> Integer.compare(a.getKey().partition(), b.getKey().partition()))
                    .forEach(one -> offsets.add(
                        List.of(one.getKey().topic(), one.getKey().partition(), one.getValue().offset())));
                return offsets;
            }
            default: throw new IllegalArgumentException("no such call: " + call);
        }
    }

    private String start(String address) {
        this.address = address;
        Properties config = config();
        config.put("default.api.timeout.ms", "100000");
        admin = Admin.create(config);
        return "Apache Kafka Java client " + AppInfoParser.getVersion() + ", Java " + System.getProperty("java.version");
    }

    private Properties config() {
        Properties config = new Properties();
        config.put("bootstrap.servers", address);
        config.put("reconnect.backoff.ms", "20");
        config.put("reconnect.backoff.max.ms", "200");
        config.put("retry.backoff.ms", "50");
        return config;
    }

    private Object produce(JsonNode args) throws Exception {
        Properties config = config();
        int most = args.path("most").asInt(1_000_000);
        config.put("acks", "all");
        config.put("compression.type", args.path("codec").asText("none"));
        config.put("enable.idempotence", String.valueOf(args.path("idempotent").asBoolean(false)));
        config.put("max.request.size", String.valueOf(most + 1000));
        config.put("buffer.memory", String.valueOf(Math.max(33_554_432, 2 * most)));
        config.put("linger.ms", "5");
        config.put("delivery.timeout.ms", "110000");
        String topic = args.get("topic").asText();
        JsonNode pace = args.path("pace");
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var client = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (JsonNode one : args.get("records")) {
                List<Header> headers = new ArrayList<>();
                for (JsonNode header : one.get("h")) {
                    headers.add(new RecordHeader(header.get(0).asText(), dataIn(header.get(1))));
                }
                Long time = one.get("t").isNull() ? null : one.get("t").asLong();
                sent.add(client.send(new ProducerRecord<>(topic, one.get("p").asInt(), time, dataIn(one.get("k")),
                    dataIn(one.get("v")), headers)));
                if (pace.isObject() && sent.size() % pace.get("chunk").asInt() == 0) {
                    Thread.sleep(pace.get("ms").asLong());
                    for (JsonNode halt : pace.get("halts")) {
                        if (halt.asInt() == sent.size()) {
                            gate.acquire();
                        }
                    }
                }
            }
            client.flush();
        }
        List<Object> answers = new ArrayList<>();
        for (Future<RecordMetadata> one : sent) {
            try {
                answers.add(Map.of("offset", one.get(PATIENCE, TimeUnit.SECONDS).offset()));
            } catch (ExecutionException error) {
                answers.add(Map.of("error", error.getCause().toString()));
            }
        }
        return answers;
    }

    private Object open(JsonNode args) {
        Properties config = config();
        JsonNode group = args.path("group");
        boolean cooperative = args.path("strategy").asText().equals("cooperative");
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", args.path("reset").asText("earliest"));
        config.put("max.partition.fetch.bytes", args.path("most").asText("1048576"));
        config.put("session.timeout.ms", "30000");
        config.put("heartbeat.interval.ms", "500");
        config.put("fetch.max.wait.ms", "200");
        config.put("default.api.timeout.ms", "100000");
        config.put("partition.assignment.strategy",
            (cooperative ? CooperativeStickyAssignor.class : RangeAssignor.class).getName());
        if (group.isTextual()) {
            config.put("group.id", group.asText());
        }
        if (args.path("instance").isTextual()) {
            config.put("group.instance.id", args.get("instance").asText());
        }
        Member member = new Member(new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer()));
        if (group.isTextual()) {
            List<String> topics = new ArrayList<>();
            args.get("topics").forEach(topic -> topics.add(topic.asText()));
            member.client.subscribe(topics, member);
        } else {
            List<TopicPartition> all = new ArrayList<>();
            args.get("assign").forEach(one -> all.add(new TopicPartition(one.get(0).asText(), one.get(1).asInt())));
            member.client.assign(all);
            for (JsonNode one : args.get("assign")) {
                TopicPartition where = new TopicPartition(one.get(0).asText(), one.get(1).asInt());
                switch (one.get(2).asInt()) {
                    case -2: member.client.seekToBeginning(List.of(where)); break;
                    case -1: member.client.seekToEnd(List.of(where)); break;
                    default: member.client.seek(where, one.get(2).asLong());
                }
            }
        }
        members.put(args.get("name").asText(), member);
        member.start();
        return null;
    }

    private Member member(JsonNode args) {
        return members.get(args.get("name").asText());
    }

    private Object assignment(Member member) throws Exception {
        List<List<Object>> held = new ArrayList<>();
        member.order(client -> client.assignment().forEach(one -> held.add(List.of(one.topic(), one.partition()))));
        held.sort((a, b) -> (a.get(0) + "/" + a.get(1)).compareTo(b.get(0) + "/" + b.get(1)));
        return held;
    }

    private Object seek(Member member, TopicPartition where, long offset) throws Exception {
        return member.order(client -> {
            client.seek(where, offset);
            member.drop(where);
        });
    }

    private Object commit(Member member, JsonNode offsets) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> wanted = new HashMap<>();
        offsets.forEach(one -> wanted.put(new TopicPartition(one.get(0).asText(), one.get(1).asInt()),
            new OffsetAndMetadata(one.get(2).asLong())));
        return member.order(client -> client.commitSync(wanted, Duration.ofSeconds(20)));
    }

    private Object close(String name) throws Exception {
        members.remove(name).end();
        return null;
    }

    private Object reset() throws Exception {
        for (String name : List.copyOf(members.keySet())) {
            close(name);
        }
        return null;
    }

    private Object atTime(TopicPartition where, long timestamp) throws Exception {
        long offset = end(where, OffsetSpec.forTimestamp(timestamp));
        return offset < 0 ? null : offset;
    }

    private long end(TopicPartition where, OffsetSpec which) throws Exception {
        return get(admin.listOffsets(Map.of(where, which)).partitionResult(where)).offset();
    }

    private Object createTopic(JsonNode args) throws Exception {
        Map<String, String> configs = new HashMap<>();
        args.path("configs").fields().forEachRemaining(one -> configs.put(one.getKey(), one.getValue().asText()));
        NewTopic topic = new NewTopic(args.get("name").asText(), args.get("partitions").asInt(), (short) 1);
        return done(admin.createTopics(List.of(topic.configs(configs))).all());
    }

    private Object topics() throws Exception {
        Map<String, Integer> found = new HashMap<>();
        for (String name : get(admin.listTopics().names())) {
            try {
                found.put(name, get(admin.describeTopics(List.of(name)).allTopicNames()).get(name).partitions().size());
            } catch (ExecutionException error) {
                // It went in between.
                if (Errors.forException(error.getCause()) != Errors.UNKNOWN_TOPIC_OR_PARTITION) {
                    throw error;
                }
            }
        }
        return found;
    }

    private Object configs(ConfigResource.Type type, String name) throws Exception {
        ConfigResource resource = new ConfigResource(type, name);
        Map<String, String> found = new HashMap<>();
        get(admin.describeConfigs(List.of(resource)).all()).get(resource).entries()
            .forEach(entry -> found.put(entry.name(), entry.value()));
        return found;
    }

    private Object setTopicConfig(JsonNode args) throws Exception {
        ConfigEntry entry = new ConfigEntry(args.get("key").asText(), args.get("value").asText());
        return done(admin.incrementalAlterConfigs(Map.of(
            new ConfigResource(ConfigResource.Type.TOPIC, args.get("name").asText()),
            List.of(new AlterConfigOp(entry, AlterConfigOp.OpType.SET)))).all());
    }

    private static <T> T get(Future<T> future) throws Exception {
        return future.get(PATIENCE, TimeUnit.SECONDS);
    }

    private static Object done(Future<?> future) throws Exception {
        get(future);
        return null;
    }

    private static TopicPartition partition(JsonNode args) {
        return new TopicPartition(args.get("topic").asText(), args.get("p").asInt());
    }

    private static byte[] dataIn(JsonNode said) {
        if (said.isNull()) {
            return null;
        }
        if (said.isTextual()) {
            return Base64.getDecoder().decode(said.asText());
        }
        byte[] block = (said.get("seed").asText() + ",").getBytes(StandardCharsets.UTF_8);
        byte[] data = new byte[said.get("n").asInt()];
        for (int at = 0; at < data.length; at++) {
            data[at] = block[at % block.length];
        }
        return data;
    }

    private static Object dataOut(byte[] data) {
        if (data == null || data.length <= LONG) {
            return data == null ? null : Base64.getEncoder().encodeToString(data);
        }
        try {
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(data);
            return Map.of("n", data.length, "sha256", HexFormat.of().formatHex(digest));
        } catch (java.security.NoSuchAlgorithmException impossible) {
            throw new AssertionError("every Java has SHA-256", impossible);
        }
    }

    /** What a member does for a call, in its own thread. */
    private interface Order {
        void carryOut(KafkaConsumer<byte[], byte[]> client);
    }

    /** A consumer that only its own thread touches: it polls all the time and does what it is told in between. */
    private static final class Member extends Thread implements ConsumerRebalanceListener {
        private final KafkaConsumer<byte[], byte[]> client;
        private final ArrayDeque<ObjectNode> records = new ArrayDeque<>();
        private final List<String> errors = new ArrayList<>();
        private final ConcurrentLinkedQueue<Object> events = new ConcurrentLinkedQueue<>();
        private final ConcurrentLinkedQueue<Callable<Void>> orders = new ConcurrentLinkedQueue<>();
        private volatile boolean closing;

        Member(KafkaConsumer<byte[], byte[]> client) {
            this.client = client;
            setDaemon(true);
        }

        @Override
        public void run() {
            while (!closing) {
                try {
                    Callable<Void> order = orders.poll();
                    if (order != null) {
                        order.call();
                        continue;
                    }
                    client.poll(Duration.ofMillis(100)).forEach(this::put);
                } catch (Exception error) {
                    synchronized (records) {
                        errors.add(error.toString());
                    }
                    try {
                        Thread.sleep(100);
                    } catch (InterruptedException interrupted) {
                        return;
                    }
                }
            }
        }

        private void put(ConsumerRecord<byte[], byte[]> found) {
            ObjectNode said = JSON.createObjectNode();
            said.put("topic", found.topic()).put("p", found.partition()).put("o", found.offset()).put("t", found.timestamp());
            said.set("k", JSON.valueToTree(dataOut(found.key())));
            said.set("v", JSON.valueToTree(dataOut(found.value())));
            ArrayNode headers = said.putArray("h");
            for (Header header : found.headers()) {
                headers.addArray().add(header.key()).add(JSON.<JsonNode>valueToTree(dataOut(header.value())));
            }
            synchronized (records) {
                records.add(said);
                records.notifyAll();
            }
        }

        Object take(int most, long waitMs) throws InterruptedException {
            long deadline = System.nanoTime() + waitMs * 1_000_000;
            synchronized (records) {
                while (records.isEmpty() && System.nanoTime() < deadline) {
                    records.wait(Math.max((deadline - System.nanoTime()) / 1_000_000, 1));
                }
                List<ObjectNode> taken = new ArrayList<>();
                while (!records.isEmpty() && taken.size() < most) {
                    taken.add(records.poll());
                }
                List<String> said = List.copyOf(errors);
                errors.clear();
                return Map.of("records", taken, "errors", said);
            }
        }

        void drop(TopicPartition where) {
            synchronized (records) {
                records.removeIf(one -> one.get("topic").asText().equals(where.topic())
                    && one.get("p").asInt() == where.partition());
            }
        }

        Object order(Order order) throws Exception {
            CompletableFuture<Void> done = new CompletableFuture<>();
            orders.add(() -> {
                try {
                    order.carryOut(client);
                    done.complete(null);
                } catch (Exception error) {
                    done.completeExceptionally(error);
                }
                return null;
            });
            return get(done);
        }

        void end() throws Exception {
            order(one -> {
                closing = true;
                one.close(Duration.ofSeconds(10));
            });
            join(PATIENCE * 1000);
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            note("assigned", partitions);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            note("revoked", partitions);
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            note("lost", partitions);
        }

        private void note(String kind, Collection<TopicPartition> partitions) {
            List<Object> said = new ArrayList<>();
            partitions.forEach(one -> said.add(List.of(one.topic(), one.partition())));
            events.add(List.of(kind, said));
        }
    }
}
