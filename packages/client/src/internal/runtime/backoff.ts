/**
 * One backoff for a whole server: while it answers 429, extensions and retries of the client wait together instead of
 * each asking by itself.
 */

/** The backoff of one server. */
export class ServerBackoff {
  #untilMs = 0
  #streak = 0

  /** The server throttled a call. Without a time of its own, the delay doubles from 0.5 s to 30 s while it goes on. */
  throttled(nowMs: number, minimumDelayMs: number): void {
    if (nowMs >= this.#untilMs || this.#streak === 0) this.#streak += 1
    const delayMs = minimumDelayMs > 0 ? minimumDelayMs : Math.min(30_000, 500 * 2 ** Math.min(this.#streak - 1, 6))
    this.#untilMs = Math.max(this.#untilMs, nowMs + delayMs)
  }

  /** The server accepted a call. */
  succeeded(): void {
    this.#streak = 0
  }

  /** How long calls of the client should still wait, in milliseconds. */
  remainingMs(nowMs: number): number {
    return Math.max(0, this.#untilMs - nowMs)
  }
}
