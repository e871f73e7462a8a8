"""Does what it is asked, one JSON object a line, with librdkafka; its argument is the bootstrap servers."""

import json
import sys
import threading
import time
import traceback

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

BOUND = 20  # seconds

# "broker" tells of every connection that is made.
COMMON = {"bootstrap.servers": sys.argv[1], "debug": "broker"}


def main():
    client = Client()
    for line in sys.stdin:
        try:
            request = json.loads(line)
            answer = getattr(client, request["op"])(request) or {}
        except Exception as e:
            traceback.print_exc()
            answer = {"error": repr(e)}
        print(json.dumps(answer), flush=True)
    for member in client.members.values():
        member.leave()


def message(m):
    if m.error():
        raise KafkaException(m.error())
    return {
        "topic": m.topic(),
        "partition": m.partition(),
        "offset": m.offset(),
        "key": m.key().decode(),
        "value": m.value().decode(),
    }


def send(producer, request):
    reports = []
    for r in request["records"]:
        producer.produce(request["topic"], r["value"], r["key"], on_delivery=lambda err, m: reports.append((err, m)))
    left = producer.flush(BOUND)
    if left or len(reports) != len(request["records"]):
        raise TimeoutError(f"{left} records not delivered, {len(reports)} reported")
    for err, _ in reports:
        if err:
            raise KafkaException(err)
    return [message(m) for _, m in reports]


class Client:
    def __init__(self):
        self.transactional = {}
        self.members = {}

    def produce(self, r):
        return {"records": send(Producer(COMMON | {"acks": "all", "compression.type": r["codec"]}), r)}

    def transact(self, r):
        producer = self.transactional.get(r["transaction"])
        if producer is None:
            producer = Producer(COMMON | {"transactional.id": r["transaction"]})
            producer.init_transactions(BOUND)
            self.transactional[r["transaction"]] = producer
        producer.begin_transaction()
        sent = send(producer, r)
        if r["commit"]:
            producer.commit_transaction(BOUND)
        else:
            producer.abort_transaction(BOUND)
        return {"records": sent}

    def join(self, r):
        self.members[r["member"]] = Member(r)

    def received(self, r):
        return {"records": self.members[r["member"]].so_far()}

    def leave(self, r):
        self.members.pop(r["member"]).leave()

    def admin(self, r):
        admin = AdminClient(COMMON)
        created = admin.create_topics([NewTopic(r["topic"], r["partitions"], r["replicas"])], operation_timeout=BOUND)
        for future in created.values():
            future.result(BOUND)
        # Another broker may not have heard of the topic yet: send waits until the client's has.
        sent = send(Producer(COMMON | {"acks": "all"}), r)
        nodes = admin.describe_cluster(request_timeout=BOUND).result(BOUND).nodes
        latest = {TopicPartition(r["topic"], p): OffsetSpec.latest() for p in range(r["partitions"])}
        ends = [future.result(BOUND).offset for future in admin.list_offsets(latest, request_timeout=BOUND).values()]
        return {"records": sent, "brokers": [f"{n.host}:{n.port}" for n in nodes], "end": sum(ends)}


class Member(threading.Thread):
    """One member of a consumer group."""

    def __init__(self, request):
        super().__init__(daemon=True)
        config = COMMON | {
            "group.id": request["group"],
            "group.protocol": request["protocol"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed" if request["committed"] else "read_uncommitted",
        }
        if request["protocol"] == "classic":  # of a consumer group, the broker says how often
            config["heartbeat.interval.ms"] = 200
        self.consumer = Consumer(config)
        self.consumer.subscribe([request["topic"]])
        self.leaving = threading.Event()
        self.lock = threading.Lock()
        self.records = []
        self.failed = None
        self.start()

    def run(self):
        try:
            while not self.leaving.is_set():
                batch = [message(m) for m in self.consumer.consume(100, 0.1)]
                if batch:
                    self.commit()
                    with self.lock:
                        self.records += batch
        except Exception as e:
            traceback.print_exc()
            self.failed = e
        finally:
            self.consumer.close()

    def commit(self):
        until = time.monotonic() + BOUND
        while True:
            try:
                self.consumer.commit(asynchronous=False)
                return
            except KafkaException as e:
                if not e.args[0].retriable() or time.monotonic() > until:
                    raise

    def so_far(self):
        if self.failed:
            raise self.failed
        with self.lock:
            return list(self.records)

    def leave(self):
        self.leaving.set()
        self.join(BOUND)
        if self.is_alive():
            raise TimeoutError("member does not leave")
        self.so_far()


main()
