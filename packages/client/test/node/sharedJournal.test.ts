/**
 * Two client layers of one process on one journal, each with a tree of runs, while requests fail and one of the layers
 * is torn down in the middle of its calls. The disk is real, and time is virtual.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, CyclesConfig, CyclesTransport, Run, SettlementJournal } from "effect-cycles"
import { join } from "node:path"
import { books } from "../support/live.ts"
import * as Trees from "../support/runTrees.ts"
import { journalAt } from "./records.ts"
import { temporaryFolder } from "./support.ts"

const Client = Schema.Struct({
  nodes: Trees.Story.fields.nodes,
  calls: Schema.Array(
    Schema.Struct({
      ...Trees.Call.fields,
      onCrash: Schema.Literals(["expire", "recorded", "estimate"]),
      settle: Schema.Literals(["attempt", "background"])
    })
  ).check(Schema.isMinLength(1), Schema.isMaxLength(6)),
  onUnreachable: Schema.Literals(["fail", "allow"])
})

const Story = Schema.Struct({
  first: Client,
  second: Client,
  onReserve: Trees.OutageStory.fields.onReserve,
  onCommit: Trees.OutageStory.fields.onCommit,
  onEvent: Trees.OutageStory.fields.onEvent,
  /** The turn at which the first layer is torn down, with its calls. */
  endsAfter: Schema.Literals([3, 8, 15, 25]),
  /** Whether the first layer loses its connection when it is torn down, so that it leaves its spend to others. */
  isCutOff: Schema.Boolean
})

/** A journal that counts its running operations, so that virtual time doesn't pass while the disk works. */
const watched = (target: string) => {
  let running = 0
  const count = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.acquireUseRelease(
      Effect.sync(() => running++),
      () => effect,
      () => Effect.sync(() => running--)
    )
  const layer = Layer.effect(
    SettlementJournal.SettlementJournal,
    Effect.map(SettlementJournal.SettlementJournal, (store) =>
      SettlementJournal.SettlementJournal.of({
        ...store,
        isBounded: false,
        open: (owner) =>
          Effect.map(count(store.open(owner)), (journal) => ({
            put: (record) => count(journal.put(record)),
            remove: (record) => count(journal.remove(record)),
            bury: (letter) => count(journal.bury(letter)),
            pending: Stream.unwrap(Effect.map(count(Stream.runCollect(journal.pending)), Stream.fromIterable)),
            deadLetters: journal.deadLetters,
            forget: (letter) => count(journal.forget(letter)),
            isDecided: (id) => count(journal.isDecided(id)),
            putOpen: (record) => count(journal.putOpen(record)),
            removeOpen: (id) => count(journal.removeOpen(id)),
            adoptOpen: count(journal.adoptOpen)
          }))
      })
    )
  ).pipe(Layer.provide(journalAt(target)))
  const calm = Effect.promise(async () => {
    for (let turns = 0; turns < 3; turns = running === 0 ? turns + 1 : 0) {
      await new Promise((resolve) => setImmediate(resolve))
    }
  })
  return { layer, calm }
}

