// kafkajs: driver.js HOST:PORT (see suite.py). Its consumer always joins a group, so reading takes the route below it: the
// cluster and broker that the consumer itself is made of, which fetch and decode without one.
'use strict'

const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')
const Cluster = require('kafkajs/src/cluster')
const createSocketFactory = require('kafkajs/src/network/socketFactory')
const { createLogger } = require('kafkajs/src/loggers')
const logConsole = require('kafkajs/src/loggers/console')
const lz4 = require('lz4js')
const xxh32 = require('lz4js/xxh32.js')
const { ZstdCodec } = require('zstd-codec')

const SECONDS_MAX = 30
const TOPIC = 2 // the type of a resource with settings
const TYPES = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }
// Streaming, because some clients leave a frame's size out.
const zstd = new Promise((resolve) => ZstdCodec.run((codec) => resolve(new codec.Streaming())))

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => independent(Buffer.from(lz4.compress(encoder.buffer))),
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from((await zstd).compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from((await zstd).decompress(buffer)),
})

// lz4js says of its blocks that they depend on each other, which brokers and Java clients refuse. One alone does not: it
// says so, and its header has the checksum of that.
function independent(frame) {
  frame[4] |= 1 << 5
  frame[6] = (xxh32.hash(0, frame, 4, 2) >> 8) & 0xff
  return frame
}

const encoded = (value) => (value === null || value === undefined ? null : Buffer.from(value).toString('base64'))
const decoded = (value) => (value === null ? null : Buffer.from(value, 'base64'))
const answer = (fields) => process.stdout.write(JSON.stringify(fields) + '\n')
const tell = (event, fields, time = Date.now()) => answer({ event, time, ...fields })
const retry = { initialRetryTime: 50, maxRetryTime: 200, retries: 200 }
const kafka = new Kafka({ clientId: 'check', brokers: [process.argv[2]], logLevel: logLevel.NOTHING, retry })
const admin = kafka.admin({ retry: { retries: 2 } })
const cluster = new Cluster({
  logger: createLogger({ level: logLevel.NOTHING, logCreator: logConsole }),
  socketFactory: createSocketFactory(),
  brokers: [process.argv[2]],
  clientId: 'check',
  connectionTimeout: 1000,
  metadataMaxAge: 300000,
  allowAutoTopicCreation: false,
  isolationLevel: 0,
  retry: { retries: 2 },
})

async function producing(settings, action) {
  const producer = kafka.producer(settings)
  await producer.connect()
  try {
    return await action(producer)
  } finally {
    await producer.disconnect()
  }
}

function message({ partition, key, value, headers, time }) {
  const named = Object.fromEntries(headers.map(([name, bytes]) => [name, decoded(bytes)]))
  return { partition, key: decoded(key), value: decoded(value), timestamp: String(time), headers: named }
}

// Of this topic alone: one that is deleted would fail the metadata of all.
async function target(topic) {
  cluster.targetTopics.clear()
  await cluster.addTargetTopic(topic)
}

let member = null

