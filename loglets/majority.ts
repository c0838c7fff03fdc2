// Quorums of a fixed group: any two majorities share a member.

/** The smallest number of `count` members that is more than half of them. */
export function majority(count: number): number {
  return Math.floor(count / 2) + 1
}
