// franz-go: klamm-client-franz HOST:PORT (see ../suite.py)
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	timeout   = 30 * time.Second
	codeOther = -1000
)

type header struct {
	name  string
	value []byte
}

func (h header) MarshalJSON() ([]byte, error) { return json.Marshal([]any{h.name, h.value}) }

func (h *header) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&h.name, &h.value})
}

// Null and empty bytes are nil and not nil, here as in JSON.
type record struct {
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []header `json:"headers"`
	Time      int64    `json:"time"`
}

type request struct {
	Op, Topic, Codec, Acks string
	Partition, Partitions  int32
	Offset                 int64
	Count                  int
	Config                 map[string]string
	Idempotent             bool
	Group, Strategy        string
	Instance               string
	Session                int
	Records                []record
	When                   any
}

type driver struct {
	bootstrap string
	admin     *kadm.Client
}

var (
	saying sync.Mutex
	output = json.NewEncoder(os.Stdout)
)

func say(answer any) {
	saying.Lock()
	defer saying.Unlock()
	if err := output.Encode(answer); err != nil {
		panic(err)
	}
}

func main() {
	bootstrap := os.Args[1]
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		panic(err)
	}
	d := driver{bootstrap, kadm.NewClient(client)}
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 64<<20)
	requests := make(chan request, 1)
	go func() {
		for input.Scan() {
			var r request
			if err := json.Unmarshal(input.Bytes(), &r); err != nil {
				panic(err)
			}
			requests <- r
		}
		close(requests)
	}()
	for r := range requests {
		answer, err := d.step(r, requests)
		if err != nil {
			code, broker := int16(codeOther), (*kerr.Error)(nil)
			if errors.As(err, &broker) {
				code = broker.Code
			}
			answer = map[string]any{"error": code, "reason": err.Error()}
		}
		say(answer)
	}
}

func (d *driver) step(r request, next <-chan request) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*timeout)
	defer cancel()
	none := map[string]any{}
	switch r.Op {
	case "create":
		config := map[string]*string{}
		for name, value := range r.Config {
			config[name] = &value
		}
		_, err := d.admin.CreateTopic(ctx, r.Partitions, 1, config, r.Topic)
		return none, err
	case "delete":
		_, err := d.admin.DeleteTopic(ctx, r.Topic)
		return none, err
	case "grow":
		answers, err := d.admin.UpdatePartitions(ctx, int(r.Partitions), r.Topic)
		return none, errors.Join(err, answers.Error())
	case "trim":
		before := kadm.Offsets{}
		before.AddOffset(r.Topic, r.Partition, r.Offset, -1)
		answers, err := d.admin.DeleteRecords(ctx, before)
		return none, errors.Join(err, answers.Error())
	case "alter":
		var changes []kadm.AlterConfig
		for name, value := range r.Config {
			changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
		}
		answers, err := d.admin.AlterTopicConfigs(ctx, changes, r.Topic)
		for _, answer := range answers {
			err = errors.Join(err, answer.Err)
		}
		return none, err
	case "describe":
		config := map[string]*string{}
		answers, err := d.admin.DescribeTopicConfigs(ctx, r.Topic)
		for _, answer := range answers {
			err = errors.Join(err, answer.Err)
			for _, entry := range answer.Configs {
				config[entry.Key] = entry.Value
			}
		}
		return map[string]any{"config": config}, err
	case "offsets":
		return d.offsets(ctx, r)
	case "produce":
		return d.produce(ctx, r)
	case "read":
		return d.read(ctx, r)
	case "stream":
		return none, d.stream(ctx, r)
	case "join":
		return none, join(d.bootstrap, r, next)
	}
	return nil, fmt.Errorf("unknown operation %s", r.Op)
}

func (d *driver) offsets(ctx context.Context, r request) (map[string]any, error) {
	var listed kadm.ListedOffsets
	var err error
	switch when := r.When.(type) {
	case float64:
		listed, err = d.admin.ListOffsetsAfterMilli(ctx, int64(when), r.Topic)
		// Where no record is that young kadm answers the end, with no time.
		if at, _ := listed.Lookup(r.Topic, r.Partition); err == nil && at.Err == nil && at.Timestamp == -1 {
			return map[string]any{"offset": -1}, nil
		}
	case string:
		if when == "earliest" {
			listed, err = d.admin.ListStartOffsets(ctx, r.Topic)
		} else {
			listed, err = d.admin.ListEndOffsets(ctx, r.Topic)
		}
	}
	at, _ := listed.Lookup(r.Topic, r.Partition)
	return map[string]any{"offset": at.Offset}, errors.Join(err, at.Err)
}

func (d *driver) produce(ctx context.Context, r request) (map[string]any, error) {
	codec := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}[r.Codec]
	acks := map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()}[r.Acks]
	options := []kgo.Opt{
		kgo.SeedBrokers(d.bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codec),
		kgo.RequiredAcks(acks), kgo.ProducerLinger(20 * time.Millisecond),
	}
	if !r.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var records []*kgo.Record
	for _, from := range r.Records {
		record := &kgo.Record{
			Topic: r.Topic, Partition: from.Partition, Key: from.Key, Value: from.Value, Timestamp: time.UnixMilli(from.Time),
		}
		for _, header := range from.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: header.name, Value: header.value})
		}
		records = append(records, record)
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return nil, err
	}
	var offsets []int64
	for _, record := range records {
		offsets = append(offsets, record.Offset)
	}
	return map[string]any{"offsets": offsets}, nil
}

func (d *driver) read(ctx context.Context, r request) (map[string]any, error) {
	from := map[string]map[int32]kgo.Offset{r.Topic: {r.Partition: kgo.NewOffset().At(r.Offset)}}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(d.bootstrap), kgo.ConsumePartitions(from), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.UnknownTopicRetries(-1), kgo.KeepRetryableFetchErrors())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	records := []record{}
	for len(records) < r.Count {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		for _, found := range fetches.Records() {
			headers := []header{}
			for _, h := range found.Headers {
				headers = append(headers, header{h.Key, h.Value})
			}
			records = append(records, record{
				found.Partition, found.Offset, found.Key, found.Value, headers, found.Timestamp.UnixMilli(),
			})
		}
	}
	return map[string]any{"records": records[:r.Count]}, nil
}

func (d *driver) stream(ctx context.Context, r request) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(d.bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(1000),
		kgo.ProducerBatchMaxBytes(2000), kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }))
	if err != nil {
		return err
	}
	defer client.Close()
	var failure error
	for number := range r.Count {
		record := &kgo.Record{
			Topic: r.Topic, Partition: int32(number) % r.Partitions, Value: strconv.AppendInt(nil, int64(number), 10),
		}
		client.Produce(ctx, record, func(record *kgo.Record, err error) {
			if err != nil {
				failure = err
				return
			}
			say(map[string]any{"ack": []int64{int64(number), record.Offset}})
		})
	}
	return errors.Join(client.Flush(ctx), failure)
}
