import com.google.gson.Gson;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Does what it is asked, one JSON object a line, with the Java client; its argument is the bootstrap servers. */
public class Client {
  record Message(String topic, int partition, long offset, String key, String value) {}

  record Request(
      String op, String topic, List<Message> records, String codec, String transaction, boolean commit,
      String member, String group, String protocol, boolean committed, int partitions, short replicas) {}

  record Answer(String error, List<Message> records, List<String> brokers, long end) {}

  private static final Duration BOUND = Duration.ofSeconds(20);

  private final String bootstrap;
  private final Map<String, KafkaProducer<String, String>> transactional = new HashMap<>();
  private final Map<String, Member> members = new HashMap<>();

  Client(String bootstrap) {
    this.bootstrap = bootstrap;
  }

  public static void main(String[] args) throws Exception {
    Client client = new Client(args[0]);
    Gson gson = new Gson();
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      Answer answer;
      try {
        answer = client.answer(gson.fromJson(line, Request.class));
      } catch (Exception e) {
        e.printStackTrace();
        answer = new Answer(e.toString(), null, null, 0);
      }
      System.out.println(gson.toJson(answer));
    }
    client.close();
  }

  private Answer answer(Request r) throws Exception {
    switch (r.op) {
      case "produce":
        try (KafkaProducer<String, String> producer = producer(Map.of("compression.type", r.codec))) {
          return records(send(producer, r));
        }
      case "transact":
        return records(transact(r));
      case "join":
        members.put(r.member, new Member(r));
        return records(List.of());
      case "received":
        return records(members.get(r.member).received());
      case "leave":
        members.remove(r.member).leave();
        return records(List.of());
      case "admin":
        return admin(r);
      default:
        throw new IllegalArgumentException("unknown op " + r.op);
    }
  }

  private static Answer records(List<Message> records) {
    return new Answer(null, records, null, 0);
  }

  private KafkaProducer<String, String> producer(Map<String, Object> more) {
    Map<String, Object> config = new HashMap<>(more);
    config.put("bootstrap.servers", bootstrap);
    config.put("acks", "all");
    return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
  }

  private static List<Message> send(KafkaProducer<String, String> producer, Request r) throws Exception {
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    for (Message m : r.records) {
      sent.add(producer.send(new ProducerRecord<>(r.topic, m.key, m.value)));
    }
    producer.flush();
    List<Message> acknowledged = new ArrayList<>();
    for (int i = 0; i < sent.size(); i++) {
      RecordMetadata at = sent.get(i).get(BOUND.toSeconds(), TimeUnit.SECONDS);
      Message m = r.records.get(i);
      acknowledged.add(new Message(at.topic(), at.partition(), at.offset(), m.key, m.value));
    }
    return acknowledged;
  }

  private List<Message> transact(Request r) throws Exception {
    KafkaProducer<String, String> producer = transactional.get(r.transaction);
    if (producer == null) {
      producer = producer(Map.of("transactional.id", r.transaction));
      transactional.put(r.transaction, producer);
      producer.initTransactions();
    }
    producer.beginTransaction();
    List<Message> sent = send(producer, r);
    if (r.commit) {
      producer.commitTransaction();
    } else {
      producer.abortTransaction();
    }
    return sent;
  }

  private Answer admin(Request r) throws Exception {
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      create(admin, new NewTopic(r.topic, r.partitions, r.replicas));
      // Another broker may not have heard of the topic yet: send waits until the client's has.
      List<Message> sent;
      try (KafkaProducer<String, String> producer = producer(Map.of())) {
        sent = send(producer, r);
      }
      List<String> brokers = new ArrayList<>();
      for (Node node : admin.describeCluster().nodes().get()) {
        brokers.add(node.host() + ":" + node.port());
      }
      Map<TopicPartition, OffsetSpec> latest = new HashMap<>();
      for (int p = 0; p < r.partitions; p++) {
        latest.put(new TopicPartition(r.topic, p), OffsetSpec.latest());
      }
      long end = 0;
      for (var offset : admin.listOffsets(latest).all().get().values()) {
        end += offset.offset();
      }
      return new Answer(null, sent, brokers, end);
    }
  }

  /**
   * Creates a topic. kfake leaves the topic's settings out of its answer, which this client cannot read. The
   * topic is there all the same, as the offsets of all its partitions will show; real Kafka answers in full.
   */
  private static void create(Admin admin, NewTopic topic) throws Exception {
    try {
      admin.createTopics(List.of(topic)).all().get();
    } catch (ExecutionException e) {
      if (!(e.getCause() instanceof NullPointerException)) {
        throw e;
      }
    }
  }

  private void close() throws Exception {
    for (Member member : members.values()) {
      member.leave();
    }
    for (KafkaProducer<String, String> producer : transactional.values()) {
      producer.close(BOUND);
    }
  }

  /** One member of a consumer group, on a thread of its own: a consumer is not safe for concurrent use. */
  private class Member implements Runnable {
    private final Request request;
    private final Thread thread = new Thread(this, "member");
    private final List<Message> received = new ArrayList<>();
    private volatile boolean leaving;
    private Exception failed;

    Member(Request request) {
      this.request = request;
      thread.start();
    }

    @Override
    public void run() {
      Map<String, Object> config = new HashMap<>();
      config.put("bootstrap.servers", bootstrap);
      config.put("group.id", request.group);
      config.put("group.protocol", request.protocol);
      config.put("auto.offset.reset", "earliest");
      config.put("enable.auto.commit", false);
      config.put("isolation.level", request.committed ? "read_committed" : "read_uncommitted");
      if (request.protocol.equals("classic")) { // of a consumer group, the broker says how often
        config.put("heartbeat.interval.ms", 200);
      }
      try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
        consumer.subscribe(List.of(request.topic));
        while (!leaving) {
          List<Message> batch = new ArrayList<>();
          for (ConsumerRecord<String, String> r : consumer.poll(Duration.ofMillis(100))) {
            batch.add(new Message(r.topic(), r.partition(), r.offset(), r.key(), r.value()));
          }
          if (!batch.isEmpty()) {
            commit(consumer);
            synchronized (this) {
              received.addAll(batch);
            }
          }
        }
      } catch (Exception e) {
        synchronized (this) {
          failed = e;
        }
      }
    }

    private void commit(KafkaConsumer<String, String> consumer) {
      long until = System.nanoTime() + BOUND.toNanos();
      while (true) {
        try {
          consumer.commitSync();
          return;
        } catch (RetriableException e) {
          if (System.nanoTime() > until) {
            throw e;
          }
        }
      }
    }

    synchronized List<Message> received() throws Exception {
      if (failed != null) {
        throw failed;
      }
      return new ArrayList<>(received);
    }

    void leave() throws Exception {
      leaving = true;
      thread.join(BOUND.toMillis());
      if (thread.isAlive()) {
        throw new IllegalStateException("member does not leave");
      }
      received();
    }
  }
}
