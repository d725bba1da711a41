import { describe, expect, it } from "@effect/vitest"
import * as Redacted from "effect/Redacted"
import * as Redact from "../src/internal/transport/redact.ts"

const key = "cyc_live_hush/hush"

const mask = Redact.make([Redacted.make(key), undefined, Redacted.make("short"), Redacted.make('q"uo\\te-and-more')])

/** A key with every character written as an escape. */
const escaped = Array.from(key, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0").toUpperCase()}`)

describe("mask", () => {
  it.each([
    [`a ${key}, ${key}`, "a <redacted>, <redacted>"],
    ["short", "short"],
    ["nothing", "nothing"],
    [undefined, undefined]
  ])("redacts keys in a text: %j", (text, clean) => {
    expect(mask.text(text)).toBe(clean)
  })

  it.each([
    ["as it is", key],
    ["with a slash that is escaped", key.replace("/", "\\/")],
    ["with one character escaped", key.replace("_", "\\u005f")],
    ["with all characters escaped", escaped.join("")],
    ["after an escaped backslash", `\\\\${key.replace("_", "\\u005F")}`],
    ["with characters that must be escaped", 'q\\"uo\\\\te-and-more'],
    ["with such characters escaped in another way", "q\\u0022uo\\u005cte-and-more"]
  ])("redacts a key in JSON, written %s", (_how, written) => {
    const clean = JSON.parse(mask.json(`{"message":"a ${written} b"}`))
    expect(clean.message).toMatch(/^a \\?<redacted> b$/)
  })

  it.each([
    String.raw`{"a":"\\u005f \" \n \u0007 \ud83d\ude00 \u00e9 \/ é 😀 \\"}`,
    String.raw`{"\u0061":["\u0022","\u005c"]}`
  ])("leaves other JSON unchanged: %s", (text) => {
    expect(JSON.parse(mask.json(text))).toEqual(JSON.parse(text))
  })

  it("leaves text that isn't JSON unchanged", () => {
    expect(mask.json(String.raw`<html> \u12 \x \ `)).toBe(String.raw`<html> \u12 \x \ `)
  })
})
