/**
 * The index of stored responses by key, compared with a model.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { DatabaseSync } from "node:sqlite"
import * as KeyIndex from "../src/internal/keyIndex.ts"
import { format } from "../src/internal/migrations.ts"

const Step = Schema.Struct({
  what: Schema.Literals(["add", "add", "add", "write", "write", "writeAll", "remove", "reopen"]),
  name: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 }))
})

const steps = Schema.Array(Step).check(Schema.isMaxLength(80))

const makeFile = (): DatabaseSync => {
  const db = new DatabaseSync(":memory:")
  format.make(db)
  return db
}

const insert = (db: DatabaseSync, id: string, seq: number): void => {
  db.prepare("INSERT INTO responses (seq, id, due, request, status, body) VALUES (?, ?, 0, '', 200, '')").run(seq, id)
}

const written = (db: DatabaseSync): number => Number(db.prepare("SELECT count(*) AS n FROM response_keys").get()?.["n"])

describe("keyIndex", () => {
  it.prop(
    "finds the latest row of each key after random steps and restarts",
    { steps, size: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 6 })) },
    ({ size, steps }) => {
      const db = makeFile()
      const model = new Map<string, number>()
      let keys = KeyIndex.open(db, size)
      let seq = 0
      for (const { name, what } of steps) {
        const id = `key ${name}`
        const known = model.get(id)
        if (what === "add") {
          seq += 1
          insert(db, id, seq)
          keys.add(id, seq)
          model.set(id, seq)
        } else if (what === "remove") {
          // The rows before the latest one of a key are removed first, because their retention ends first.
          const rows = db.prepare("DELETE FROM responses WHERE id = ? RETURNING seq").all(id)
          for (const row of rows.slice(0, -1)) {
            keys.remove(id, Number(row["seq"]))
            expect(keys.find(id)).toBe(known)
          }
          if (known !== undefined) keys.remove(id, known)
          model.delete(id)
        } else if (what === "write") keys.write()
        else if (what === "writeAll") keys.writeAll()
        else keys = KeyIndex.open(db, size)
        for (let i = 0; i <= 12; i += 1) expect(keys.find(`key ${i}`)).toBe(model.get(`key ${i}`))
      }
      keys.writeAll()
      expect(written(db)).toBe(model.size)
    },
    { arbitrary: { runs: 300 } }
  )

  it("writes a batch in sorted order, as many keys at a time as are added", () => {
    const db = makeFile()
    const keys = KeyIndex.open(db, 4)
    const add = (seq: number) => {
      insert(db, `key ${9 - seq}`, seq)
      keys.add(`key ${9 - seq}`, seq)
      keys.write()
      return db
        .prepare("SELECT id FROM response_keys ORDER BY seq DESC")
        .all()
        .map((row) => row["id"])
    }
    expect([1, 2, 3].map(add)).toEqual([[], [], []])
    expect(add(4)).toEqual(["key 5"])
    expect(add(5)).toEqual(["key 5", "key 6"])
    expect([6, 7].map(add).at(-1)).toEqual(["key 5", "key 6", "key 7", "key 8"])
    // The keys that were added in the meantime are the next batch.
    expect(add(8)).toEqual(["key 1", "key 5", "key 6", "key 7", "key 8"])
  })

  it("after writeAll, open reads no responses", () => {
    const db = makeFile()
    const keys = KeyIndex.open(db, 4)
    for (let seq = 1; seq <= 3; seq += 1) {
      insert(db, `key ${seq}`, seq)
      keys.add(`key ${seq}`, seq)
    }
    keys.writeAll()
    db.exec("DELETE FROM response_keys")
    expect(KeyIndex.open(db, 4).find("key 1")).toBeUndefined()
  })
})
