/** The thread of the watchdog. */
import { writeSync } from "node:fs"
import { workerData } from "node:worker_threads"
import type { ThreadData } from "./watchdog.ts"

const { limitMs, shared, textOffset, tickMs }: ThreadData = workerData

const counters = new Int32Array(shared, 0, 2)

let seen = -1
let without = 0

setInterval(() => {
  const ticks = Atomics.load(counters, 0)
  without = ticks === seen ? without + tickMs : 0
  seen = ticks
  if (without < limitMs) return
  // The other thread can't print.
  const text = Buffer.from(new Uint8Array(shared, textOffset, Atomics.load(counters, 1))).toString("utf8")
  writeSync(2, `FAILED the event loop was blocked for ${limitMs} ms by one of:\n${text}\n`)
  process.kill(process.pid, "SIGKILL")
}, tickMs)
