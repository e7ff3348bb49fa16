// Runs the tests, each on folders, a server and a browser of its own.

import { run } from "./lib/harness.mjs";
import "./cases/connection.mjs";
import "./cases/everybody.mjs";
import "./cases/library.mjs";
import "./cases/live.mjs";
import "./cases/rows.mjs";
import "./cases/security.mjs";
import "./cases/sharing.mjs";
import "./cases/weight.mjs";

process.exitCode = (await run(process.argv.slice(2))) ? 0 : 1;
