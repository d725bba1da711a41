/**
 * The contract suite on the server that the environment names: `pnpm test:live`.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ContractSuite from "../src/ContractSuite.ts"

const place = Config.all({
  baseUrl: Config.String("CYCLES_BASE_URL"),
  adminUrl: Config.String("CYCLES_ADMIN_URL"),
  adminKey: Config.Redacted("CYCLES_ADMIN_API_KEY")
})

ContractSuite.suite(
  process.env["CYCLES_BASE_URL"] ?? "no address",
  Layer.effect(
    ContractSuite.Target,
    Effect.map(place, (place) => place)
  )
)
