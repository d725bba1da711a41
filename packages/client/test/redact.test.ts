import { describe, expect, it } from "@effect/vitest"
import * as Redacted from "effect/Redacted"
import * as Redact from "../src/internal/transport/redact.ts"

const key = "cyc_live_hush/hush"

const redactor = Redact.make([
  Redacted.make(key),
  undefined,
  Redacted.make("short"),
  Redacted.make('q"uo\\te-and-more')
])

/** A key with every character written as an escape. */
const escaped = Array.from(key, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0").toUpperCase()}`)

describe("redact", () => {
  it.each([
    [`a ${key}, ${key}`, "a <redacted>, <redacted>"],
    [key, "<redacted>"]
  ])("redacts every key in a text: %j", (text, clean) => {
    expect(redactor.text(text)).toBe(clean)
  })

  it.each(["short", "nothing", undefined])(
    "leaves a text without a key, or with a key that is too short, unchanged: %j",
    (text) => {
      expect(redactor.text(text)).toBe(text)
    }
  )

  it.each([
    ["without escapes", key],
    ["with an escaped slash", key.replace("/", "\\/")],
    ["with one character escaped", key.replace("_", "\\u005f")],
    ["with all characters escaped", escaped.join("")],
    ["after an escaped backslash", `\\\\${key.replace("_", "\\u005F")}`],
    ["with characters that must be escaped", 'q\\"uo\\\\te-and-more'],
    ["with these characters as Unicode escapes", "q\\u0022uo\\u005cte-and-more"]
  ])("redacts a key in JSON, written %s", (_how, written) => {
    const clean = JSON.parse(redactor.json(`{"message":"a ${written} b"}`))
    expect(clean.message).toMatch(/^a \\?<redacted> b$/)
  })

  it.each([
    String.raw`{"a":"\\u005f \" \n \u0007 \ud83d\ude00 \u00e9 \/ é 😀 \\"}`,
    String.raw`{"\u0061":["\u0022","\u005c"]}`
  ])("leaves other JSON unchanged: %s", (text) => {
    expect(JSON.parse(redactor.json(text))).toEqual(JSON.parse(text))
  })

  it("leaves text that isn't JSON unchanged", () => {
    expect(redactor.json(String.raw`<html> \u12 \x \ `)).toBe(String.raw`<html> \u12 \x \ `)
  })
})
