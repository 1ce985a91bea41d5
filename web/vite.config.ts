import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  base: '/explorer/',
  plugins: [react()],
  build: {
    // One level below dist, so that emptying the output leaves dist/.gitkeep, which the Go embed needs, alone.
    outDir: 'dist/explorer',
    emptyOutDir: true,
    rolldownOptions: {
      // "use no memo" speaks to a React compiler that this build does not run.
      onLog: (level, log, handle) => {
        if (log.code !== 'MODULE_LEVEL_DIRECTIVE') handle(level, log);
      },
    },
    // The editor is one large, cached chunk by nature.
    chunkSizeWarningLimit: 5000,
  },
  worker: { format: 'es' },
  server: {
    // npm run dev: the page from Vite, the API from a server that runs beside it.
    proxy: { '/graphql': { target: 'http://127.0.0.1:8080', ws: true } },
  },
});
