import { defineConfig } from "vitest/config"

export default defineConfig({
  test: { name: "live", root: import.meta.dirname, include: ["**/*.test.ts"], reporters: ["default"] }
})