const operations = {
  async create({ topic, partitions, config }) {
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }))
    const created = await admin.createTopics({ topics: [{ topic, numPartitions: partitions, configEntries }] })
    if (!created) throw { code: 36, message: 'createTopics answers false for a topic that exists' }
  },

  async produce({ topic, codec, acks, idempotent, records }) {
    const request = { topic, acks: { 0: 0, 1: 1, all: -1 }[acks], compression: CompressionTypes[TYPES[codec]] }
    return producing({ idempotent, retry: idempotent ? retry : { retries: 2 } }, async (producer) => {
      const answers = await producer.send({ ...request, messages: records.map(message) })
      if (!answers) return {}
      // One answer for each partition, with the first offset of what went there.
      const next = new Map(answers.map(({ partition, baseOffset }) => [partition, Number(baseOffset)]))
      return {
        offsets: records.map(({ partition }) => {
          next.set(partition, next.get(partition) + 1)
          return next.get(partition) - 1
        }),
      }
    })
  },

  async read({ topic, partition, offset, count }) {
    await target(topic)
    await cluster.refreshMetadata()
    const nodeId = Object.keys(cluster.findLeaderForPartitions(topic, [partition]))[0]
    const broker = await cluster.findBroker({ nodeId })
    const records = []
    const end = Date.now() + SECONDS_MAX * 1000
    while (records.length < count && Date.now() < end) {
      const from = offset + records.length
      const { responses } = await broker.fetch({
        maxWaitTime: 500,
        topics: [{ topic, partitions: [{ partition, fetchOffset: String(from), maxBytes: 1 << 20 }] }],
        isolationLevel: 0,
      })
      for (const found of responses[0].partitions[0].messages) {
        if (Number(found.offset) < from || records.length === count) continue
        const headers = Object.entries(found.headers).map(([name, bytes]) => [name, encoded(bytes)])
        const { key, value, timestamp } = found
        records.push({
          partition, offset: Number(found.offset), time: Number(timestamp), key: encoded(key), value: encoded(value), headers,
        })
      }
    }
    return { records }
  },

  async offsets({ topic, partition, when }) {
    const ends = when === 'earliest' || when === 'latest'
    if (ends) {
      const found = (await admin.fetchTopicOffsets(topic)).find((found) => found.partition === partition)
      return { offset: Number(when === 'earliest' ? found.low : found.high) }
    }
    // The admin's own fetchTopicOffsetsByTimestamp answers the end where no record is that young: ask for what was answered.
    await target(topic)
    const [found] = await cluster.fetchTopicsOffset([{ topic, partitions: [{ partition }], fromTimestamp: when }])
    return { offset: Number(found.partitions[0].offset) }
  },

  async describe({ topic }) {
    const { resources } = await admin.describeConfigs({ resources: [{ type: TOPIC, name: topic }] })
    const entries = resources[0].configEntries.map(({ configName, configValue }) => [configName, configValue])
    return { config: Object.fromEntries(entries) }
  },

  async alter({ topic, config }) {
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }))
    await admin.alterConfigs({ validateOnly: false, resources: [{ type: TOPIC, name: topic, configEntries }] })
  },

  async grow({ topic, partitions }) {
    await admin.createPartitions({ topicPartitions: [{ topic, count: partitions }] })
  },

  async trim({ topic, partition, offset }) {
    // An admin that has asked about the topic before does not know of partitions that were added.
    const fresh = kafka.admin()
    await fresh.connect()
    await fresh.fetchTopicMetadata({ topics: [topic] })
    await fresh.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(offset) }] })
    await fresh.disconnect()
  },

  async delete({ topic }) {
    await admin.deleteTopics({ topics: [topic] })
  },

  // Batches of ten, one after the other: kafkajs is idempotent only with one request in flight.
  async stream({ topic, partitions, count }) {
    await producing({ idempotent: true, maxInFlightRequests: 1 }, async (producer) => {
      for (let first = 0; first < count; first += 10 * partitions) {
        const numbers = [...Array(Math.min(10 * partitions, count - first)).keys()].map((at) => first + at)
        const messages = numbers.map((number) => ({ partition: number % partitions, value: String(number) }))
        const answers = await producer.send({ topic, acks: -1, messages })
        const next = new Map(answers.map(({ partition, baseOffset }) => [partition, Number(baseOffset)]))
        for (const number of numbers) {
          const partition = number % partitions
          answer({ ack: [number, next.get(partition)] })
          next.set(partition, next.get(partition) + 1)
        }
      }
    })
  },

  // Until `leave`. What a rebalance takes away is told by no event of its own.
  async join({ topic, group, session }) {
    member = kafka.consumer({
      groupId: group, sessionTimeout: session, heartbeatInterval: 500, rebalanceTimeout: 30_000, maxWaitTimeInMs: 100,
      retry,
    })
    let owned = []
    const revoked = ({ timestamp }) => {
      if (owned.length > 0) tell('revoked', { partitions: owned }, timestamp)
      owned = []
    }
    member.on(member.events.REBALANCING, revoked)
    member.on(member.events.GROUP_JOIN, (joined) => {
      revoked(joined)
      owned = joined.payload.memberAssignment[topic] || []
      tell('assigned', { partitions: owned }, joined.timestamp)
    })
    member.on(member.events.COMMIT_OFFSETS, ({ timestamp, payload }) => {
      const offsets = payload.topics[0].partitions.map(({ partition, offset }) => [partition, Number(offset)])
      tell('committed', { offsets: Object.fromEntries(offsets) }, timestamp)
    })
    await member.connect()
    await member.subscribe({ topics: [topic], fromBeginning: true })
    await member.run({
      eachBatch: async ({ batch }) => {
        for (const { offset } of batch.messages) tell('record', { partition: batch.partition, offset: Number(offset) })
      },
    })
  },

  async leave() {
    await member.disconnect()
    tell('left', {})
  },
}

// The protocol's error may lie within others: retries ran out, or several topics were asked for.
function refusal(error) {
  const inner = error.cause || (error.errors && error.errors[0])
  if (inner && inner !== error) return refusal(inner)
  return { error: typeof error.code === 'number' ? error.code : -1000, reason: error.message || String(error) }
}

async function main() {
  await admin.connect()
  await cluster.connect()
  for await (const line of require('readline').createInterface({ input: process.stdin })) {
    const request = JSON.parse(line)
    try {
      answer((await operations[request.op](request)) || {})
    } catch (error) {
      answer(refusal(error))
    }
  }
  process.exit(0)
}

main()
