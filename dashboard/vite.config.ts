import { defineConfig } from "vite";

// The gateway serves the folder as it is: a page, and assets whose names hold a hash of their content.
export default defineConfig({
  base: "./",
  esbuild: { jsx: "automatic", jsxImportSource: "preact", legalComments: "none" },
  build: {
    target: "es2022",
    outDir: "../gateway_service/http/static",
    emptyOutDir: true,
    // One script and one stylesheet; no inlined data that a strict Content-Security-Policy would refuse.
    assetsInlineLimit: 0,
    modulePreload: false,
    reportCompressedSize: false,
  },
  server: { proxy: { "^/(tasks|stream|queues|workers|livez)": "http://127.0.0.1:8080" } },
});
