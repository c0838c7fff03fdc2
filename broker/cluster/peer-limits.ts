// Bounds of the link between nodes (protocol.md 9, docs/limits.md). Bytes, counts and milliseconds, as the names say.

/** One frame, once both sides have proved who they are. */
export const peerFrameBytesMax = 24 << 20
/** Array items and map pairs in one frame. */
export const peerElementsMax = 200_000
/** Pieces that a frame may arrive in: the largest one in segments of 512 bytes. */
export const messageChunksMax = 65_536
/** Everything that a socket may send before it is authenticated, WebSocket framing included. */
export const handshakeBytesMax = 4096
/** From the open socket to the end of the handshake; also what a dial may take in all. */
export const handshakeMsMax = 2000
/** Sockets that are not authenticated yet. */
export const unauthenticatedMax = 64
/** TCP connections to the listener, whatever they are. */
export const listenerSocketsMax = 1024
/** Calls to one node that wait to leave; replies to it that do. */
export const peerOutputBytesMax = 64 << 20
/** Replies that wait to leave: above, no further requests of that node are read. */
export const replyBytesMax = 16 << 20
/** Requests of one node being served: above, no further ones are read. */
export const servedBytesMax = 32 << 20
export const servedCallsMax = 4096
/** How long replies may wait without any leaving. */
export const outputStallMsMax = 10_000
/** Written at once, before the turn of the event loop ends. */
export const corkedBytesMax = 256 << 10
/** Pause between two dials; the first is 50 ms. */
export const dialPauseMsMax = 2000
/** Characters of an error's message that cross the link. */
export const errorTextMax = 1000
/** How long `close` waits for handlers under way. */
export const closeWaitMsMax = 1000

export const firstDialPauseMs = 50
/** Between two looks at deadlines, silence and pauses. */
export const tickMs = 25
export const peerTimeoutMsDefault = 2000
export const secretBytesMin = 16

/** What the guard lets through on this link, both before and after authentication. */
export const peerGuardLimits = { elementsMax: peerElementsMax }
