import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { Amount, Cycles, Run } from "effect-cycles"
import { rich } from "./support/runs.ts"

const line: Run.Line = {
  action: { kind: "llm.completion", name: "openai:gpt-5" },
  unit: "USD_MICROCENTS",
  calls: 9,
  denied: 0,
  wouldDeny: 0,
  open: 0,
  estimated: 410_000_000n,
  charged: 188_000_000n,
  uncertain: 0,
  latencyMs: 28_400,
  maxLatencyMs: 6_150
}

const summary: Run.Summary = {
  id: "job-1",
  name: "flights",
  status: "ended",
  elapsedMs: 41_250,
  budgets: [
    {
      unit: "USD_MICROCENTS",
      allocated: Amount.usd("2.00"),
      charged: Amount.usd("1.9312"),
      held: Amount.usd("0"),
      remaining: Amount.usd("0.0688")
    }
  ],
  lines: [line],
  calls: 9,
  denials: 0,
  wouldDeny: 0,
  uncertain: 0,
  steps: 0,
  toolCalls: 0,
  stoppedBy: undefined,
  uncovered: [],
  children: []
}

const empty: Run.Summary = { ...summary, name: "run", elapsedMs: 0, budgets: [], lines: [], calls: 0 }

describe("Run.format", () => {
  it("has a headline, the budgets, and a row for each action and unit, and the same for children", () => {
    const text = Run.format({
      ...summary,
      status: "running",
      denials: 3,
      uncertain: 1,
      budgets: [
        ...summary.budgets,
        {
          unit: "RISK_POINTS",
          allocated: undefined,
          charged: Amount.riskPoints(40),
          held: Amount.riskPoints(5),
          remaining: undefined
        }
      ],
      lines: [
        line,
        {
          ...line,
          action: { kind: "tool.call", name: "Search" },
          unit: "RISK_POINTS",
          calls: 1,
          denied: 3,
          open: 1,
          estimated: 45n,
          charged: 40n,
          uncertain: 1,
          latencyMs: 400,
          maxLatencyMs: 400
        }
      ],
      children: [
        {
          ...summary,
          name: "hotel",
          elapsedMs: 3_725_000,
          budgets: [
            {
              unit: "TOKENS",
              allocated: Amount.tokens(0),
              charged: Amount.tokens(0),
              held: Amount.tokens(0),
              remaining: Amount.tokens(0)
            }
          ],
          lines: [{ ...line, unit: "TOKENS", calls: 12, estimated: 1_200n, charged: 900n, latencyMs: 125_000 }]
        }
      ]
    })
    expect(text).toMatchInlineSnapshot(`
      "flights      running for 41 s, 9 calls, 3 denied, 1 uncertain
      USD          $1.9312 of $2.00 (96 %), $0.0688 left, nothing held
      RISK_POINTS  40, no budget, 5 held
        llm.completion openai:gpt-5     9 calls  0 denied                   reserved $4.10           charged $1.88                    28 s   max 6.1 s
        tool.call Search                 1 call  3 denied  1 open  reserved 45 RISK_POINTS  charged 40 RISK_POINTS  1 uncertain     400 ms  max 400 ms
        hotel   ended after 1 h 2 min, 9 calls
        TOKENS  0 of 0, 0 left, nothing held
          llm.completion openai:gpt-5  12 calls  0 denied             reserved 1200 TOKENS      charged 900 TOKENS               2 min 5 s   max 6.1 s"
    `)
  })

  it("shows the denials that a client in shadow mode didn't enforce", () => {
    const text = Run.format({ ...empty, wouldDeny: 2, lines: [line, { ...line, unit: "TOKENS", wouldDeny: 2 }] })
    expect(text).toContain("run  ended after 0 ms, 0 calls, 2 would be denied")
    expect(text).toContain("9 calls  0 denied  2 would be denied  reserved")
  })

  it("is one line for a run without calls and budgets", () => {
    expect(Run.format(empty)).toBe("run  ended after 0 ms, 0 calls")
  })

  it("aligns wide characters, cuts long names, and replaces characters that would change the table", () => {
    const named = (name: string) => ({ ...line, action: { kind: "tool.call", name } })
    const text = Run.format({
      ...empty,
      name: "job\u001b[2J\nend",
      lines: [named("検索🔎"), named("x".repeat(256)), named("a\r\nUSD  $0.00"), named("\u202Egnihtemos")]
    })
    expect(text).toMatchInlineSnapshot(`
      "job�[2J�end  ended after 0 ms, 0 calls
        tool.call 検索🔎                                  9 calls  0 denied  reserved $4.10  charged $1.88  28 s  max 6.1 s
        tool.call xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…  9 calls  0 denied  reserved $4.10  charged $1.88  28 s  max 6.1 s
        tool.call a��USD  $0.00                           9 calls  0 denied  reserved $4.10  charged $1.88  28 s  max 6.1 s
        tool.call �gnihtemos                              9 calls  0 denied  reserved $4.10  charged $1.88  28 s  max 6.1 s"
    `)
  })

  it("lists many children, and children of children, in the order of their creation", () => {
    const child = (name: string, children: ReadonlyArray<Run.Summary> = []) => ({ ...empty, name, children })
    const text = Run.format(
      child(
        "root",
        Array.from({ length: 100 }, (_, i) => child(`child ${i}`, i === 0 ? [child("grandchild")] : []))
      )
    )
    const lines = text.split("\n")
    expect(lines).toHaveLength(102)
    expect(lines.slice(0, 4).map((line) => line.slice(0, 14))).toEqual([
      "root  ended af",
      "  child 0  end",
      "    grandchild",
      "  child 1  end"
    ])
  })

  it("says what stopped the run, and counts its steps and tool calls", () => {
    const stopped = { ...empty, elapsedMs: 41_250, steps: 9, toolCalls: 1, calls: 10, stoppedBy: "RUN_STEPS_EXCEEDED" }
    expect(Run.format(stopped)).toBe("run  stopped by RUN_STEPS_EXCEEDED after 41 s, 9 steps, 1 tool call, 10 calls")
  })

  it("shows sums beyond 2^63-1", () => {
    const text = Run.format({
      ...empty,
      lines: [{ ...line, unit: "TOKENS", estimated: 2n ** 64n, charged: 2n ** 63n }]
    })
    expect(text).toContain("reserved 18446744073709551616 TOKENS  charged 9223372036854775808 TOKENS")
  })

  it.effect("formats the summary of a run", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ name: "trip", budget: Amount.usd("0.01") })
      yield* Effect.sleep("1500 millis").pipe(
        Cycles.withCycles({
          action: { kind: "llm.completion", name: "openai:gpt-5" },
          estimate: Amount.usd("0.005"),
          actual: Amount.usd("0.002")
        }),
        Run.within(run),
        Effect.forkChild
      )
      yield* TestClock.adjust("2 seconds")
      expect(Run.format(yield* run.summary)).toMatchInlineSnapshot(`
        "trip  running for 2.0 s, 1 call
        USD   $0.002 of $0.01 (20 %), $0.008 left, nothing held
          llm.completion openai:gpt-5  1 call  0 denied  reserved $0.005  charged $0.002  1.5 s  max 1.5 s"
      `)
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )
})
