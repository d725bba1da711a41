/** One backoff for a server: while it throttles, all extensions and retries of the client wait together. */

/** The backoff of one server. */
export class ServerBackoff {
  #untilMs = 0
  #streak = 0

  /**
   * The server throttled a call. If it requested no delay, the backoff doubles from 0.5 s to 30 s with each throttled
   * call.
   */
  throttled(nowMs: number, minimumDelayMs: number): void {
    if (nowMs >= this.#untilMs || this.#streak === 0) this.#streak += 1
    const delayMs = minimumDelayMs > 0 ? minimumDelayMs : Math.min(30_000, 500 * 2 ** Math.min(this.#streak - 1, 6))
    this.#untilMs = Math.max(this.#untilMs, nowMs + delayMs)
  }

  /** The server accepted a call. */
  succeeded(): void {
    this.#streak = 0
  }

  /** The remaining backoff in milliseconds. */
  remainingMs(nowMs: number): number {
    return Math.max(0, this.#untilMs - nowMs)
  }
}
