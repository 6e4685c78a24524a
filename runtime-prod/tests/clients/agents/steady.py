"""kafka-python, in a process of its own: one idempotent producer that writes more whenever it is told how much.

    steady.py ADDRESS TOPIC        each line of stdin is a number of records; each line of stdout what came of them
"""

import sys

from kafka import KafkaProducer


def main(address, topic):
    client = KafkaProducer(bootstrap_servers=address, acks="all", enable_idempotence=True, linger_ms=0, batch_size=400,
                           retry_backoff_ms=50, delivery_timeout_ms=60_000)
    count = 0
    for line in sys.stdin:
        sent = [client.send(topic, b"steady/%d/" % n, partition=0) for n in range(count, count + int(line))]
        count += len(sent)
        client.flush(60)
        failed = [str(future.exception) for future in sent if not future.succeeded()]
        print(failed[0] if failed else "written", flush=True)


main(*sys.argv[1:])
