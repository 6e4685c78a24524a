// The agent of kafkajs. It has no consumer without a group: an assignment by hand is a group of its own that seeks.
'use strict'

const crypto = require('crypto')
const readline = require('readline')
const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require('kafkajs')
const snappy = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const { ZstdCodec } = require('zstd-codec')

const LONG = 65536
const DYNAMIC_TOPIC_CONFIG = 1
const CODECS = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }
const retry = { retries: 200, initialRetryTime: 50, maxRetryTime: 500, restartOnFailure: async () => true }

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const dataIn = said => {
  if (said === null) return null
  if (typeof said === 'string') return Buffer.from(said, 'base64')
  return Buffer.alloc(said.n, `${said.seed},`)
}
const dataOut = data => {
  if (data === null || data === undefined) return null
  if (data.length > LONG) return { n: data.length, sha256: crypto.createHash('sha256').update(data).digest('hex') }
  return data.toString('base64')
}

const registerCodecs = async () => {
  CompressionCodecs[CompressionTypes.Snappy] = snappy
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    compress: async encoder => lz4.compressFrame(encoder.buffer),
    decompress: async buffer => lz4.decompressFrame(buffer),
  })
  const zstd = await new Promise(resolve => ZstdCodec.run(binding => resolve(new binding.Simple())))
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async encoder => Buffer.from(zstd.compress(encoder.buffer)),
    decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
  })
}

class One {
  constructor(client) {
    this.client = client
    this.records = []
    this.events = []
    this.errors = []
    this.held = []
    this.wake = () => {}
    this.owesSync = false
    this.restarted = Promise.resolve()
  }

  // Each record goes to `put`, and nothing is committed by itself.
  async run() {
    await this.client.run({ autoCommit: false, eachMessage: async ({ topic, partition, message }) => {
      this.put(topic, partition, message)
    } })
  }

  // kafkajs 2.2.4 forgets a rejoin that a lost connection cuts between JoinGroup and SyncGroup: it goes on to fetch what
  // it was assigned before, and as it heartbeats in the new generation, nobody else gets what it is assigned now. It has no
  // event for this; its user sees that it fetches without having synced, and starts it anew. A SyncGroup that was
  // answered, with whatever error, or that nobody answers on a living connection, is not such a case.
  watchRejoins() {
    const { REQUEST, REQUEST_TIMEOUT, FETCH_START } = this.client.events
    this.client.on(REQUEST, ({ payload }) => {
      if (payload.apiName === 'JoinGroup') this.owesSync = true
      if (payload.apiName === 'SyncGroup') this.owesSync = false
    })
    this.client.on(REQUEST_TIMEOUT, ({ payload }) => {
      if (payload.apiName === 'SyncGroup') this.owesSync = false
    })
    this.client.on(FETCH_START, () => {
      if (!this.owesSync) return
      this.owesSync = false
      this.events.push(['restarted', []])
      this.restarted = this.restart().catch(error => { this.errors.push(String(error)) })
    })
  }

  async restart() {
    await this.client.stop()
    await this.run()
  }

  async close() {
    await this.restarted
    await this.client.disconnect()
  }

  put(topic, partition, message) {
    const headers = []
    for (const [name, values] of Object.entries(message.headers || {})) {
      for (const value of [].concat(values)) headers.push([name, dataOut(value)])
    }
    this.records.push({ topic, p: partition, o: Number(message.offset), k: dataOut(message.key), v: dataOut(message.value),
      h: headers, t: Number(message.timestamp) })
    this.wake()
  }

  async take(most, waitMs) {
    const deadline = Date.now() + waitMs
    while (this.records.length === 0 && Date.now() < deadline) {
      await Promise.race([sleep(Math.max(deadline - Date.now(), 1)), new Promise(resolve => { this.wake = resolve })])
    }
    return { records: this.records.splice(0, most), errors: this.errors.splice(0) }
  }
}

class Agent {
  constructor() {
    this.open_ones = {}
    this.gates = []
    this.released = 0
  }

  async start({ address }) {
    await registerCodecs()
    this.kafka = new Kafka({ brokers: [address], clientId: 'interop', logLevel: logLevel.ERROR, retry,
      connectionTimeout: 5000, requestTimeout: 60000 })
    // An error that it takes for passing, such as a topic that is not there, is to come back soon.
    this.admin = this.kafka.admin({ retry: { ...retry, retries: 6 } })
    await this.admin.connect()
    const { version } = require('kafkajs/package.json')
    return `kafkajs ${version}, node ${process.version}`
  }

