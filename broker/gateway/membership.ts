// A member of a consumer group on this connection (protocol.md 10): tells it what it holds whenever that changes, and begins its grace period when
// the connection ends.
//
// Pushes are whole states, not steps: one that is lost with the connection is made good by the next.

import { LogloomError } from '../../wire/errors.ts'
import type { Frame } from '../../wire/frame.ts'
import type { Access } from '../security/authorizer.ts'
import type { MemberView } from '../state/groups/group-machine.ts'
import type { Connection } from './connection.ts'
import type { GatewayContext } from './context.ts'
import { memberKey } from './memberships.ts'

/** Before what the broker could not take is said again. */
const retryMs = 500

export interface MembershipOptions {
  readonly group: string
  readonly memberId: string
  readonly instanceId: string | undefined
  readonly attachment: number
  /** @throws AUTHORIZATION_FAILED when the member may not be one */
  readonly mayJoin: (access: Access) => void
}

export class Membership {
  private readonly context: GatewayContext
  private readonly connection: Connection
  private readonly options: MembershipOptions
  private readonly stops: readonly (() => void)[]
  private told = ''
  private ended = false
  private attaching = false

  constructor(context: GatewayContext, connection: Connection, options: MembershipOptions) {
    this.context = context
    this.connection = connection
    this.options = options
    this.stops = [
      context.broker.onGroup(options.group, () => this.look()),
      connection.onLeaving(() => this.detach()),
    ]
  }

  /** What the member holds, in the words of the protocol; the next push follows what differs. */
  view(): Frame {
    const { group: name, memberId } = this.options
    const view = this.context.broker.memberView(name, memberId)
    const frame = view === undefined ? {} : this.frameOf(view)
    this.told = JSON.stringify(frame)
    return frame
  }

  /** The socket is gone, or the member joined on another. */
  detach(): void {
    if (this.ended) return
    this.end()
    this.sayDetached()
  }

  /** Puts the member out when it may not be one any more. @returns whether it still may */
  recheck(access: Access): boolean {
    if (this.ended) return false
    const { group, memberId, mayJoin } = this.options
    try {
      mayJoin(access)
      return true
    } catch (error) {
      const denial = error as LogloomError
      this.end()
      this.connection.denied('joinGroup', denial)
      this.connection.push({ op: 'assignment', group, memberId, error: denial.toWire() })
      // What it holds is for others at once; where that cannot be said now, after its grace period.
      this.context.broker
        .propose({ type: 'leaveGroup', group, memberId })
        .catch(() => this.sayDetached())
      return false
    }
  }

  /** Until it is in the log: the member would never expire without. */
  private sayDetached(): void {
    const { group, memberId, attachment } = this.options
    this.context.broker
      .propose({ type: 'detachMember', group, memberId, attachment })
      .catch(error => {
        // The broker goes away too: its session ends, and with it what hangs on it.
        if ((error as LogloomError).code === 'SHUTTING_DOWN') return
        this.context.timers.after(retryMs, () => this.sayDetached())
      })
  }

  /** Says nothing more. */
  end(): void {
    this.ended = true
    for (const stop of this.stops) stop()
  }

  private look(): void {
    const { group: name, memberId, attachment, instanceId } = this.options
    // While the member joins anew on this connection, what changes is told by the next membership.
    if (this.ended || this.connection.memberships.isJoining(memberKey(name, memberId))) return
    const group = this.context.broker.group(name)
    const member = group?.members.get(memberId)
    if (member !== undefined && member.attachment === attachment) {
      if (member.session === undefined) this.attach()
      const { told } = this
      const frame = this.view()
      if (this.told !== told)
        this.connection.push({ op: 'assignment', group: name, memberId, ...frame })
      return
    }
    this.end()
    const hasHeir = [...(group?.members.values() ?? [])].some(
      other => instanceId !== undefined && other.instanceId === instanceId,
    )
    const error =
      member !== undefined || hasHeir
        ? new LogloomError(
            'MEMBER_FENCED',
            `another process took the place of member ${memberId} of group ${name}`,
            { group: name, memberId },
          )
        : new LogloomError('UNKNOWN_MEMBER', `group ${name} has no member ${memberId} any more`, {
            group: name,
            memberId,
          })
    this.connection.push({ op: 'assignment', group: name, memberId, error: error.toWire() })
  }

  /** The session of this broker was given up and opened anew; the connection is still here. */
  private attach(): void {
    if (this.attaching) return
    this.attaching = true
    const { group, memberId, attachment } = this.options
    this.context.broker
      .propose({ type: 'attachMember', group, memberId, attachment })
      .catch(() => this.context.timers.after(retryMs, () => this.look()))
      .finally(() => {
        this.attaching = false
      })
  }

  private frameOf({ generation, assigned, revoking }: MemberView): Frame {
    const nameOf = (topicId: number): string => this.context.broker.topicById(topicId)?.name ?? ''
    return {
      generation,
      assigned: assigned.map(({ topicId, generation: since, offset, until, ...place }) => ({
        topic: nameOf(topicId),
        ...place,
        generation: since,
        offset: offset ?? null,
        ...(until === undefined ? {} : { until }),
      })),
      revoking: revoking.map(({ topicId, partition, generation: since }) => ({
        topic: nameOf(topicId),
        partition,
        generation: since,
      })),
    }
  }
}
