// How long requests may keep the event loop at a stretch. A chunk of a socket holds a thousand small requests, and what each costs is the client's
// choice: without a bound one connection would hold up all others for a second at a time.
//
// A turn begins with the first message that comes in and ends when the event loop has come round. What is late in it waits for the next one,
// but for the first message of each connection: it would be taken in any case, and nobody should wait for what others have waiting.
// Within a turn messages are taken in bursts: behind each of them the promises of its requests get on, so that their time is seen, too.
//
// Who has more stands in line. Each gets one burst and goes to its end; when the time is over, each of the others gets one message, and is
// before those who had more in the next turn. So all who send much get the same, whoever came first.

/** All connections together. */
export const turnMsMax = 5
/** Messages taken before their promises get on, all connections together. */
export const burstMessagesMax = 32

type Go = () => void

let endsAt: number | undefined
let messages = 0
let turn = 0
/** Who waits, in this order. */
let line: Go[] = []
/** Who got no more than one message in this turn, and stands before the others in the next. */
let brief: Go[] = []
/** Of the line, those who have not had their burst or message in this turn. */
let due = 0
let isServing = false
/** The one that is being served came when the time was over. */
let isBrief = false

const begin = (): void => {
  turn++
  endsAt = undefined
  messages = 0
}

/** Whether this turn has had its time. */
export function isTurnOver(): boolean {
  const now = performance.now()
  if (endsAt !== undefined) return now >= endsAt
  endsAt = now + turnMsMax
  setImmediate(begin)
  return false
}

/** Counts a message that is about to be taken; true when it has to wait: for the next turn if this one is over, else for the next burst. */
export function mustWait(): boolean {
  return isTurnOver() || ++messages > burstMessagesMax
}

/** Number of this turn. */
export function turnNow(): number {
  return turn
}

/** Calls `go` when it is its turn, once: for a burst in this turn if there is time, else for one in the next, or for one message. */
export function standInLine(go: Go): void {
  ;(isBrief ? brief : line).push(go)
  if (isServing) return
  isServing = true
  if (isTurnOver()) setImmediate(serveAll)
  else queueMicrotask(serveAll)
}

function serveAll(): void {
  line = brief.concat(line)
  brief = []
  due = line.length
  serveNext()
}

function serveNext(): void {
  const go = line.shift()
  isBrief = isTurnOver()
  messages = 0
  due--
  go?.()
  isBrief = false
  if (line.length > 0 && (due > 0 || !isTurnOver())) queueMicrotask(afterPromises)
  else if (line.length + brief.length > 0) setImmediate(serveAll)
  else isServing = false
}

/** All promises of the burst get on before the next one. */
function afterPromises(): void {
  process.nextTick(serveNext)
}
