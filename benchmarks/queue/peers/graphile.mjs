// graphile-worker with a local queue and batched completion, its quickest: ACTION COUNT.
import { createRequire } from "node:module";
const require = createRequire(process.env.PEERS_FOLDER + "/");
const { run, runMigrations, makeWorkerUtils, Logger } = require("graphile-worker");
const { Pool } = require("pg");

const BATCH = 1000;
const [action, countText] = process.argv.slice(2);
const count = Number(countText ?? 0);
const pool = new Pool({ host: process.env.PGHOST, user: process.env.PGUSER, database: process.env.PGDATABASE, max: 28 });
pool.on("error", () => {});
const shared = { pgPool: pool, logger: new Logger(() => () => {}) };
const say = (found) => process.stdout.write(JSON.stringify(found) + "\n");

if (action === "install") {
  await runMigrations(shared);
} else if (action === "empty") {
  await pool.query("truncate graphile_worker._private_jobs");
} else if (action.startsWith("enqueue")) {
  const utils = await makeWorkerUtils(shared);
  const started = performance.now();
  for (let first = 0; first < count; first += BATCH) {
    const jobs = [];
    for (let n = first; n < first + BATCH; n++) {
      jobs.push({
        identifier: "noop",
        payload: { n, text: "hello there" },
        ...(action === "enqueue-keys" ? { jobKey: `key-${n}` } : {}),
      });
    }
    await utils.addJobs(jobs);
  }
  say({ seconds: (performance.now() - started) / 1000 });
} else {
  let began = 0;
  let done = 0;
  let finish;
  const finished = new Promise((resolve) => { finish = resolve; });
  const cpu = process.cpuUsage();
  const runner = await run({
    ...shared,
    concurrency: 24,
    noHandleSignals: true,
    preset: { worker: { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
    taskList: {
      noop: async () => {
        began ||= performance.now();
        if (++done === count) finish();
      },
    },
  });
  await finished;
  await runner.stop();
  const spent = process.cpuUsage(cpu);
  say({ seconds: (performance.now() - began) / 1000, cpu: (spent.user + spent.system) / 1e6 });
}
await pool.end();
process.exit(0);
