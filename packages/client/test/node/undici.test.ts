/**
 * If undici can't dispatch, as on Bun, the transport uses `fetch`.
 */
import { NodeTransport } from "effect-cycles/node"
import { vi } from "vitest"
import { suite } from "../suites/fetchSuite.ts"

vi.mock("undici", () => ({ Agent: function () {}, ProxyAgent: function () {}, buildConnector: () => {} }))

suite("NodeTransport without undici", NodeTransport.layer())
