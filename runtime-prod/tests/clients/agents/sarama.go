// The agent of sarama.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Shopify/sarama"
)

const (
	long     = 65536
	patience = 110 * time.Second
)

type data = json.RawMessage

type record struct {
	P int32            `json:"p"`
	K data             `json:"k"`
	V data             `json:"v"`
	H [][2]interface{} `json:"h"`
	T *int64           `json:"t"`
}

type place struct {
	topic  string
	p      int32
	offset int64
}

// UnmarshalJSON reads [topic, partition, offset].
func (w *place) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]interface{}{&w.topic, &w.p, &w.offset})
}

type arguments struct {
	Address    string
	Topic      string
	Records    []record
	Codec      string
	Idempotent bool
	Most       int
	Pace       *struct {
		Chunk, Ms int
		Halts     []int
	}
	Name       string
	Assign     []place
	Group      string
	Topics     []string
	Reset      string
	WaitMs     int `json:"wait_ms"`
	P          int32
	Offset     int64
	Offsets    []place
	Timestamp  int64
	Partitions int32
	Configs    map[string]string
	Before     int64
	Node       int
	Key, Value string
}

type agent struct {
	address string
	gate    chan struct{}
	lock    sync.Mutex
	open    map[string]*consumer
	admin   sarama.ClusterAdmin
}

func main() {
	a := &agent{gate: make(chan struct{}, 1000), open: map[string]*consumer{}}
	var out sync.Mutex
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			os.Exit(0)
		}
		go func() {
			var request struct {
				ID   int64
				Call string
				Args arguments
			}
			reply := map[string]interface{}{}
			if err := json.Unmarshal(line, &request); err != nil {
				panic(err)
			}
			reply["id"] = request.ID
			result, err := a.call(request.Call, request.Args)
			if err != nil {
				reply["error"] = map[string]interface{}{"code": codeOf(err), "text": err.Error()}
			} else {
				reply["result"] = result
			}
			text, _ := json.Marshal(reply)
			out.Lock()
			defer out.Unlock()
			os.Stdout.Write(append(text, '\n'))
		}()
	}
}

func (a *agent) call(call string, args arguments) (interface{}, error) {
	switch call {
	case "start":
		a.address = args.Address
		return "sarama 1.22.1, " + runtime.Version(), nil
	case "produce":
		return a.produce(args)
	case "go":
		a.gate <- struct{}{}
		return nil, nil
	case "open":
		return nil, a.openConsumer(args)
	case "close":
		return nil, a.close(args.Name)
	case "reset":
		for _, name := range a.names() {
			if err := a.close(name); err != nil {
				return nil, err
			}
		}
		return nil, nil
	case "poll":
		return a.consumer(args.Name).take(args.Most, args.WaitMs), nil
	case "assignment":
		return a.consumer(args.Name).assignment(), nil
	case "events":
		return a.consumer(args.Name).events, nil
	case "seek":
		return nil, a.consumer(args.Name).seek(args.Topic, args.P, args.Offset)
	case "commit":
		return nil, a.commit(a.consumer(args.Name), args.Offsets)
	case "at_time":
		return a.atTime(args)
	case "ends":
		return a.ends(args.Topic, args.P)
	case "committed":
		return a.committed(args.Group, args.Topic, args.P)
	case "set_group_offset":
		return nil, a.setGroupOffset(args)
	}
	return a.administer(call, args)
}

func (a *agent) config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V2_2_0_0
	config.ClientID = "interop"
	config.Metadata.Retry.Max = 1000
	config.Metadata.Retry.Backoff = 100 * time.Millisecond
	config.Admin.Timeout = 60 * time.Second
	config.Net.DialTimeout = 5 * time.Second
	return config
}

