// Drizzle in its own process: it reads requests as lines of JSON, times the calls, and answers with lines of JSON.

import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";

import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";

import { operationsOn } from "./operations.mjs";

const CONNECTIONS = 8;

// JavaScript can't parse a URL without a host, which has a socket's directory in its query: insert a host.
function connectionFrom(text) {
  const url = new URL(text.replace(/^(\w+:\/\/(?:[^/@]*@)?)(?=\/)/, "$1localhost"));
  const given = (part) => (part ? decodeURIComponent(part) : undefined);
  return {
    host: url.searchParams.get("host") ?? given(url.hostname.replace(/[[\]]/g, "")),
    port: Number(url.searchParams.get("port") ?? (url.port || 5432)),
    user: url.searchParams.get("user") ?? given(url.username),
    password: url.searchParams.get("password") ?? given(url.password),
    database: given(url.pathname.slice(1)),
  };
}

// All connections are opened at once and kept: the pool would close them while another client is measured.
async function openPool(url) {
  const pool = new pg.Pool({ ...connectionFrom(url), max: CONNECTIONS, idleTimeoutMillis: 0 });
  // The loss of an idle connection is no call's failure, and must not end the process.
  pool.on("error", (error) => process.stderr.write(`Drizzle lost a connection: ${error.message}\n`));
  const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => pool.connect()));
  await Promise.all(clients.map((client) => client.query("SELECT 1")));
  clients.forEach((client) => client.release());
  return pool;
}

async function versions() {
  const version = async (name) => {
    const description = new URL(`node_modules/${name}/package.json`, import.meta.url);
    return [name, JSON.parse(await readFile(description, "utf8")).version];
  };
  const libraries = await Promise.all(["drizzle-orm", "pg"].map(version));
  return { ...Object.fromEntries(libraries), node: process.versions.node };
}

async function measured(operation, { calls, tasks }) {
  const { native = (...given) => given, run, answer } = operation;
  const queue = calls.map((given) => native(...given));
  const seconds = new Array(queue.length);
  const results = new Array(queue.length);
  let next = 0;
  const task = async () => {
    while (next < queue.length) {
      const number = next++;
      const began = performance.now();
      results[number] = await run(...queue[number]);
      seconds[number] = (performance.now() - began) / 1000;
    }
  };
  const began = performance.now();
  const ended = await Promise.allSettled(Array.from({ length: tasks }, task));
  const elapsed = (performance.now() - began) / 1000;
  const failed = ended.find(({ status }) => status === "rejected");
  if (failed) {
    throw failed.reason;
  }
  return { seconds, elapsed, answers: results.map((result) => answer(result) ?? null) };
}

async function answerTo(line, operations) {
  try {
    const request = JSON.parse(line);
    if (!Object.hasOwn(operations, request.operation)) {
      throw new Error(`There is no operation ${request.operation}.`);
    }
    return await measured(operations[request.operation], request);
  } catch (error) {
    // Drizzle's own message is the whole statement with its parameters; the cause has the reason.
    return { error: String((error.cause ?? error).message ?? error) };
  }
}

function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

const pool = await openPool(process.env.BENCHMARK_URL);
const operations = operationsOn(drizzle({ client: pool }));
say({ versions: await versions(), operations: Object.keys(operations) });
for await (const line of createInterface({ input: process.stdin })) {
  say(await answerTo(line, operations));
}
await pool.end();
