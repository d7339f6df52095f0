// Answers what stands on standard input.

import { readFileSync } from "node:fs";
import { answer } from "./answer.mjs";

process.stdout.write(JSON.stringify(await answer(JSON.parse(readFileSync(0, "utf8")))));
