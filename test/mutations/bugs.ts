// Planted bugs: each is one change of the production code that the simulation must find. A checker that cannot fail is a defect, so this
// list is the test of the tests. `find` is exact and matches once; when the code moves on, the entry has to follow.

export interface PlantedBug {
  readonly name: string
  /** Relative to the root of the repository. */
  readonly file: string
  readonly find: string
  readonly replace: string
  /** Which scenario has to find it. */
  readonly scenario: 'log' | 'broker' | 'brokers' | 'cluster' | 'register'
}

export const plantedBugs: readonly PlantedBug[] = [
  {
    name: 'file: acks before the sync',
    file: 'loglets/file/appender.ts',
    find: `const start = clock.now()
      try {
        await file.datasync()`,
    replace: `const start = clock.now()
      for (const { items, positions } of covered)
        items.forEach((item, i) => item.resolve(positions[i] as Position))
      try {
        await file.datasync()`,
    scenario: 'log',
  },
  {
    name: 'file: no sync at all',
    file: 'loglets/file/appender.ts',
    find: `const start = clock.now()
      try {
        await file.datasync()`,
    replace: `const start = clock.now()
      try {`,
    scenario: 'log',
  },
  {
    name: 'file: the tail moves before the write',
    file: 'loglets/file/appender.ts',
    find: `await file.write(group.buffers, this.written.end)`,
    replace: `this.options.onDurable(group.after.next, group.after.sealed)
      await file.write(group.buffers, this.written.end)`,
    scenario: 'log',
  },
  {
    name: 'file: a sync acks what was written after it began',
    file: 'loglets/file/appender.ts',
    find: `this.settle(covered)`,
    replace: `this.settle([...covered, ...this.takeUnsynced()])`,
    scenario: 'log',
  },
  {
    name: 'file: appends go on behind the seal',
    file: 'loglets/file/appender.ts',
    find: `if (this.sealing && placement?.repair !== true)`,
    replace: `if (false as boolean)`,
    scenario: 'log',
  },
  {
    name: 'file: says sealed before appends in flight are settled',
    file: 'loglets/file/appender.ts',
    find: `await this.enqueue(recordType.seal, [], 0, undefined)`,
    replace: `this.options.onDurable(this.durable.next, true)
      await this.enqueue(recordType.seal, [], 0, undefined)`,
    scenario: 'log',
  },
  {
    name: 'file: recovery cuts acked entries behind the last watermark',
    file: 'loglets/file/file-provider.ts',
    find: `if (suffix.length === 0) {`,
    replace: `if (true as boolean) {`,
    scenario: 'log',
  },
  {
    name: 'file: recovery believes the page cache',
    file: 'loglets/file/file-provider.ts',
    find: `await file.datasync()
    const crc = await writeWatermark(file, { end, next, lastCrc, salt })`,
    replace: `const crc = undefined as number | undefined`,
    scenario: 'log',
  },
  {
    name: 'file: recovery believes names that were never synced',
    file: 'loglets/file/file-provider.ts',
    find: `await disk.syncDir(directory)
    const trimPoint`,
    replace: `const trimPoint`,
    scenario: 'log',
  },
  {
    name: 'striped: the tail is the furthest stripe, not the nearest hole',
    file: 'loglets/striped/stripe-map.ts',
    find: `if (at < tail) tail = at`,
    replace: `if (i === 0 || at > tail) tail = at`,
    scenario: 'log',
  },
  {
    name: 'striped: acks without waiting for earlier positions',
    file: 'loglets/striped/striped-loglet.ts',
    find: `if (resolve !== undefined && reject !== undefined) this.pending.add(at, resolve, reject)`,
    replace: `resolve?.(position(at))`,
    scenario: 'log',
  },
  {
    name: 'striped: the tail is read before all stripes are sealed',
    file: 'loglets/striped/striped-loglet.ts',
    find: `await Promise.all(
      this.stripes.map(async loglet => {
        await loglet.seal()
        this.sealSeen = true
      }),
    )
    let states: readonly TailState[]
    do states = await Promise.all(this.stripes.map(loglet => loglet.checkTail()))
    while (!states.every(state => state.sealed))`,
    replace: `const states = await Promise.all(this.stripes.map(loglet => loglet.checkTail()))
    await Promise.all(this.stripes.map(loglet => loglet.seal()))
    this.sealSeen = true`,
    scenario: 'log',
  },
  {
    name: 'striped: one sealed stripe is enough',
    file: 'loglets/striped/striped-loglet.ts',
    find: `await Promise.all(
      this.stripes.map(async loglet => {
        await loglet.seal()
        this.sealSeen = true
      }),
    )
    let states: readonly TailState[]
    do states = await Promise.all(this.stripes.map(loglet => loglet.checkTail()))
    while (!states.every(state => state.sealed))`,
    replace: `await (this.stripes[0] as Loglet).seal()
    this.sealSeen = true
    const states = await Promise.all(this.stripes.map(loglet => loglet.checkTail()))`,
    scenario: 'log',
  },
  {
    name: 'memory: appends go on behind the seal',
    file: 'loglets/memory/memory-loglet.ts',
    find: `if (store.sealed)
      return Promise.reject`,
    replace: `if (false as boolean)
      return Promise.reject`,
    scenario: 'log',
  },
  {
    name: 'metastore: writes without comparing the version',
    file: 'loglets/metastore/file.ts',
    find: `if (version !== expectedVersion) return { ok: false, version, value: found }
      this.settled = false
      await replaceFile(this.disk, this.dir, registerName, encode(value, version + 1))`,
    replace: `this.settled = found === undefined
      await replaceFile(this.disk, this.dir, registerName, encode(value, expectedVersion + 1))`,
    scenario: 'log',
  },
  {
    name: 'metastore: the new content is not synced',
    file: 'loglets/metastore/atomic-file.ts',
    find: `await file.datasync()`,
    replace: ``,
    scenario: 'log',
  },
  {
    name: 'metastore: the rename is not synced',
    file: 'loglets/metastore/atomic-file.ts',
    find: `await disk.rename(temporary, path)
  await disk.syncDir(dir)`,
    replace: `await disk.rename(temporary, path)`,
    scenario: 'log',
  },
  {
    name: 'reconfigure: takes the tail before the seal',
    file: 'loglets/virtual-log/reconfigure.ts',
    find: `for (;;) {
    await loglet.seal()
    const state = await loglet.checkTail()
    if (state.sealed) return state.tail
  }`,
    replace: `const { tail } = await loglet.checkTail()
  await loglet.seal()
  return tail`,
    scenario: 'log',
  },
  {
    name: 'virtual log: believes a sealed tail before the chain moved',
    file: 'loglets/virtual-log/virtual-log.ts',
    find: `if (state !== undefined && !state.sealed) return state.tail`,
    replace: `if (state !== undefined) return state.tail`,
    scenario: 'log',
  },
  {
    name: 'virtual log: reads past the end of a segment',
    file: 'loglets/virtual-log/segment.ts',
    find: `const limit = lsn(Math.min(to, segment.end ?? to))`,
    replace: `const limit = to`,
    scenario: 'log',
  },
  {
    name: 'sessions: a later sequence takes effect first',
    file: 'broker/state/sessions.ts',
    find: `if (sequence === session.next) return session`,
    replace: `if (sequence >= session.next) {
      session.next = sequence
      return session
    }`,
    scenario: 'broker',
  },
  {
    name: 'sessions: duplicates take effect again',
    file: 'broker/state/sessions.ts',
    find: `if (sequence === session.next) return session`,
    replace: `if (sequence <= session.next) {
      session.next = Math.max(session.next, sequence)
      if (sequence < session.next) session.next--
      return session
    }`,
    scenario: 'broker',
  },
  {
    name: 'sessions: held-back entries are forgotten by a restart',
    file: 'broker/state/sessions.ts',
    find: `const h = [...held].map(([sequence, { lsn, entry }]) => [sequence, lsn, entryBytes(entry)])`,
    replace: `const h = held.size < 0 ? [[0, 0, entryBytes({ header: { session: 0, sequence: 0, stamp: 0 }, commands: [] })]] : []`,
    scenario: 'broker',
  },
  {
    name: 'producers: a retried request is appended again',
    file: 'broker/state/producers.ts',
    find: `if (identity.sequence !== lane.next) {`,
    replace: `if (identity.sequence > lane.next) {`,
    scenario: 'broker',
  },
  {
    name: 'producers: refusals are not recorded',
    file: 'broker/state/producers.ts',
    find: `lane.decisions.push({ sequence: identity.sequence, count, decision })`,
    replace: `if (decision.ok) lane.decisions.push({ sequence: identity.sequence, count, decision })`,
    scenario: 'broker',
  },
  {
    name: 'producers: lanes are not stored',
    file: 'broker/state/producers.ts',
    find: `if (cached !== undefined) this.dirtyLanes.add(cached)`,
    replace: ``,
    scenario: 'broker',
  },
  {
    name: 'state: a lost range does not raise the offsets',
    file: 'broker/state/state-machine.ts',
    find: `span: lostOffsets,`,
    replace: `span: 0,`,
    scenario: 'broker',
  },
  {
    name: 'cleaning: a batch is replaced wherever it lies',
    file: 'broker/state/relocation.ts',
    find: `if (!isExpected) return`,
    replace: ``,
    scenario: 'brokers',
  },
  {
    name: 'cleaning: an incomplete pass counts',
    file: 'broker/cleaning/compaction.ts',
    find: `return moves.length === 0 || (await proposeMoves(this.options, moves)) === moves.length`,
    replace: `if (moves.length > 0) await proposeMoves(this.options, moves)
      return true`,
    scenario: 'brokers',
  },
  {
    name: 'cleaning: what is not stored yet is overlooked',
    file: 'broker/state/state-machine.ts',
    find: `return Math.min(this.appliedLsn, heldFrom, this.topics.places.storedBelow)`,
    replace: `return Math.min(this.appliedLsn, heldFrom)`,
    scenario: 'brokers',
  },
  {
    name: 'state: conditions are checked after the append',
    file: 'broker/state/state-machine.ts',
    find: `if (state.next !== e.offset) return this.conflict(e, state.next)`,
    replace: `if (state.next < e.offset) return this.conflict(e, state.next)`,
    scenario: 'broker',
  },
  {
    name: 'state: stores one position more than was applied',
    file: 'broker/state/state-machine.ts',
    find: `version: stateVersion,
        applied: this.appliedLsn,`,
    replace: `version: stateVersion,
        applied: this.appliedLsn + 1,`,
    scenario: 'broker',
  },
  {
    name: 'striped: a sealed stripe counts as committed',
    file: 'loglets/striped/striped-loglet.ts',
    find: `return sealed ? 0 : tail`,
    replace: `return sealed || tail >= 0 ? tail : 0`,
    scenario: 'cluster',
  },
  {
    name: 'native: a duplicate is answered before the seal is looked at',
    file: 'loglets/native/replica.ts',
    find: `      if (this.sealing) return 'sealed'
`,
    replace: `      if (this.sealing && at + entries.length > this.local.tail) return 'sealed'
`,
    scenario: 'cluster',
  },
  {
    name: 'native: a log server takes what does not follow',
    file: 'loglets/native/replica.ts',
    find: `if (at > Math.max(this.staged, this.known.tail)) return 'gap'`,
    replace: `if (at < 0) return 'gap'`,
    scenario: 'cluster',
  },
  {
    name: 'native: one log server is a majority',
    file: 'loglets/majority.ts',
    find: `return Math.floor(count / 2) + 1`,
    replace: `return count > 0 ? 1 : 0`,
    scenario: 'cluster',
  },
  {
    name: 'native: the sequencer acks at the first server',
    file: 'loglets/native/sequencer.ts',
    find: `tails[this.majority - 1]`,
    replace: `tails[0]`,
    scenario: 'cluster',
  },
  {
    name: 'native: a log server answers before its sync',
    file: 'loglets/native/replica.ts',
    find: `      await write
      this.local.merge(tail, false)`,
    replace: `      void write.catch(() => {})
      this.local.merge(tail, false)`,
    scenario: 'cluster',
  },
  {
    name: 'native: appends go on behind the seal',
    file: 'loglets/native/replica.ts',
    find: `this.sealing = true
    try {
      await this.loglet.seal()`,
    replace: `try {
      await Promise.resolve()`,
    scenario: 'cluster',
  },
  {
    name: 'native: checkTail believes the lowest sealed tail',
    file: 'loglets/native/repair.ts',
    find: `const tail = Math.max(...answers.map(({ value }) => value.tail))`,
    replace: `const tail = Math.min(...answers.map(({ value }) => value.tail))`,
    scenario: 'cluster',
  },
  {
    name: 'native: checkTail repairs nothing',
    file: 'loglets/native/repair.ts',
    find: `.filter(({ value }) => value.tail < tail)`,
    replace: `.filter(({ value }) => value.tail < 0)`,
    scenario: 'cluster',
  },
  {
    name: 'native: the open tail is the highest one',
    file: 'loglets/native/find-tail.ts',
    find: `if (isCommitted(context, answers, goal)) return`,
    replace: `if (isCommitted(context, answers, goal) || goal > 0) return`,
    scenario: 'cluster',
  },
  {
    name: 'native: one server is asked for the tail',
    file: 'loglets/native/find-tail.ts',
    find: `const options = { timeoutMs: askTimeoutMs, signal }`,
    replace: `const options = { timeoutMs: askTimeoutMs, signal, answers: 1 }`,
    scenario: 'cluster',
  },
  {
    name: 'native: a seal is forgotten when repairs behind it move to a file of their own',
    file: 'loglets/file/file-provider.ts',
    find: `sealed && !hasSeal ? [seal, ...suffix] : suffix`,
    replace: `suffix`,
    scenario: 'cluster',
  },
  {
    name: 'native: a provisional tail is told as committed',
    file: 'loglets/native/native-loglet.ts',
    find: `if (state.sealed) this.learnSeal(state.tail)
    else this.commit(state.tail)`,
    replace: `this.commit(state.tail)
    if (state.sealed) this.learnSeal(state.tail)`,
    scenario: 'cluster',
  },
  {
    name: 'native: a request that comes twice is appended twice',
    file: 'loglets/native/sequencers.ts',
    find: `if (done === undefined) {`,
    replace: `if (number >= 0) {`,
    scenario: 'cluster',
  },
  {
    name: 'register: a vote is answered before it is on the disk',
    file: 'loglets/metastore/paxos/acceptor.ts',
    find: `await replaceFile(disk, dir, fileName, [new TextEncoder().encode(text)])`,
    replace: `void replaceFile(disk, dir, fileName, [new TextEncoder().encode(text)]).catch(() => {})`,
    scenario: 'register',
  },
  {
    name: 'register: a proposer ignores what others have accepted',
    file: 'loglets/metastore/paxos/paxos-metastore.ts',
    find: `const record = accepted?.record ?? proposal`,
    replace: `const record = proposal ?? accepted?.record`,
    scenario: 'register',
  },
  {
    name: 'register: an acceptor votes below its promise',
    file: 'loglets/metastore/paxos/acceptor.ts',
    find: `if (isBelow(ballot, state.promised)) return`,
    replace: `if (status === 'promised' && isBelow(ballot, state.promised)) return`,
    scenario: 'register',
  },
  {
    name: 'register: one node is a majority',
    file: 'loglets/majority.ts',
    find: `return Math.floor(count / 2) + 1`,
    replace: `return count > 0 ? 1 : 0`,
    scenario: 'register',
  },
  {
    name: 'register: a read does not finish what may have been decided',
    file: 'loglets/metastore/paxos/paxos-metastore.ts',
    find: `if (replies.every(reply => reply.accepted === undefined))`,
    replace: `if (replies.length > 0)`,
    scenario: 'register',
  },
  {
    name: 'brokers: one that fails while it opens its session waits for ever',
    file: 'broker/engine/proposer.ts',
    find: `    this.opened?.reject(error)\n`,
    replace: ``,
    scenario: 'brokers',
  },
  {
    name: 'brokers: a state that ends before the log begins goes on',
    file: 'broker/engine/load-state.ts',
    find: `  if (machine.applied >= start) return machine`,
    replace: `  if (start >= 0) return machine`,
    scenario: 'brokers',
  },
  {
    name: 'brokers: a late try of an old session takes effect',
    file: 'broker/state/sessions.ts',
    find: `    const session = this.live.get(entry.header.session)
    if (session === undefined) return undefined`,
    replace: `    const session = this.live.get(entry.header.session) ?? [...this.live.values()][0]
    if (session === undefined) return undefined`,
    scenario: 'brokers',
  },
  {
    name: 'groups: a commit of a former owner counts',
    file: 'broker/state/groups/group-machine.ts',
    find: `(claim?.owner !== memberId || claim.generation !== generation)`,
    replace: `(claim === undefined || claim.generation < 0)`,
    scenario: 'brokers',
  },
  {
    name: 'groups: a partition passes on in the same generation',
    file: 'broker/state/groups/rebalance.ts',
    find: `  claim.generation = group.generation
`,
    replace: `  claim.generation = Math.max(1, claim.generation)
`,
    scenario: 'brokers',
  },
  {
    name: 'groups: a late copy of an older commit counts',
    file: 'broker/state/groups/group-machine.ts',
    find: `      if (sequence <= member.commitSequence) return done
      member.commitSequence = sequence`,
    replace: `      member.commitSequence = sequence`,
    scenario: 'brokers',
  },
  {
    name: 'groups: outputs take effect without their offsets',
    file: 'broker/state/state-machine.ts',
    find: `const refused = commit === undefined ? undefined : this.groups.checkCommitNow(commit)`,
    replace: `const refused = commit === undefined ? undefined : (void this.groups.checkCommitNow(commit), undefined)`,
    scenario: 'brokers',
  },
  {
    name: 'partitions: a group reads on past the end of an epoch',
    file: 'broker/state/groups/reading-epoch.ts',
    find: `  return epochs[epoch + 1]?.ends[partition]
`,
    replace: `  return epochs[epoch + 1] === undefined ? undefined : epochs[epoch + 9]?.ends[partition]
`,
    scenario: 'brokers',
  },
  {
    name: 'partitions: added ones are given out at once',
    file: 'broker/state/groups/reading-epoch.ts',
    find: `  return topic.epochs[readingEpoch(group, topic)]?.partitions ?? 0`,
    replace: `  return topic.epochs[readingEpoch(group, topic)] === undefined ? 0 : topic.partitions.length`,
    scenario: 'brokers',
  },
  {
    name: 'as of: what came at the position counts',
    file: 'broker/state/past.ts',
    find: `else if (entry.effectLsn < position)`,
    replace: `else if (entry.effectLsn <= position)`,
    scenario: 'brokers',
  },
  {
    name: 'queues: who does not hold a record acknowledges it',
    file: 'broker/state/share/share-partition.ts',
    find: `    return this.records.get(offset)?.holder === memberId`,
    replace: `    return memberId !== '' && this.records.get(offset)?.holder !== undefined`,
    scenario: 'brokers',
  },
  {
    name: 'queues: a record whose lock is over is forgotten',
    file: 'broker/state/share/share-partition.ts',
    find: `      else this.takeBack(offset, delivery, 0, time, rules)
`,
    replace: `      else this.records.delete(offset)
`,
    scenario: 'brokers',
  },
  {
    name: 'queues: a delayed record never comes again',
    file: 'broker/state/share/share-partition.ts',
    find: `      else if (holder === undefined) this.makeReady(offset, delivery)
`,
    replace: `      else if (holder === undefined) delivery.until = undefined
`,
    scenario: 'brokers',
  },
  {
    name: 'queues: an answer takes effect without its acknowledgement',
    file: 'broker/state/state-machine.ts',
    find: `    return refused ?? (ack === undefined ? undefined : this.shares.checkAck(ack))`,
    replace: `    return refused ?? (ack === undefined ? undefined : (void this.shares.checkAck(ack), undefined))`,
    scenario: 'brokers',
  },
  {
    name: 'partitions: a record whose partition was chosen out of fewer takes effect',
    file: 'broker/state/state-machine.ts',
    find: `if (topic === undefined || partitions === chosenOutOf) continue`,
    replace: `if (topic === undefined || chosenOutOf >= 0) continue`,
    scenario: 'brokers',
  },
]
