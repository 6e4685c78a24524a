"""What kafka-python's admin client hears of a cluster: `questions.py HOST:PORT TOPIC GROUP`. One JSON object: an answer for
each question, or the name of the error."""

import json
import sys

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import (ACL, ACLFilter, ACLOperation, ACLPermissionType, ACLResourcePatternType, ResourcePattern,
                         ResourcePatternFilter, ResourceType)
from kafka.errors import KafkaError, NoError


def main(address, topic, group):
    admin = KafkaAdminClient(bootstrap_servers=address)
    answers = {}

    def ask(name, question):
        try:
            answers[name] = question()
        except KafkaError as error:
            answers[name] = type(error).__name__

    def log_dirs():
        [broker] = admin.describe_log_dirs()
        return {place["log_dir"]: {f"{t['name']}-{p['partition_index']}": p["partition_size"]
                                   for t in place["topics"] for p in t["partitions"]}
                for place in broker["log_dirs"]}

    def moved(replicas):
        [error] = admin.alter_partition_reassignments({TopicPartition(topic, 0): replicas}).values()
        return "" if error is None else error.__name__

    def elected(named):
        answer = admin.elect_leaders(0, named, raise_errors=False)
        return {f"{t.topic}-{p.partition_id}": p.error_code
                for t in answer.replica_election_results for p in t.partition_result}

    def producers():
        [told] = admin.describe_producers([TopicPartition(topic, 0)]).values()
        return [[one.producer_epoch, one.last_sequence] for one in told.active_producers]

    everything = ACLFilter(principal=None, host="*", operation=ACLOperation.ANY, permission_type=ACLPermissionType.ANY,
                           resource_pattern=ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY))
    rule = ACL(principal="User:a", host="*", operation=ACLOperation.READ, permission_type=ACLPermissionType.ALLOW,
               resource_pattern=ResourcePattern(ResourceType.TOPIC, topic))
    ask("log dirs", log_dirs)
    ask("some log dirs", lambda: [len(place["topics"]) for place in admin.describe_log_dirs({"missing": [0]})[0]["log_dirs"]])
    ask("move away", lambda: moved([0, 1]))
    ask("move nowhere", lambda: moved([0]))
    ask("stop moving", lambda: moved(None))
    ask("reassignments", lambda: admin.list_partition_reassignments())
    ask("elect", lambda: elected({topic: [0, 9], "missing": [0]}))
    ask("producers", producers)
    ask("transactions", lambda: list(admin.list_transactions().values()))
    ask("users", lambda: admin.describe_user_scram_credentials())
    ask("user", lambda: admin.describe_user_scram_credentials(["a"])["a"]["error"] is not None)
    ask("acls", lambda: str(admin.describe_acls(everything)[1].__name__))
    ask("create acl", lambda: len(admin.create_acls([rule])["failed"]))
    ask("on group", lambda: admin.describe_groups([group], include_authorized_operations=True)[group])
    ask("on cluster", lambda: sorted(admin.describe_cluster()["authorized_operations"]))
    print(json.dumps(answers, default=str))


assert NoError.errno == 0
main(*sys.argv[1:])