  async produce({ topic, records, codec = 'none', idempotent = false, pace = null }) {
    const client = this.kafka.producer({ idempotent, maxInFlightRequests: idempotent ? 1 : 5, retry,
      allowAutoTopicCreation: false })
    await client.connect()
    const answers = []
    try {
      const chunk = pace ? pace.chunk : records.length
      for (let from = 0; from < records.length; from += chunk) {
        const part = records.slice(from, from + chunk)
        answers.push(...await this.send(client, topic, part, codec))
        if (!pace) continue
        await sleep(pace.ms)
        if (pace.halts.includes(from + chunk)) await this.gate()
      }
    } finally {
      await client.disconnect()
    }
    return answers
  }

  async send(client, topic, records, codec) {
    const messages = records.map(r => ({ partition: r.p, key: dataIn(r.k), value: dataIn(r.v), headers: headersIn(r.h),
      ...(r.t === null ? {} : { timestamp: String(r.t) }) }))
    try {
      const found = await client.send({ topic, messages, acks: -1, compression: CompressionTypes[CODECS[codec]] })
      const next = {}
      for (const answer of found) next[answer.partition] = Number(answer.baseOffset)
      return records.map(r => ({ offset: next[r.p]++ }))
    } catch (error) {
      return records.map(() => ({ error: `${error.name}: ${error.message}` }))
    }
  }

  async gate() {
    if (this.released > 0) this.released--
    else await new Promise(resolve => this.gates.push(resolve))
  }

  async go() {
    const next = this.gates.shift()
    if (next) next()
    else this.released++
  }

  async open({ name, assign = null, group = null, topics = null, reset = 'earliest', most = 1048576 }) {
    const client = this.kafka.consumer({ groupId: group || `assigned-${name}-${process.pid}`, sessionTimeout: 10000,
      heartbeatInterval: 500, maxWaitTimeInMs: 200, maxBytesPerPartition: most, retry, rebalanceTimeout: 60000 })
    const one = new One(client)
    this.open_ones[name] = one
    client.on(client.events.GROUP_JOIN, ({ payload }) => {
      one.held = Object.entries(payload.memberAssignment).flatMap(([topic, ps]) => ps.map(p => [topic, p]))
      one.events.push(['assigned', one.held])
    })
    client.on(client.events.REBALANCING, () => { one.held = [] })
    client.on(client.events.CRASH, ({ payload }) => { one.errors.push(String(payload.error)) })
    // A group of its own has one assignment only, and where it was sought is lost with a restart.
    if (group) one.watchRejoins()
    await client.connect()
    const latest = assign !== null && assign.every(([, , offset]) => offset === -1)
    const wanted = topics || [...new Set(assign.map(([topic]) => topic))]
    await client.subscribe({ topics: wanted, fromBeginning: !latest && reset === 'earliest' })
    await one.run()
    for (const [topic, partition, offset] of assign || []) {
      if (offset >= 0) client.seek({ topic, partition, offset: String(offset) })
    }
  }

  async poll({ name, most, wait_ms }) { return this.open_ones[name].take(most, wait_ms) }
  async assignment({ name }) { return this.open_ones[name].held }
  async events({ name }) { return this.open_ones[name].events }

  async seek({ name, topic, p, offset }) {
    const one = this.open_ones[name]
    one.client.seek({ topic, partition: p, offset: String(offset) })
    one.records = one.records.filter(r => r.topic !== topic || r.p !== p)
  }

  async pause({ name, topic, p }) { this.open_ones[name].client.pause([{ topic, partitions: [p] }]) }
  async resume({ name, topic, p }) { this.open_ones[name].client.resume([{ topic, partitions: [p] }]) }

  async at_time({ topic, p, timestamp }) {
    const found = await this.admin.fetchTopicOffsetsByTimestamp(topic, timestamp)
    const offset = Number(found.find(one => one.partition === p).offset)
    // It answers the end where no record is that late.
    const [, end] = await this.ends({ topic, p })
    return offset === end ? null : offset
  }

  async ends({ topic, p }) {
    const found = (await this.admin.fetchTopicOffsets(topic)).find(one => one.partition === p)
    return [Number(found.low), Number(found.high)]
  }

  async commit({ name, offsets }) {
    await this.open_ones[name].client.commitOffsets(
      offsets.map(([topic, partition, offset]) => ({ topic, partition, offset: String(offset) })))
  }