func (a *agent) produce(args arguments) (interface{}, error) {
	config := a.config()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	config.Producer.Retry.Max = 1000
	config.Producer.Retry.Backoff = 100 * time.Millisecond
	config.Producer.Compression = map[string]sarama.CompressionCodec{"": sarama.CompressionNone,
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
		"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD}[args.Codec]
	if args.Most > 0 {
		config.Producer.MaxMessageBytes = args.Most
	}
	if args.Idempotent {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
	client, err := sarama.NewSyncProducer([]string{a.address}, config)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	chunk := len(args.Records)
	if args.Pace != nil {
		chunk = args.Pace.Chunk
	}
	answers := []interface{}{}
	for from := 0; from < len(args.Records); from += chunk {
		answers = append(answers, send(client, args.Topic, args.Records[from:from+chunk])...)
		if args.Pace == nil {
			continue
		}
		time.Sleep(time.Duration(args.Pace.Ms) * time.Millisecond)
		for _, halt := range args.Pace.Halts {
			if halt == from+chunk {
				<-a.gate
			}
		}
	}
	return answers, nil
}

func send(client sarama.SyncProducer, topic string, records []record) []interface{} {
	messages := []*sarama.ProducerMessage{}
	for _, r := range records {
		message := &sarama.ProducerMessage{Topic: topic, Partition: r.P, Key: encoder(r.K), Value: encoder(r.V)}
		for _, header := range r.H {
			value, _ := header[1].(string)
			bytes, _ := base64.StdEncoding.DecodeString(value)
			if header[1] == nil {
				bytes = nil
			}
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(header[0].(string)), Value: bytes})
		}
		if r.T != nil {
			message.Timestamp = time.Unix(0, *r.T*1_000_000)
		}
		messages = append(messages, message)
	}
	failed := map[*sarama.ProducerMessage]error{}
	if errs, ok := client.SendMessages(messages).(sarama.ProducerErrors); ok {
		for _, one := range errs {
			failed[one.Msg] = one.Err
		}
	}
	answers := []interface{}{}
	for _, message := range messages {
		if err := failed[message]; err != nil {
			answers = append(answers, map[string]string{"error": err.Error()})
		} else {
			answers = append(answers, map[string]int64{"offset": message.Offset})
		}
	}
	return answers
}

// consumer is one with an assignment by hand (parts) or a member of a group.
type consumer struct {
	lock    sync.Mutex
	arrived chan struct{}
	records []interface{}
	errors  []string
	events  [][2]interface{}

	client sarama.Consumer
	parts  map[string]sarama.PartitionConsumer

	group   sarama.ConsumerGroup
	name    string
	session sarama.ConsumerGroupSession
	stop    context.CancelFunc
	done    chan struct{}
}

func (a *agent) openConsumer(args arguments) error {
	config := a.config()
	config.Consumer.Return.Errors = true
	config.Consumer.MaxWaitTime = 200 * time.Millisecond
	config.Consumer.Retry.Backoff = 100 * time.Millisecond
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.CommitInterval = 50 * time.Millisecond
	// It makes this version send OffsetCommit v2, the first that current brokers know.
	config.Consumer.Offsets.Retention = 24 * time.Hour
	config.Consumer.Group.Session.Timeout = 30 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	if args.Most > 0 {
		config.Consumer.Fetch.Default = int32(args.Most)
	}
	c := &consumer{arrived: make(chan struct{}, 1), parts: map[string]sarama.PartitionConsumer{}, name: args.Group,
		events: [][2]interface{}{}}
	var err error
	if args.Group != "" {
		err = c.join(a.address, config, args)
	} else {
		err = c.assign(a.address, config, args)
	}
	if err == nil {
		a.lock.Lock()
		a.open[args.Name] = c
		a.lock.Unlock()
	}
	return err
}

func (c *consumer) assign(address string, config *sarama.Config, args arguments) (err error) {
	if c.client, err = sarama.NewConsumer([]string{address}, config); err != nil {
		return err
	}
	for _, w := range args.Assign {
		if err = c.seek(w.topic, w.p, w.offset); err != nil {
			return err
		}
	}
	return nil
}

// seek reads the partition from this offset on; -2 is the beginning and -1 the end.
func (c *consumer) seek(topic string, p int32, offset int64) error {
	where := fmt.Sprintf("%s/%d", topic, p)
	if before := c.parts[where]; before != nil {
		before.AsyncClose()
		for range before.Messages() {
		}
	}
	c.lock.Lock()
	kept := []interface{}{}
	for _, r := range c.records {
		if said := r.(map[string]interface{}); said["topic"] != topic || said["p"] != p {
			kept = append(kept, r)
		}
	}
	c.records = kept
	c.lock.Unlock()
	part, err := c.client.ConsumePartition(topic, p, offset)
	if err != nil {
		return err
	}
	c.parts[where] = part
	go func() {
		for message := range part.Messages() {
			c.put(message)
		}
	}()
	go c.note(part.Errors())
	return nil
}

