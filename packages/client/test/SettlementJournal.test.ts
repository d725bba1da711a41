import { SettlementJournal } from "effect-cycles"
import * as Layer from "effect/Layer"
import { journalSuite } from "./suites/journalSuite.ts"

journalSuite("memory", () => Layer.fresh(SettlementJournal.layerMemory))
