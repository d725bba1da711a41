import * as Schema from "effect/Schema"
import * as Getter from "effect/SchemaGetter"
import * as T from "effect/SchemaTransformation"
import * as Option from "effect/Option"
import * as Effect from "effect/Effect"
const body = JSON.parse(`{"decision":"ALLOW","reservation_id":"0b8f2f7e-51a1-4dd6-8a8e-1ff5de0a3b4c","affected_scopes":["tenant:acme","tenant:acme/agent:a"],"expires_at_ms":1763900000000,"remaining_ttl_ms":60000,"scope_path":"tenant:acme/agent:a","reserved":{"unit":"TOKENS","amount":100},"balances":[{"scope":"tenant:acme","scope_path":"tenant:acme","remaining":{"unit":"TOKENS","amount":900},"reserved":{"unit":"TOKENS","amount":100},"spent":{"unit":"TOKENS","amount":0},"allocated":{"unit":"TOKENS","amount":1000}}]}`)
const bench = (name: string, f: (u: unknown) => unknown) => {
  for (let i = 0; i < 20000; i++) f(body)
  const ts: number[] = []
  for (let k = 0; k < 7; k++) { const t = process.hrtime.bigint(); for (let i = 0; i < 20000; i++) f(body); ts.push(Number(process.hrtime.bigint() - t) / 20000 / 1000) }
  ts.sort((a,b)=>a-b); console.log(name, ts[3]!.toFixed(2), "us")
}
const Int64 = Schema.Union([Schema.Number, Schema.BigInt]).pipe(Schema.decodeTo(Schema.BigInt, T.transformEffect({decode: (n: any) => typeof n === "bigint" || Number.isSafeInteger(n) ? Effect.succeed(BigInt(n)) : Effect.fail(null as any), encode: (b) => Effect.succeed(Number(b))})))
const mk = (opt: any, S: any, Am: any) => {
  const Balance = S({ scope: Schema.String, scopePath: Schema.String, remaining: Am, reserved: opt(Am), spent: opt(Am), debt: opt(Am), allocated: opt(Am), overdraftLimit: opt(Am), isOverLimit: opt(Schema.Boolean) }, { scopePath: "scope_path", overdraftLimit: "overdraft_limit", isOverLimit: "is_over_limit" })
  return S({ decision: Schema.String, affectedScopes: Schema.Array(Schema.String), reservationId: opt(Schema.String), expiresAtMs: opt(Schema.Number), remainingTtlMs: opt(Schema.Number), scopePath: opt(Schema.String), reserved: opt(Am), balances: opt(Schema.Array(Balance)), reasonCode: opt(Schema.String), retryAfterMs: opt(Schema.Number)}, { affectedScopes: "affected_scopes", reservationId: "reservation_id", expiresAtMs: "expires_at_ms", remainingTtlMs: "remaining_ttl_ms", scopePath: "scope_path", reasonCode: "reason_code", retryAfterMs: "retry_after_ms" })
}
const nullOpt = (s: any) => Schema.optionalKey(Schema.NullOr(s)).pipe(Schema.decodeTo(Schema.optionalKey(Schema.toType(s)), { decode: Getter.transformOptional(Option.filter((x: any) => x !== null)), encode: Getter.passthrough() } as any) as any)
const enc = (f: any, m: any) => Schema.Struct(f).pipe(Schema.encodeKeys(m))
class Amount extends Schema.Class<Amount>("Amount")({ unit: Schema.String, amount: Int64 }) {}
const AmS = Schema.Struct({ unit: Schema.String, amount: Int64 })
console.log("plain parse of text"); { const t = JSON.stringify(body); bench("JSON.parse", () => JSON.parse(t)) }
for (const [n, s] of [
  ["no nulls, encodeKeys, struct amount", mk(Schema.optionalKey, enc, AmS)],
  ["no nulls, encodeKeys, class amount", mk(Schema.optionalKey, enc, Amount)],
  ["nulls per field, encodeKeys, class", mk(nullOpt, enc, Amount)],
  ["no rename, no nulls, plain struct, struct amount (invalid keys→ optional missing)", null as any],
] as const) { if (s) { const d = Schema.decodeUnknownResult(s as any); if ((d(body) as any)._tag !== "Success") console.log(String((d(body) as any).failure)); bench(n, d) ; const d2 = Schema.decodeUnknownSync(s as any); bench(n + " sync", d2)} }
// one-pass: object -> struct
const obj = Schema.declare((u: unknown): u is any => typeof u === "object" && u !== null && !Array.isArray(u))
const one = (f: any, m: any) => {
  const pairs = Object.keys(f).map((k) => [k, m[k] ?? k] as const)
  return obj.pipe(Schema.decodeTo(Schema.Struct(f) as any, T.transform({ decode: (o: any) => { const r: any = {}; for (const [k, w] of pairs) { const v = o[w]; if (v !== null && v !== undefined) r[k] = v } return r }, encode: (o: any) => o })) as any)
}
for (const [n, s] of [
  ["one pass, struct amount", mk(Schema.optionalKey, one, AmS)],
  ["one pass, class amount", mk(Schema.optionalKey, one, Amount)],
  ["one pass, declared amount", mk(Schema.optionalKey, one, obj.pipe(Schema.decodeTo(Schema.instanceOf(Amount) as any, T.transform({ decode: (o: any) => { const r = Object.create(Amount.prototype); r.unit = o.unit; r.amount = BigInt(o.amount); return r }, encode: (a) => a })) as any))],
] as const) { const d = Schema.decodeUnknownResult(s as any); if ((d(body) as any)._tag !== "Success") console.log(String((d(body) as any).failure)); bench(n, d) }
