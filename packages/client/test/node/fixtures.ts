/**
 * Journals in format 1, as the client wrote them at commit be4c4f4: for two owners each, three pending records and a
 * dead letter.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { gunzipSync } from "node:zlib"

/** Writes the SQLite journal. */
export const writeSqliteV1 = (filename: string): void =>
  writeFileSync(filename, gunzipSync(Buffer.from(sqlite, "base64")))

/** Writes the folder of the files journal. */
export const writeFilesV1 = (folder: string): void => {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
}

// The file, compressed.
const sqlite =
  "H4sIAAAAAAACA+3ZwW/bVBwH8Ge3Wbe2SYdElU27vEUKakXcps0yJznRdWZkLclwXY0hJPNsvxBvid3ZLxNl2iEguOyIuKPd4MIfwREkbvwHcORv4DnJ1oywBmkatPD9SHZs/5xnv997svSz997b9QWnrTDqMkFL5DxRVfIWpYQQVS4pcmRGLrNj+8poIduHN0Py11Sy9vVP6cxjMrtYIpmvFr/LmHIDAAAAAABOi97sXPbyZaVfFszp8Ps9FrFA+MHYVmrbNLYsg1pb13YNenScrrhhIHggqGW8b9FGUy77u7sFWX70As9mwu7GtN6wjBuG+Sy6Svcss75tfZ5X57L5vPJlenBdjzPP7nAheBSPb888d+3xCF2Zp5JctfzgYx4dRP7Encigw2Ju96LOZCTiMY8eMOGHge17k/Fu6PHJo27Y7frCdkLvcDLIH8hsHMWGV3HDyOMvSkdyShDK/3BZs/EXnZE0w+IwmLwipZ5/bOOU3jLr726Zd+iOcYeujOWq8Cw3hT/lYlX+7+k46TNnsjt5hfiBxz+J73dkeWmznggH+/b4gNgb43tJaXk2mV+f3VXmspcuKV+8ORjoYT7i0Y/63PCODv6/RvblhqdAb9etd5r7FjWbt+vX52XCzyw8Iekfl8oZvvAkPbtYwSMOAAAAAODf0n99XsvnL/arJHW24jCHlUuVllPVix670hbioLa+Hoo2j9i686FL19Zq9Idvh5XJw5zv8e5BKCtu99C+xw9ztdwwot3LFXLMFT3WydUe5nqBL2TMau4Yjb0k0pX1uDxS3dwslfTNYulqpXxF18uVov7okfL451/bpH9zQcu/lu1X+0oqddxtRZuDSujV3MuUVuOec5e7ImlWnsGSZuSVujw37IV3Qa5/Mz/qG0lfLg76cmyKo41XmdiX64wckgvzmjaaKFcrbrVYLm7oXkv3nJY76kUndFmnHcbiH54sjQVNezpZpt3aaZgw9aQ/owkztT8netKk5RNGzayRpWW5AgAAAAAAABi+i/LUtJZfHlbyin7si5/k2/6JreTb5Ny1/es3DMt+22x+YDRqtBWFn/Igqe9//6bfVtKadtTNaSX+Ke5q8v1fXfqeLP0iVwAAAAAAAABwEryR0vLLyrTXLupqStOWz/2d1xbJ939yHokFAAAAAAAA+C/7A0V5sRUAUAAA"

const files: Readonly<Record<string, string>> = {
  "68c905017df7dbfc/dead-letters/v2-28a3a5e81d1e89f0efc70b63bf717b921373fc7fac70bc1b7e4d466799c0c6b0.json":
    '{"version":1,"reservation_id":"dead","base_url":"http://localhost","mode":"event","commit_body":{"idempotency_key":"commit-k","actual":{"unit":"TOKENS","amount":9223372036854775807}},"event_fallback_body":{"idempotency_key":"commit-k","subject":{"tenant":"acme"}},"recorded_at_ms":1700000000000,"not_before_ms":9,"reason":"BUDGET_FROZEN: frozen","died_at_ms":1700000100000}',
  "68c905017df7dbfc/v2-82f3e9c695dc6b8d1b11818d5701919e286de8d47f7c3eb3100c485f79e57828.json":
    '{"version":1,"reservation_id":"r1","base_url":"http://localhost","mode":"commit","commit_body":{"idempotency_key":"commit-k","actual":{"unit":"TOKENS","amount":9223372036854775807}},"event_fallback_body":{"idempotency_key":"commit-k","subject":{"tenant":"acme"}},"recorded_at_ms":1700000000000,"not_before_ms":0}',
  "68c905017df7dbfc/v2-a405234dd6defc3a689846e9499d6266404936eb7700618c055ddc7617754ec9.json":
    '{"version":1,"reservation_id":"a/b\\\\c ..: é","base_url":"http://localhost","mode":"commit","commit_body":{"idempotency_key":"commit-k","actual":{"unit":"TOKENS","amount":9223372036854775807}},"event_fallback_body":null,"recorded_at_ms":1700000000000,"not_before_ms":0}',
  "68c905017df7dbfc/v2-db77fd01af957221a4989b64b3770a83a3c56068405b9f0e9408feae57fd17e4.json":
    '{"version":1,"reservation_id":"r2","base_url":"http://localhost","mode":"event","commit_body":{"idempotency_key":"commit-k","actual":{"unit":"TOKENS","amount":9223372036854775807}},"event_fallback_body":{"idempotency_key":"commit-k","subject":{"tenant":"acme"}},"recorded_at_ms":1699999999000,"not_before_ms":1700000060000}',
  "8baba538fb970da4/dead-letters/v2-28a3a5e81d1e89f0efc70b63bf717b921373fc7fac70bc1b7e4d466799c0c6b0.json":
    '{"version":1,"reservation_id":"dead","base_url":"http://other","mode":"event","commit_body":{"idempotency_key":"commit-k","actual":{"unit":"TOKENS","amount":9223372036854775807}},"event_fallback_body":{"idempotency_key":"commit-k","subject":{"tenant":"acme"}},"recorded_at_ms":1700000000000,"not_before_ms":9,"reason":"BUDGET_FROZEN: frozen","died_at_ms":1700000100000}',
  "8baba538fb970da4/v2-82f3e9c695dc6b8d1b11818d5701919e286de8d47f7c3eb3100c485f79e57828.json":
    '{"version":1,"reservation_id":"r1","base_url":"http://other","mode":"commit","commit_body":{"idempotency_key":"commit-k","actual":{"unit":"TOKENS","amount":9223372036854775807}},"event_fallback_body":{"idempotency_key":"commit-k","subject":{"tenant":"acme"}},"recorded_at_ms":1700000000000,"not_before_ms":0}',
  "8baba538fb970da4/v2-a405234dd6defc3a689846e9499d6266404936eb7700618c055ddc7617754ec9.json":
    '{"version":1,"reservation_id":"a/b\\\\c ..: é","base_url":"http://other","mode":"commit","commit_body":{"idempotency_key":"commit-k","actual":{"unit":"TOKENS","amount":9223372036854775807}},"event_fallback_body":null,"recorded_at_ms":1700000000000,"not_before_ms":0}',
  "8baba538fb970da4/v2-db77fd01af957221a4989b64b3770a83a3c56068405b9f0e9408feae57fd17e4.json":
    '{"version":1,"reservation_id":"r2","base_url":"http://other","mode":"event","commit_body":{"idempotency_key":"commit-k","actual":{"unit":"TOKENS","amount":9223372036854775807}},"event_fallback_body":{"idempotency_key":"commit-k","subject":{"tenant":"acme"}},"recorded_at_ms":1699999999000,"not_before_ms":1700000060000}'
}