/** A client on the journal, with its own runs. */
const start = (
  journal: Layer.Layer<SettlementJournal.SettlementJournal>,
  { calls, nodes, onUnreachable }: typeof Client.Type
) =>
  Effect.gen(function* () {
    const { apiKey, baseUrl, tenant } = yield* CyclesServer.CyclesServer
    const network = yield* CyclesTransport.CyclesTransport
    let isCutOff = false
    const transport = CyclesTransport.make((request) =>
      Effect.suspend(() =>
        isCutOff ? Effect.fail(CyclesTransport.notSent("cut off", undefined)) : CyclesTransport.send(network, request)
      )
    )
    const scope = yield* Scope.make()
    const context = yield* Layer.buildWithScope(
      Cycles.layer({
        baseUrl,
        apiKey,
        subject: { tenant },
        onUnreachable,
        flushTimeout: 0,
        retry: CyclesConfig.retryPolicy({ jitter: false })
      }).pipe(
        Layer.provide(journal),
        Layer.provide(Layer.succeed(CyclesTransport.CyclesTransport, transport)),
        Layer.fresh
      ),
      scope
    )
    const members = yield* Trees.plant(nodes)
    const [root] = members
    if (root === undefined) throw new Error("a story without a run")
    const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
    for (const call of calls) {
      const member = members[call.run % members.length] ?? root
      // An event isn't journaled, so it is lost if its client is torn down.
      const program = Trees.programOf(
        { ...call, kind: call.kind === "event" ? "effect" : call.kind },
        (amount) => {
          member.charged += amount
        },
        { onCrash: call.onCrash, settle: call.settle }
      )
      fibers.push(
        yield* Effect.forkDetach(
          Effect.andThen(Trees.turns(call.startsAfter), Run.within(program, member.run)).pipe(
            Effect.provideContext(context)
          )
        )
      )
    }
    return {
      members,
      root: root.run,
      flush: Effect.provideContext(Cycles.flush("1 minute"), context),
      deadLetters: Effect.provideContext(Stream.runCollect(Cycles.deadLetters), context),
      /** Ends the layer while its calls run, and then the calls. */
      tearDown: (cutOff: boolean) =>
        Effect.gen(function* () {
          isCutOff = cutOff
          const closing = yield* Effect.forkDetach(Scope.close(scope, Exit.interrupt()))
          const interrupting = yield* Effect.forkDetach(Fiber.interruptAll(fibers))
          return [closing, interrupting]
        })
    }
  })

const law = (name: string, makeTarget: () => string) =>
  it.effect.prop(
    `charge what their trees of runs have spent, once (${name})`,
    { story: Story },
    ({ story }) =>
      Effect.gen(function* () {
        const { calm, layer } = watched(makeTarget())
        /** Lets virtual time pass while the disk is calm. */
        const pass = (steps: number, seconds: number) =>
          Effect.forEach(Array.from({ length: steps }), () => Effect.andThen(calm, TestClock.adjust(seconds * 1_000)), {
            discard: true
          })
        yield* Trees.inject(story)
        const first = yield* start(layer, story.first)
        const second = yield* start(layer, story.second)
        for (let turn = 0; turn < story.endsAfter; turn++) {
          yield* Effect.yieldNow
          if (turn % 4 === 3) yield* calm
        }
        const ending = [...(yield* first.tearDown(story.isCutOff))]
        // The second layer scans the journal, and a third one is started on it.
        yield* pass(30, 1)
        const third = yield* start(layer, { ...story.second, calls: [] })
        yield* pass(10, 10)
        ending.push(...(yield* second.tearDown(false)))
        yield* pass(20, 30)
        yield* CyclesTest.clearFaults()
        yield* pass(10, 60)
        // Leases without a heartbeat run out.
        yield* TestClock.adjust("3 hours")
        yield* pass(5, 60)
        yield* Effect.forEach(ending, Fiber.join)
        const flushing = yield* Effect.forkDetach(third.flush)
        yield* pass(5, 10)
        expect(yield* Fiber.join(flushing)).toEqual({ isComplete: true, pending: 0 })
        const deadLetters = yield* third.deadLetters
        ending.push(...(yield* third.tearDown(false)))
        yield* pass(3, 1)
        let spent = 0
        for (const { members, root } of [first, second]) {
          for (const { scope } of members) yield* Scope.close(scope, Exit.void)
          const summary = yield* root.summary
          Trees.expectEnded(summary)
          spent += Trees.bookOf(summary).charged
        }
        expect(deadLetters).toEqual([])
        expect(yield* books).toEqual({ spent, reserved: 0 })
      }).pipe(
        Effect.provide(
          CyclesTest.layerServer({ budgets: [{ unit: "TOKENS", allocated: 1_000_000 }] }).pipe(
            // TestClock warns if it is not adjusted for some time, which a slow disk can cause.
            Layer.provideMerge(TestClock.layer({ warningDelay: "1 hour" }))
          )
        )
      ),
    { arbitrary: { runs: Trees.trees(10) }, timeout: Trees.timeout }
  )

describe("two layers on one journal, with runs", () => {
  law("SQLite", () => join(temporaryFolder(), "journal.sqlite"))
  law("files", () => join(temporaryFolder(), "journal"))
})
