/** A TCP server that responds to HTTP requests with any bytes, at any pace. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"

/** The bytes of a response and how they are sent. */
export interface Plan {
  /** The status line and the headers, with the empty line. */
  readonly head: Buffer
  readonly body: Buffer | Endless
  readonly pace:
    | "at once"
    /** One byte every few milliseconds. */
    | "drip"
    /** Half of the bytes, then the end of the connection. */
    | "half, then end"
    /** Half of the bytes, then a reset. */
    | "half, then reset"
    /** Half of the bytes, then nothing. */
    | "half, then nothing"
  /** Whether the connection is closed after the last byte. */
  readonly closes: boolean
}

/** A body without an end, or with one that is far away. */
export interface Endless {
  readonly chunk: Buffer
  readonly bytes: number
  /** Whether the chunks have the framing of `transfer-encoding: chunked`. */
  readonly isChunked?: boolean
}

/** A server whose next responses can be set. */
export interface HostileServer {
  readonly url: string
  /** Sends the same response to all following requests. The function gets the request as text. */
  readonly respond: (plan: (request: string) => Plan) => void
  /**
   * The largest number of bytes of a long body that a client has accepted since `respond`, with those in socket
   * buffers.
   */
  readonly accepted: () => number
}

/** Starts a server on a free port. It is closed with the scope. */
export const make: Effect.Effect<HostileServer, never, Scope.Scope> = Effect.gen(function* () {
  const sockets = new Set<Net.Socket>()
  let accepted = 0
  const onSent = (bytes: number): void => void (accepted = Math.max(accepted, bytes))
  let plan: (request: string) => Plan = () => ({
    head: Buffer.from("HTTP/1.1 204 No Content\r\n\r\n"),
    body: Buffer.alloc(0),
    pace: "at once",
    closes: true
  })
  const server = yield* Effect.acquireRelease(
    Effect.callback<Net.Server>((resume) => {
      const listening = Net.createServer((socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
        socket.once("close", () => sockets.delete(socket))
        socket.setNoDelay(true)
        let received = ""
        socket.on("data", (chunk: Buffer) => {
          received += chunk.toString("latin1")
          const end = received.indexOf("\r\n\r\n")
          if (end < 0) return
          const length = Number(/\r\ncontent-length: *(\d+)/i.exec(received)?.[1] ?? 0)
          if (received.length < end + 4 + length) return
          const request = received
          received = ""
          send(socket, plan(request), onSent)
        })
      })
      listening.listen(0, "127.0.0.1", () => resume(Effect.succeed(listening)))
    }),
    (listening) =>
      Effect.callback<void>((resume) => {
        for (const socket of sockets) socket.destroy()
        listening.close(() => resume(Effect.void))
      })
  )
  const address = server.address()
  return {
    url: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`,
    respond: (next) => {
      plan = next
      accepted = 0
    },
    accepted: () => accepted
  }
})

const send = (socket: Net.Socket, { body, closes, head, pace }: Plan, onSent: (bytes: number) => void): void => {
  const finish = (): void => void (closes && socket.end())
  if (!Buffer.isBuffer(body)) {
    socket.write(head)
    return sendEndless(socket, body, finish, onSent)
  }
  const bytes = Buffer.concat([head, body])
  const half = bytes.subarray(0, bytes.length >> 1)
  switch (pace) {
    case "at once":
      socket.write(bytes)
      return finish()
    case "half, then end":
      return void socket.end(half)
    case "half, then reset":
      return void socket.write(half, () => socket.resetAndDestroy())
    case "half, then nothing":
      return void socket.write(half)
    case "drip":
      return drip(socket, bytes, finish)
  }
}

const drip = (socket: Net.Socket, bytes: Buffer, finish: () => void): void => {
  let sent = 0
  const timer = setInterval(() => {
    if (socket.destroyed || sent >= bytes.length) {
      clearInterval(timer)
      if (!socket.destroyed) finish()
      return
    }
    socket.write(bytes.subarray(sent, (sent += 1)))
  }, 3)
  timer.unref()
}

const sendEndless = (
  socket: Net.Socket,
  { bytes, chunk, isChunked = false }: Endless,
  finish: () => void,
  onSent: (bytes: number) => void
): void => {
  const part = isChunked
    ? Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from("\r\n")])
    : chunk
  let sent = 0
  const more = (): void => {
    // The bytes of the last write count when the client has read most of them.
    onSent(sent)
    while (!socket.destroyed && sent < bytes) {
      // A client without a limit would use all memory of the machine.
      if (sent >= mostBytes) return void socket.destroy()
      sent += part.length
      if (!socket.write(part)) return void socket.once("drain", more)
    }
    if (socket.destroyed) return
    if (isChunked) socket.write("0\r\n\r\n")
    finish()
  }
  more()
}

const mostBytes = 1_073_741_824
