// What Java's admin client, by which kafka-ui, AKHQ and Kafka's own tools ask, hears of a cluster: `Questions HOST:PORT TOPIC
// GROUP`. One JSON object: an answer for each question, or the name of the error.

import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.acl.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.resource.*;

public class Questions {
    interface Question {
        Object answer() throws Exception;
    }

    static final Map<String, Object> ANSWERS = new LinkedHashMap<>();

    static void ask(String name, Question question) {
        try {
            ANSWERS.put(name, question.answer());
        } catch (Exception error) {
            Throwable cause = error.getCause() == null ? error : error.getCause();
            ANSWERS.put(name, cause.getClass().getSimpleName());
        }
    }

    static List<String> names(Collection<AclOperation> operations) {
        return operations == null ? null : operations.stream().map(Enum::name).sorted().toList();
    }

    public static void main(String[] arguments) throws Exception {
        String topic = arguments[1], group = arguments[2];
        TopicPartition first = new TopicPartition(topic, 0), missing = new TopicPartition("missing", 0);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", arguments[0], "default.api.timeout.ms", 20000,
                "request.timeout.ms", 10000))) {
            ask("log dirs", () -> {
                Map<String, Object> told = new TreeMap<>();
                admin.describeLogDirs(List.of(0)).allDescriptions().get().get(0).forEach((place, dir) -> {
                    Map<String, Long> sizes = new TreeMap<>();
                    dir.replicaInfos().forEach((at, info) -> sizes.put(at.toString(), info.size()));
                    told.put(place, Map.of("sizes", sizes, "has a size", dir.totalBytes().isPresent()));
                });
                return told;
            });
            ask("replica log dirs", () -> {
                TopicPartitionReplica replica = new TopicPartitionReplica(topic, 0, 0);
                return admin.describeReplicaLogDirs(List.of(replica)).all().get().get(replica).getCurrentReplicaLogDir();
            });
            ask("reassignments", () -> admin.listPartitionReassignments().reassignments().get().size());
            ask("move away", () -> {
                var away = Optional.of(new NewPartitionReassignment(List.of(0, 1)));
                return String.valueOf(admin.alterPartitionReassignments(Map.of(first, away)).all().get());
            });
            ask("move nowhere", () -> {
                var here = Optional.of(new NewPartitionReassignment(List.of(0)));
                return String.valueOf(admin.alterPartitionReassignments(Map.of(first, here)).all().get());
            });
            ask("stop moving", () -> String.valueOf(
                    admin.alterPartitionReassignments(Map.of(first, Optional.empty())).all().get()));
            ask("elect", () -> {
                Map<String, String> told = new TreeMap<>();
                admin.electLeaders(ElectionType.PREFERRED, Set.of(first, missing)).partitions().get().forEach((at, error) ->
                        told.put(at.toString(), error.map(found -> found.getClass().getSimpleName()).orElse("")));
                return told;
            });
            ask("elect all", () -> admin.electLeaders(ElectionType.UNCLEAN, null).partitions().get().size());
            ask("producers", () -> admin.describeProducers(List.of(first)).all().get().get(first).activeProducers().stream()
                    .map(one -> List.of(one.producerEpoch(), one.lastSequence(),
                            one.currentTransactionStartOffset().isPresent())).toList());
            ask("transactions", () -> admin.listTransactions().all().get().size());
            ask("transaction", () -> admin.describeTransactions(List.of("none")).all().get().size());
            ask("acls", () -> admin.describeAcls(AclBindingFilter.ANY).values().get().size());
            AclBinding binding = new AclBinding(new ResourcePattern(ResourceType.TOPIC, topic, PatternType.LITERAL),
                    new AccessControlEntry("User:a", "*", AclOperation.READ, AclPermissionType.ALLOW));
            ask("create acl", () -> String.valueOf(admin.createAcls(List.of(binding)).all().get()));
            ask("delete acl", () -> admin.deleteAcls(List.of(AclBindingFilter.ANY)).all().get().size());
            ask("quotas", () -> admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get().size());
            ask("users", () -> admin.describeUserScramCredentials().users().get().size());
            ask("features", () -> admin.describeFeatures().featureMetadata().get().finalizedFeatures().size());
            ask("on cluster", () -> names(admin.describeCluster(
                    new DescribeClusterOptions().includeAuthorizedOperations(true)).authorizedOperations().get()));
            ask("on cluster, unasked", () -> names(admin.describeCluster().authorizedOperations().get()));
            ask("on topic", () -> names(admin.describeTopics(List.of(topic),
                    new DescribeTopicsOptions().includeAuthorizedOperations(true)).allTopicNames().get().get(topic)
                    .authorizedOperations()));
            ask("on group", () -> names(admin.describeConsumerGroups(List.of(group),
                    new DescribeConsumerGroupsOptions().includeAuthorizedOperations(true)).all().get().get(group)
                    .authorizedOperations()));
            ask("own topic", () -> String.valueOf(
                    admin.createTopics(List.of(new NewTopic("__transaction_state", 50, (short) 1))).all().get()));
            ask("throttle", () -> {
                ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
                ConfigEntry entry = new ConfigEntry("leader.replication.throttled.replicas", "0:0");
                admin.incrementalAlterConfigs(Map.of(resource,
                        List.of(new AlterConfigOp(entry, AlterConfigOp.OpType.APPEND)))).all().get();
                return admin.describeConfigs(List.of(resource)).all().get().get(resource).get(entry.name()).value();
            });
        }
        System.out.println(new ObjectMapper().writeValueAsString(ANSWERS));
    }
}
