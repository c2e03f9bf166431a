// franz-go: klamm-client-franz HOST:PORT
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	partitions = 3
	count      = 300
	baseMs     = 1_700_000_000_000
	timeout    = time.Minute
)

type acks struct {
	name string
	kgo.Acks
}

func main() {
	bootstrap := os.Args[1]
	failed := false
	run := func(codecName string, codec kgo.CompressionCodec, acks acks, idempotent bool) {
		name := fmt.Sprintf("%s-acks-%s", codecName, acks.name)
		if idempotent {
			name += "-idempotent"
		}
		if err := check(bootstrap, "franz-go-"+name, codec, acks, idempotent); err != nil {
			failed = true
			fmt.Printf("fail franz-go/%s %s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Printf("pass franz-go/%s\n", name)
		}
	}
	all := acks{"all", kgo.AllISRAcks()}
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		for _, acks := range []acks{{"0", kgo.NoAck()}, {"1", kgo.LeaderAck()}, all} {
			run(codec, codecs[codec], acks, false)
		}
		run(codec, codecs[codec], all, true)
	}
	if failed {
		os.Exit(1)
	}
}

func check(bootstrap, topic string, codec kgo.CompressionCodec, acks acks, idempotent bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	options := []kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(20 * time.Millisecond),
		kgo.ProducerBatchCompression(codec), kgo.RequiredAcks(acks.Acks),
	}
	if !idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	created, err := admin.CreateTopic(ctx, partitions, 1, nil, topic)
	if err != nil {
		return fmt.Errorf("creating: %w", err)
	}
	if created.NumPartitions != partitions {
		return fmt.Errorf("created with %d partitions", created.NumPartitions)
	}
	var records []*kgo.Record
	for number := range int64(count) {
		record := expected(number)
		record.Topic = topic
		records = append(records, record)
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("producing: %w", err)
	}
	return readBack(ctx, bootstrap, topic, admin)
}

func expected(number int64) *kgo.Record {
	value := make([]byte, 200+number)
	for at := range value {
		value[at] = byte((number*7 + int64(at)) % 251)
	}
	return &kgo.Record{
		Partition: int32(number % partitions), Key: fmt.Appendf(nil, "k%d", number), Value: value,
		Timestamp: time.UnixMilli(baseMs + number*1000),
		Headers:   []kgo.RecordHeader{{Key: "number", Value: fmt.Append(nil, number)}},
	}
}

func readBack(ctx context.Context, bootstrap, topic string, admin *kadm.Client) error {
	from := map[int32]kgo.Offset{}
	for partition := range int32(partitions) {
		from[partition] = kgo.NewOffset().AtStart()
	}
	next := map[int32]int64{}
	err := consume(ctx, bootstrap, topic, from, count, func(record *kgo.Record) error {
		offset := next[record.Partition]
		want := expected(offset*partitions + int64(record.Partition))
		same := record.Offset == offset && bytes.Equal(record.Key, want.Key) && bytes.Equal(record.Value, want.Value) &&
			record.Timestamp.Equal(want.Timestamp) && len(record.Headers) == 1 && bytes.Equal(record.Headers[0].Value, want.Headers[0].Value)
		if !same {
			return fmt.Errorf("record %s at offset %d differs: %s at %d", want.Key, offset, record.Key, record.Offset)
		}
		next[record.Partition]++
		return nil
	})
	if err != nil {
		return err
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("end offsets: %w", err)
	}
	if end, _ := ends.Lookup(topic, 0); end.Err != nil || end.Offset != count/partitions {
		return fmt.Errorf("end %d, error %w", end.Offset, end.Err)
	}
	key := func(want string) func(*kgo.Record) error {
		return func(record *kgo.Record) error {
			if string(record.Key) != want {
				return fmt.Errorf("sought %s, found %s", want, record.Key)
			}
			return nil
		}
	}
	byOffset := map[int32]kgo.Offset{1: kgo.NewOffset().At(50)}
	if err := consume(ctx, bootstrap, topic, byOffset, 1, key("k151")); err != nil {
		return fmt.Errorf("by offset: %w", err)
	}
	byTime := map[int32]kgo.Offset{0: kgo.NewOffset().AfterMilli(baseMs + 150_000)}
	if err := consume(ctx, bootstrap, topic, byTime, 1, key("k150")); err != nil {
		return fmt.Errorf("by time: %w", err)
	}
	return nil
}

func consume(
	ctx context.Context, bootstrap, topic string, from map[int32]kgo.Offset, wanted int, each func(*kgo.Record) error,
) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		return err
	}
	defer client.Close()
	for read := 0; read < wanted; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("after %d records: %w", read, err)
		}
		for _, record := range fetches.Records() {
			if read++; read > wanted {
				break
			}
			if err := each(record); err != nil {
				return err
			}
		}
	}
	return nil
}