func (c *consumer) note(failures <-chan *sarama.ConsumerError) {
	for err := range failures {
		c.fail(err)
	}
}

func (c *consumer) join(address string, config *sarama.Config, args arguments) (err error) {
	if c.group, err = sarama.NewConsumerGroup([]string{address}, args.Group, config); err != nil {
		return err
	}
	var life context.Context
	life, c.stop = context.WithCancel(context.Background())
	c.done = make(chan struct{})
	go func() {
		for err := range c.group.Errors() {
			c.fail(err)
		}
	}()
	go func() {
		defer close(c.done)
		for life.Err() == nil {
			if err := c.group.Consume(life, args.Topics, c); err != nil {
				c.fail(err)
				time.Sleep(100 * time.Millisecond)
			}
		}
	}()
	return nil
}

// Setup is called when partitions were assigned.
func (c *consumer) Setup(session sarama.ConsumerGroupSession) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.session = session
	c.events = append(c.events, [2]interface{}{"assigned", held(session)})
	return nil
}

// Cleanup is called when they go.
func (c *consumer) Cleanup(session sarama.ConsumerGroupSession) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.session = nil
	c.events = append(c.events, [2]interface{}{"revoked", held(session)})
	return nil
}

// ConsumeClaim reads a partition until it goes.
func (c *consumer) ConsumeClaim(_ sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		c.put(message)
	}
	return nil
}

func held(session sarama.ConsumerGroupSession) [][2]interface{} {
	found := [][2]interface{}{}
	for topic, partitions := range session.Claims() {
		sort.Slice(partitions, func(i, j int) bool { return partitions[i] < partitions[j] })
		for _, p := range partitions {
			found = append(found, [2]interface{}{topic, p})
		}
	}
	return found
}

func (c *consumer) assignment() interface{} {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.session == nil {
		return []int{}
	}
	return held(c.session)
}

func (c *consumer) put(m *sarama.ConsumerMessage) {
	headers := [][2]interface{}{}
	for _, header := range m.Headers {
		headers = append(headers, [2]interface{}{string(header.Key), dataOut(header.Value)})
	}
	c.lock.Lock()
	c.records = append(c.records, map[string]interface{}{"topic": m.Topic, "p": m.Partition, "o": m.Offset,
		"k": dataOut(m.Key), "v": dataOut(m.Value), "h": headers, "t": m.Timestamp.UnixNano() / 1_000_000})
	c.lock.Unlock()
	select {
	case c.arrived <- struct{}{}:
	default:
	}
}

