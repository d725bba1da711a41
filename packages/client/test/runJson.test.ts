import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Amount, Run } from "effect-cycles"
import { tokens } from "./support/live.ts"
import { rich, spend } from "./support/runs.ts"

const decode = Schema.decodeUnknownSync(Run.SummaryJson)
const encode = Schema.encodeSync(Run.SummaryJson)

/** To text and back, as in a file. */
const roundTrip = (summary: Run.Summary): Run.Summary => decode(JSON.parse(JSON.stringify(encode(summary))))

const int64 = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: 2n ** 63n - 1n }))
const edges = Schema.Literals([0n, 2n ** 53n - 1n, 2n ** 53n + 1n, 2n ** 63n - 1n])
const value = Schema.Union([int64, edges])
const count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))

const Node = Schema.Struct({
  name: Schema.NonEmptyString,
  unit: Schema.Literals(["TOKENS", "USD_MICROCENTS", "GPU_SECONDS"]),
  status: Schema.Literals(["running", "ended"]),
  allocated: Schema.UndefinedOr(value),
  charged: value,
  estimated: value,
  count
})

const summaryOf = (nodes: ReadonlyArray<typeof Node.Type>): Run.Summary => {
  const [node, ...rest] = nodes
  if (node === undefined) throw new Error("a tree without a root")
  const half = Math.ceil(rest.length / 2)
  const children = [rest.slice(0, half), rest.slice(half)].filter((part) => part.length > 0)
  const { charged, estimated, name, status, unit } = node
  const allocated = node.allocated === undefined ? undefined : Amount.make(unit, node.allocated)
  return {
    id: `id of ${name}`,
    name,
    status,
    elapsedMs: node.count,
    budgets: [
      { unit, allocated, charged: Amount.make(unit, charged), held: Amount.make(unit, estimated), remaining: allocated }
    ],
    lines: [
      {
        action: { kind: "tool.call", name },
        unit,
        calls: node.count,
        denied: 1,
        wouldDeny: 2,
        open: 2,
        estimated,
        charged: charged + estimated,
        uncertain: 3,
        latencyMs: 4,
        maxLatencyMs: 5
      }
    ],
    calls: node.count,
    denials: 1,
    wouldDeny: 2,
    uncertain: 3,
    steps: node.count,
    toolCalls: 4,
    stoppedBy: status === "ended" ? `code of ${name}` : undefined,
    uncovered: [unit],
    children: children.map(summaryOf)
  }
}

it.prop(
  "a summary is the same after it was written as JSON and read again, with amounts up to 2^63-1",
  { nodes: Schema.Array(Node).check(Schema.isMinLength(1), Schema.isMaxLength(6)) },
  ({ nodes }) => {
    const summary = summaryOf(nodes)
    expect(roundTrip(summary)).toEqual(summary)
  },
  { arbitrary: { runs: 500 }, timeout: 60_000 }
)

it("amounts are text in the JSON of a summary, and budgets that a run doesn't have are left out", () => {
  const amount = 2n ** 63n - 1n
  const summary = summaryOf([
    { name: "job", unit: "TOKENS", status: "ended", allocated: undefined, charged: amount, estimated: 0n, count: 1 }
  ])
  expect(encode(summary)).toMatchObject({
    budgets: [{ unit: "TOKENS", charged: { unit: "TOKENS", amount: "9223372036854775807" } }],
    lines: [{ unit: "TOKENS", charged: "9223372036854775807", estimated: "0" }]
  })
  expect(JSON.stringify(encode(summary))).not.toMatch("allocated|remaining|null")
})

it("an amount that isn't an integer from 0 to 2^63-1 is refused", () => {
  const summary = summaryOf([
    { name: "job", unit: "TOKENS", status: "ended", allocated: 1n, charged: 77n, estimated: 0n, count: 1 }
  ])
  const text = JSON.stringify(encode(summary))
  expect(decode(JSON.parse(text))).toEqual(summary)
  for (const amount of ["-1", "1.5", "x", "", String(2n ** 63n)]) {
    expect(() => decode(JSON.parse(text.replace('"amount":"77"', `"amount":"${amount}"`)))).toThrow()
  }
})

it.effect("the summary of a run can be written and read", () =>
  Effect.gen(function* () {
    const run = yield* Run.make({ budget: tokens(500) })
    yield* Run.within(spend(100, 30), run)
    const summary = yield* run.summary
    expect(roundTrip(summary)).toEqual(summary)
  }).pipe(Effect.scoped, Effect.provide(rich()))
)
