import * as Config from "effect/Config"
import * as Layer from "effect/Layer"
import * as ContractSuite from "../src/ContractSuite.ts"

const target = Config.map(
  Config.all({
    baseUrl: Config.String("CYCLES_BASE_URL"),
    url: Config.String("CYCLES_ADMIN_URL"),
    key: Config.Redacted("CYCLES_ADMIN_API_KEY")
  }),
  ({ baseUrl, key, url }) => ({ baseUrl, admin: { url: url.replace(/\/+$/, ""), key } })
)

ContractSuite.suite(process.env["CYCLES_BASE_URL"] ?? "", Layer.effect(ContractSuite.Target, target), {
  isTimeDriven: false
})
