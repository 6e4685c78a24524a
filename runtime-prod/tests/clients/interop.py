#!/usr/bin/env python3
"""One client against the broker, through the scenarios of scenarios.py.

`interop.py CLIENT [SCENARIO...]`. INTEROP_SERVED names the features that the broker is taken to serve, instead of those
of scenarios.py: `all`, `none`, or some, with commas between them.
"""

import os
import sys
import time

import scenarios
from agents import HERE, PYTHON, TARGET, Agent
from broker import Broker, Skipped, run

# How often a scenario is begun in which the client dies of a known bug of its own.
TRIES = 3
JAVA = sorted(TARGET.glob("java/*.jar"))


class Client:
    """How a client is started, what it needs of the broker in every scenario, and what it has not: a scenario that needs
    that is skipped with the reason."""

    def __init__(self, *command, needs=(), lacks=None, file=None, may_fall_silent=False, deaths=None):
        self.command = command
        # What install.sh makes last for it, where it may fail to.
        self.file = file
        self.needs = needs
        self.lacks = lacks or {}
        # Whether it was seen to stop all requests without an error: then a scenario in which it does gets one more process.
        self.may_fall_silent = may_fall_silent
        # What its process writes to its standard error where it dies of a known bug of its own, and which one that is:
        # then the scenario begins again with a new process. Any other death is a failure.
        self.deaths = deaths or {}

    def death(self, agent):
        """The known bug that the client's process died of, or none."""
        if not agent.dies():
            return None
        said = agent.wrote()
        return next((bug for words, bug in self.deaths.items() if words in said), None)


CLIENTS = {
    "librdkafka": Client(PYTHON, HERE / "librdkafka.py"),
    "librdkafka-2.0.2": Client(TARGET / "librdkafka-2.0.2/bin/python", HERE / "librdkafka.py", lacks={
        "deleting records": "confluent-kafka 2.0.2 can't delete records",
    }, deaths={
        "rd_kafka_sticky_assignor_state_destroy: Assertion `assignor_state' failed":
            "librdkafka before 2.3.0 aborts where a cooperative member leaves that has computed no assignment yet "
            "(confluentinc/librdkafka#4312, mended by #4381)",
    }),
    # Once in some forty runs of all scenarios a member of a group stopped all requests.
    "kafka-python": Client(PYTHON, HERE / "kafka_python.py", may_fall_silent=True, lacks={
        "neither key nor value": "kafka-python refuses a record without key and value",
        "null header values": "kafka-python refuses a header without a value",
    }),
    "aiokafka": Client(PYTHON, HERE / "aio.py", lacks={
        "cooperative rebalancing": "aiokafka has no incremental rebalancing",
        "deleting groups": "aiokafka can't delete groups",
        "neither key nor value": "aiokafka refuses a record without key and value",
        "setting offsets of groups": "aiokafka can't set the offsets of a group that it is no member of",
    }),
    "kafkajs": Client("env", f"NODE_PATH={TARGET / 'node/node_modules'}", "node", HERE / "kafkajs.js",
                      file=TARGET / "node/node_modules/kafkajs", needs=["groups"], lacks={
        "static members": "kafkajs has no group.instance.id",
        "cooperative rebalancing": "kafkajs has no incremental rebalancing",
        "null header values": "kafkajs refuses a header without a value",
    }),
    "sarama": Client(TARGET / "go/sarama", file=TARGET / "go/sarama", lacks={
        "static members": "this sarama has no group.instance.id",
        "cooperative rebalancing": "sarama has no incremental rebalancing",
        "pausing": "this sarama can't pause a partition",
        "deleting groups": "this sarama can't delete groups",
        "idempotence through errors": "this sarama sends batches in another order after an error",
        "zstd": "this sarama sends zstd by Produce v3, which no broker takes",
        "describing configs": "this sarama asks by DescribeConfigs v0, which Kafka 4 does not serve either",
    }),
    "java": Client("java", "-XX:TieredStopAtLevel=1", "-Xmx512m", "-cp", ":".join(map(str, [TARGET / "java", *JAVA])),
                   "Agent", file=TARGET / "java/Agent.class"),
}


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in CLIENTS:
        sys.exit(f"{__doc__}\nClients: {', '.join(CLIENTS)}")
    name = sys.argv.pop(1)
    sys.argv[0] = f"interop-{name}.py"
    client = CLIENTS[name]
    if client.file is not None and not client.file.exists():
        print(f"skipped: {name} could not be installed; install.sh says why")
        print(f"interop-{name}: 0 passed, 0 failed, 1 skipped")
        return
    served = features()
    shared = Broker(wal_size="256MiB", arguments=os.environ.get("INTEROP_BROKER", "--check-invariants").split())
    agent = Agent(client.command, shared.address)
    begun = time.monotonic()
    run(*[told(scenario, client, served, agent) for scenario in scenarios.SCENARIOS], shared=shared,
        after=lambda: print(f"  {name}: {time.monotonic() - begun:.1f} s in all"))


def features():
    said = os.environ.get("INTEROP_SERVED")
    if said is None:
        return scenarios.SERVED
    known = {need for scenario in scenarios.SCENARIOS for need in scenario.needs}
    served = known if said == "all" else set() if said == "none" else set(said.split(","))
    if not served <= known:
        sys.exit(f"INTEROP_SERVED: no scenario needs {sorted(served - known)}; known are {sorted(known)}")
    return served


def told(scenario, client, served, agent):
    """A test that carries out the scenario with this client."""
    def test(broker):
        for need in (*client.needs, *scenario.needs):
            if need not in served:
                raise Skipped(f"needs {need}, which the broker does not serve yet")
        for need in scenario.of_client:
            if need in client.lacks:
                raise Skipped(client.lacks[need])
        for left in reversed(range(TRIES)):
            try:
                return carry_out(scenario, broker, agent)
            except Skipped:
                raise
            except Exception as failure:
                why = client.death(agent)
                if client.may_fall_silent and isinstance(failure, scenarios.Silent) and left == TRIES - 1:
                    # A broker that does not answer does so again.
                    why = str(failure)
                print(f"  what the client wrote to its standard error:\n{agent.tail()}")
                agent.kill()
                if why is None or left == 0:
                    raise
                print(f"  ONCE MORE, with a new process: {scenario.__name__}: {why}\n{broker.log_tail()}")
    test.__name__ = scenario.__name__
    return test


def carry_out(scenario, broker, agent):
    if not broker.alive():
        broker.start()
    if not agent.alive():
        print(f"  {agent.start()}")
    scenario(broker, agent)
    agent.call("reset")


if __name__ == "__main__":
    main()