func (c *consumer) fail(err error) {
	if err == nil {
		return
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	c.errors = append(c.errors, err.Error())
}

func (c *consumer) take(most, waitMs int) interface{} {
	deadline := time.After(time.Duration(waitMs) * time.Millisecond)
	for late := false; ; {
		c.lock.Lock()
		if len(c.records) > 0 || late {
			n := len(c.records)
			if n > most {
				n = most
			}
			taken, said := append([]interface{}{}, c.records[:n]...), append([]string{}, c.errors...)
			c.records, c.errors = c.records[n:], nil
			c.lock.Unlock()
			return map[string]interface{}{"records": taken, "errors": said}
		}
		c.lock.Unlock()
		select {
		case <-c.arrived:
		case <-deadline:
			late = true
		}
	}
}

// commit marks the offsets, which this version commits by itself, and waits until they are committed.
func (a *agent) commit(c *consumer, offsets []place) error {
	deadline := time.Now().Add(10 * time.Second)
	for _, w := range offsets {
		for {
			c.lock.Lock()
			if c.session != nil {
				c.session.MarkOffset(w.topic, w.p, w.offset, "")
			}
			c.lock.Unlock()
			time.Sleep(60 * time.Millisecond)
			found, err := a.committed(c.name, w.topic, w.p)
			if offset, ok := found.(int64); err == nil && ok && offset >= w.offset {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("offset %d of %s/%d is not committed: %v %v", w.offset, w.topic, w.p, found, err)
			}
		}
	}
	return nil
}

func (a *agent) consumer(name string) *consumer {
	a.lock.Lock()
	defer a.lock.Unlock()
	return a.open[name]
}

func (a *agent) names() (names []string) {
	a.lock.Lock()
	defer a.lock.Unlock()
	for name := range a.open {
		names = append(names, name)
	}
	return names
}

func (a *agent) close(name string) error {
	a.lock.Lock()
	c := a.open[name]
	delete(a.open, name)
	a.lock.Unlock()
	if c.group != nil {
		c.stop()
		<-c.done
		return c.group.Close()
	}
	for _, part := range c.parts {
		part.AsyncClose()
	}
	return c.client.Close()
}

// withClient does something with a client of its own: this version does not mend a connection that broke.
func (a *agent) withClient(do func(sarama.Client) error) error {
	config := a.config()
	config.Consumer.Offsets.Retention = 24 * time.Hour
	config.Consumer.Offsets.CommitInterval = 50 * time.Millisecond
	client, err := sarama.NewClient([]string{a.address}, config)
	if err != nil {
		return err
	}
	defer client.Close()
	return do(client)
}

func (a *agent) atTime(args arguments) (found interface{}, err error) {
	err = a.withClient(func(client sarama.Client) error {
		offset, err := client.GetOffset(args.Topic, args.P, args.Timestamp)
		if offset >= 0 {
			found = offset
		}
		return err
	})
	return found, err
}

func (a *agent) ends(topic string, p int32) (ends [2]int64, err error) {
	err = a.withClient(func(client sarama.Client) (err error) {
		if ends[0], err = client.GetOffset(topic, p, sarama.OffsetOldest); err == nil {
			ends[1], err = client.GetOffset(topic, p, sarama.OffsetNewest)
		}
		return err
	})
	return ends, err
}

func (a *agent) committed(group, topic string, p int32) (found interface{}, err error) {
	err = a.administered(func(admin sarama.ClusterAdmin) error {
		answer, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {p}})
		if err != nil {
			return err
		}
		block := answer.GetBlock(topic, p)
		if block == nil {
			return errors.New("an answer without the partition")
		}
		if block.Err != sarama.ErrNoError {
			return block.Err
		}
		if block.Offset >= 0 {
			found = block.Offset
		}
		return nil
	})
	return found, err
}

func (a *agent) setGroupOffset(args arguments) error {
	return a.withClient(func(client sarama.Client) error {
		manager, err := sarama.NewOffsetManagerFromClient(args.Group, client)
		if err != nil {
			return err
		}
		partition, err := manager.ManagePartition(args.Topic, args.P)
		if err != nil {
			return err
		}
		partition.MarkOffset(args.Offset, "")
		partition.AsyncClose()
		return manager.Close()
	})
}

// administered does something with the one admin client. This version does not mend a connection that broke: then it is
// done once more with a new one.
func (a *agent) administered(do func(sarama.ClusterAdmin) error) (err error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	for try := 0; try < 2; try++ {
		if a.admin == nil {
			if a.admin, err = sarama.NewClusterAdmin([]string{a.address}, a.config()); err != nil {
				return err
			}
		}
		if err = do(a.admin); err == nil || codeOf(err) != nil {
			return err
		}
		a.admin.Close()
		a.admin = nil
	}
	return err
}

func (a *agent) administer(call string, args arguments) (result interface{}, err error) {
	err = a.administered(func(admin sarama.ClusterAdmin) (err error) {
		switch call {
		case "create_topic":
			configs := map[string]*string{}
			for key := range args.Configs {
				value := args.Configs[key]
				configs[key] = &value
			}
			return admin.CreateTopic(args.Name, &sarama.TopicDetail{NumPartitions: args.Partitions, ReplicationFactor: 1,
				ConfigEntries: configs}, false)
		case "delete_topic":
			return admin.DeleteTopic(args.Name)
		case "grow":
			return admin.CreatePartitions(args.Name, args.Partitions, nil, false)
		case "topics":
			result, err = topics(admin)
			return err
		case "topic_configs":
			result, err = configs(admin, sarama.ConfigResource{Type: sarama.TopicResource, Name: args.Name})
			return err
		case "broker_configs":
			result, err = configs(admin, sarama.ConfigResource{Type: sarama.BrokerResource, Name: strconv.Itoa(args.Node)})
			return err
		case "set_topic_config":
			return setTopicConfig(admin, args)
		case "delete_records":
			return admin.DeleteRecords(args.Topic, map[int32]int64{args.P: args.Before})
		}
		result, err = administerGroups(admin, call, args)
		return err
	})
	if call == "delete_records" && err == nil {
		ends, err := a.ends(args.Topic, args.P)
		return ends[0], err
	}
	return result, err
}