  async committed({ group, topic, p }) {
    const [found] = await this.admin.fetchOffsets({ groupId: group, topics: [topic] })
    const offset = Number(found.partitions.find(one => one.partition === p).offset)
    return offset >= 0 ? offset : null
  }

  async close({ name }) {
    const one = this.open_ones[name]
    delete this.open_ones[name]
    await one.close()
  }

  async reset() {
    for (const name of Object.keys(this.open_ones)) await this.close({ name })
  }

  async create_topic({ name, partitions, configs = null }) {
    const configEntries = Object.entries(configs || {}).map(([key, value]) => ({ name: key, value }))
    const made = await this.admin.createTopics({ waitForLeaders: true,
      topics: [{ topic: name, numPartitions: partitions, replicationFactor: 1, configEntries }] })
    if (!made) throw Object.assign(new Error('the topic exists'), { code: 36 })
  }

  async delete_topic({ name }) { await this.admin.deleteTopics({ topics: [name] }) }
  async grow({ name, partitions }) {
    await this.admin.createPartitions({ topicPartitions: [{ topic: name, count: partitions }] })
  }

  async topics() {
    const { topics } = await this.admin.fetchTopicMetadata()
    return Object.fromEntries(topics.map(topic => [topic.name, topic.partitions.length]))
  }

  async delete_records({ topic, p, before }) {
    await this.admin.deleteTopicRecords({ topic, partitions: [{ partition: p, offset: String(before) }] })
    return (await this.ends({ topic, p }))[0]
  }

  async configs(type, name) {
    const found = await this.admin.describeConfigs({ resources: [{ type, name }], includeSynonyms: false })
    return found.resources[0].configEntries
  }

  async topic_configs({ name }) {
    const entries = await this.configs(ConfigResourceTypes.TOPIC, name)
    return Object.fromEntries(entries.map(entry => [entry.configName, entry.configValue]))
  }

  async broker_configs({ node }) {
    const entries = await this.configs(ConfigResourceTypes.BROKER, String(node))
    return Object.fromEntries(entries.map(entry => [entry.configName, entry.configValue]))
  }

  async set_topic_config({ name, key, value }) {
    // What is left out is reset: this client has no incremental call.
    const mine = (await this.configs(ConfigResourceTypes.TOPIC, name))
      .filter(entry => entry.configSource === DYNAMIC_TOPIC_CONFIG && entry.configName !== key)
      .map(entry => ({ name: entry.configName, value: entry.configValue }))
    await this.admin.alterConfigs({ validateOnly: false,
      resources: [{ type: ConfigResourceTypes.TOPIC, name, configEntries: [...mine, { name: key, value }] }] })
  }

  async groups() { return (await this.admin.listGroups()).groups.map(group => group.groupId) }

  async describe_group({ group }) {
    const [found] = (await this.admin.describeGroups([group])).groups
    return { state: found.state, members: found.members.length }
  }

  async delete_group({ group }) { await this.admin.deleteGroups([group]) }

  async set_group_offset({ group, topic, p, offset }) {
    await this.admin.setOffsets({ groupId: group, topic, partitions: [{ partition: p, offset: String(offset) }] })
  }

  async group_offsets({ group }) {
    const found = await this.admin.fetchOffsets({ groupId: group })
    return found.flatMap(({ topic, partitions }) => partitions
      .filter(one => Number(one.offset) >= 0)
      .map(one => [topic, one.partition, Number(one.offset)])).sort((a, b) => a[1] - b[1])
  }
}

const headersIn = headers => {
  const found = {}
  for (const [name, value] of headers) (found[name] = found[name] || []).push(dataIn(value))
  return found
}

const codeOf = error => {
  for (let e = error; e; e = e.cause || e.originalError || (e.groups && e.groups[0] && e.groups[0].error) ||
      (e.errors && e.errors[0])) {
    if (Number.isInteger(e.code)) return e.code
    if (e.groups && e.groups[0] && Number.isInteger(e.groups[0].errorCode)) return e.groups[0].errorCode
  }
  return null
}

const agent = new Agent()
readline.createInterface({ input: process.stdin }).on('line', async line => {
  const { id, call, args } = JSON.parse(line)
  let reply
  try {
    const result = await agent[call](args)
    reply = { result: result === undefined ? null : result }
  } catch (error) {
    reply = { error: { code: codeOf(error), text: `${error.name}: ${error.message}` } }
  }
  process.stdout.write(JSON.stringify({ id, ...reply }) + '\n')
}).on('close', () => process.exit(0))
