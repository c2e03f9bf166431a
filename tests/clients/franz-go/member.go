package main

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a member of a group tells (see ../groups.py).
type event struct {
	Event      string          `json:"event"`
	Time       int64           `json:"time"`
	Partition  int32           `json:"partition"`
	Offset     int64           `json:"offset"`
	Partitions []int32         `json:"partitions"`
	Offsets    map[int32]int64 `json:"offsets,omitempty"`
}

func tell(e event) {
	e.Partitions = append([]int32{}, e.Partitions...)
	e.Time = time.Now().UnixMilli()
	say(e)
}

type member struct {
	topic string
	next  map[int32]kgo.EpochOffset
}

// Until the next request comes.
func join(bootstrap string, r request, requests <-chan request) error {
	m := member{topic: r.Topic, next: map[int32]kgo.EpochOffset{}}
	options := []kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.ConsumerGroup(r.Group), kgo.ConsumeTopics(r.Topic), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(time.Duration(r.Session) * time.Millisecond), kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.BlockRebalanceOnPoll(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.Balancers(map[string]kgo.GroupBalancer{
			"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(), "cooperative-sticky": kgo.CooperativeStickyBalancer(),
		}[r.Strategy]),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			tell(event{Event: "assigned", Partitions: partitions[m.topic]})
		}),
		kgo.OnPartitionsRevoked(func(ctx context.Context, client *kgo.Client, partitions map[string][]int32) {
			m.commit(ctx, client)
			m.lost(ctx, client, partitions)
		}),
		kgo.OnPartitionsLost(m.lost),
	}
	if r.Instance != "" {
		options = append(options, kgo.InstanceID(r.Instance))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	left := false
	for !left {
		if err := m.poll(client); errors.Is(err, kerr.FencedInstanceID) {
			return err
		}
		select {
		case <-requests:
			left = true
		default:
		}
	}
	// It leaves the group, unless it is a static member.
	client.CloseAllowingRebalance()
	tell(event{Event: "left"})
	return nil
}

func (m *member) poll(client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	fetches := client.PollRecords(ctx, 20)
	defer client.AllowRebalance()
	for _, record := range fetches.Records() {
		tell(event{Event: "record", Partition: record.Partition, Offset: record.Offset})
		m.next[record.Partition] = kgo.EpochOffset{Epoch: record.LeaderEpoch, Offset: record.Offset + 1}
	}
	m.commit(context.Background(), client)
	return fetches.Err()
}

func (m *member) commit(ctx context.Context, client *kgo.Client) {
	if len(m.next) == 0 {
		return
	}
	committed := true
	client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{m.topic: m.next},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
			committed = err == nil
			if committed {
				for _, partition := range answer.Topics[0].Partitions {
					committed = committed && partition.ErrorCode == 0
				}
			}
		})
	if !committed {
		return // these offsets come again with later ones
	}
	offsets := map[int32]int64{}
	for partition, at := range m.next {
		offsets[partition] = at.Offset
	}
	tell(event{Event: "committed", Offsets: offsets})
	clear(m.next)
}

func (m *member) lost(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	for _, partition := range partitions[m.topic] {
		delete(m.next, partition)
	}
	tell(event{Event: "revoked", Partitions: partitions[m.topic]})
}