func administerGroups(admin sarama.ClusterAdmin, call string, args arguments) (interface{}, error) {
	switch call {
	case "groups":
		found, err := admin.ListConsumerGroups()
		names := []string{}
		for name := range found {
			names = append(names, name)
		}
		return names, err
	case "describe_group":
		found, err := admin.DescribeConsumerGroups([]string{args.Group})
		if err != nil {
			return nil, err
		}
		return map[string]interface{}{"state": found[0].State, "members": len(found[0].Members)}, nil
	case "group_offsets":
		// It can ask for given partitions only.
		topics, err := topics(admin)
		if err != nil {
			return nil, err
		}
		wanted := map[string][]int32{}
		for topic, partitions := range topics {
			for p := 0; p < partitions; p++ {
				wanted[topic] = append(wanted[topic], int32(p))
			}
		}
		found, err := admin.ListConsumerGroupOffsets(args.Group, wanted)
		if err != nil {
			return nil, err
		}
		offsets := [][3]interface{}{}
		for topic, partitions := range wanted {
			for _, p := range partitions {
				if block := found.GetBlock(topic, p); block != nil && block.Offset >= 0 {
					offsets = append(offsets, [3]interface{}{topic, p, block.Offset})
				}
			}
		}
		return offsets, nil
	}
	return nil, fmt.Errorf("no such call: %s", call)
}

func topics(admin sarama.ClusterAdmin) (map[string]int, error) {
	found, err := admin.DescribeTopics(nil)
	topics := map[string]int{}
	for _, topic := range found {
		topics[topic.Name] = len(topic.Partitions)
	}
	return topics, err
}

func configs(admin sarama.ClusterAdmin, resource sarama.ConfigResource) (map[string]string, error) {
	found, err := admin.DescribeConfig(resource)
	entries := map[string]string{}
	for _, entry := range found {
		entries[entry.Name] = entry.Value
	}
	return entries, err
}

// setTopicConfig sends all that is set: this version has no incremental call.
func setTopicConfig(admin sarama.ClusterAdmin, args arguments) error {
	found, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: args.Name})
	if err != nil {
		return err
	}
	entries := map[string]*string{args.Key: &args.Value}
	for _, entry := range found {
		if value := entry.Value; !entry.Default && entry.Name != args.Key {
			entries[entry.Name] = &value
		}
	}
	return admin.AlterConfig(sarama.TopicResource, args.Name, entries, false)
}

// codeOf is Kafka's error code, or nil if there is none.
func codeOf(err error) interface{} {
	switch known := err.(type) {
	case sarama.KError:
		return int(known)
	case *sarama.TopicError:
		return int(known.Err)
	case *sarama.TopicPartitionError:
		return int(known.Err)
	}
	return nil
}

type bytes []byte

func (b bytes) Encode() ([]byte, error) { return b, nil }
func (b bytes) Length() int             { return len(b) }

func encoder(said data) sarama.Encoder {
	var text *string
	if said[0] == '{' {
		var spec struct{ N, Seed int }
		if err := json.Unmarshal(said, &spec); err != nil {
			panic(err)
		}
		block := fmt.Sprintf("%d,", spec.Seed)
		return bytes(strings.Repeat(block, spec.N/len(block)+1)[:spec.N])
	}
	if err := json.Unmarshal(said, &text); err != nil {
		panic(err)
	}
	if text == nil {
		return nil
	}
	decoded, err := base64.StdEncoding.DecodeString(*text)
	if err != nil {
		panic(err)
	}
	return bytes(decoded)
}

func dataOut(found []byte) interface{} {
	if found == nil {
		return nil
	}
	if len(found) > long {
		sum := sha256.Sum256(found)
		return map[string]interface{}{"n": len(found), "sha256": hex.EncodeToString(sum[:])}
	}
	return base64.StdEncoding.EncodeToString(found)
}
