// openai.mjs talks to ravn serve with OpenAI's JavaScript client and compares what the two kinds of answer say:
//
//	npm install openai && node openai.mjs http://127.0.0.1:8080/v1 NAME
//
// in a folder where npm may install (a copy of this file beside node_modules). NAME is a model with a chat template; its
// server has --queue 32. It prints a line a check and ends with 1 when one fails. By hand, not in CI: docs/design/serving.md.
import OpenAI from "openai";
import { VERSION } from "openai/version";

const [baseURL, model] = process.argv.slice(2);
const key = process.env.RAVN_API_KEY ?? "unused";
const client = new OpenAI({ baseURL, apiKey: key, maxRetries: 0 });
let failed = 0;
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
async function check(name, f) {
  try {
    const wrong = await f();
    if (wrong) throw new Error(wrong);
    console.log(`ok    ${name}`);
  } catch (e) {
    failed++;
    console.log(`WRONG ${name}: ${e.message}`);
  }
}
// refused is the error that f must end with.
async function refused(f, kind, status, code, param) {
  try {
    await f();
  } catch (e) {
    if (!(e instanceof kind)) return `${e.constructor.name}, not ${kind.name}: ${e.message}`;
    if (e.status !== status || e.code !== code || e.param !== param) return `status ${e.status}, code ${e.code}, param ${e.param}: ${e.message}`;
    return "";
  }
  return "not refused";
}

console.log(`openai ${VERSION}, node ${process.version}`);
const messages = [{ role: "system", content: "Svar kort." }, { role: "user", content: "Hvad ser uglen?" }];
const talk = { model, messages, max_completion_tokens: 24, seed: 5, temperature: 0.8 };
const text = { model, prompt: "Uglen flyver over", max_tokens: 24, seed: 5, temperature: 0.8 };

await check("models.list, models.retrieve", async () => {
  const ids = [];
  for await (const m of await client.models.list()) ids.push(m.id);
  const one = await client.models.retrieve(model);
  if (!same(ids, [model]) || one.object !== "model") return JSON.stringify([ids, one]);
});

await check("chat: whole, and the same seed again", async () => {
  const a = await client.chat.completions.create(talk);
  const b = await client.chat.completions.create(talk);
  const other = await client.chat.completions.create({ ...talk, seed: 6 });
  const c = a.choices[0];
  if (a.object !== "chat.completion" || c.message.role !== "assistant" || !["stop", "length"].includes(c.finish_reason)) return JSON.stringify(a);
  if (!same(a.choices, b.choices)) return "the same seed wrote another text";
  if (same(a.choices, other.choices)) return "another seed wrote the same text";
  if (a.usage.total_tokens !== a.usage.prompt_tokens + a.usage.completion_tokens) return JSON.stringify(a.usage);
});

await check("chat: the stream's pieces are the whole, usage last", async () => {
  const whole = await client.chat.completions.create(talk);
  const stream = await client.chat.completions.create({ ...talk, stream: true, stream_options: { include_usage: true } });
  let written = "", finish = null, usage = null, pieces = 0;
  for await (const part of stream) {
    pieces++;
    written += part.choices[0]?.delta?.content ?? "";
    finish = part.choices[0]?.finish_reason ?? finish;
    usage = part.usage ?? usage;
  }
  const c = whole.choices[0];
  if (written !== c.message.content || finish !== c.finish_reason || usage?.total_tokens !== whole.usage.total_tokens || pieces < 3) return `${JSON.stringify(written)} (${finish}) in ${pieces} pieces, whole ${JSON.stringify(c)}`;
});

await check("chat: the client's own accumulator", async () => {
  const whole = await client.chat.completions.create(talk);
  const runner = client.chat.completions.stream(talk);
  const last = await runner.finalChatCompletion();
  if (last.choices[0].message.content !== whole.choices[0].message.content) return JSON.stringify(last.choices);
});

await check("chat: log-probabilities", async () => {
  const a = await client.chat.completions.create({ ...talk, temperature: 0, logprobs: true, top_logprobs: 4 });
  const list = a.choices[0].logprobs.content;
  if (list.length !== a.usage.completion_tokens && list.length !== a.usage.completion_tokens - 1) return `${list.length} log-probabilities for ${a.usage.completion_tokens} tokens`;
  for (const t of list) {
    if (t.top_logprobs.length !== 4 || t.logprob > 0 || t.top_logprobs[0].logprob !== t.logprob) return `greedy, but ${JSON.stringify(t)}`;
    if (!t.bytes || new TextDecoder().decode(new Uint8Array(t.bytes)) !== t.token && !t.token.includes("\ufffd") && !t.token.startsWith("bytes:")) return `bytes of ${JSON.stringify(t)}`;
  }
});

await check("completions: whole, stream, two prompts × two answers", async () => {
  const many = { ...text, prompt: ["Uglen flyver", "Ræven løber"], n: 2 };
  const whole = await client.completions.create(many);
  const got = ["", "", "", ""];
  for await (const part of await client.completions.create({ ...many, stream: true })) for (const c of part.choices) got[c.index] += c.text;
  if (!same(got, whole.choices.map((c) => c.text)) || whole.choices.length !== 4) return JSON.stringify([got, whole.choices]);
});

await check("completions: stop strings end the text and are not in it", async () => {
  const free = (await client.completions.create({ ...text, temperature: 0 })).choices[0].text;
  const stop = free.trim().slice(3, 5);
  const cut = (await client.completions.create({ ...text, temperature: 0, stop: [stop, "never seen"] })).choices[0];
  if (cut.finish_reason !== "stop" || cut.text !== free.slice(0, free.indexOf(stop))) return JSON.stringify([free, stop, cut]);
});

await check("completions: a prompt scored (echo, logprobs, nothing written)", async () => {
  const a = await client.completions.create({ model, prompt: "Uglen flyver over skoven.", max_tokens: 0, echo: true, logprobs: 2 });
  const c = a.choices[0];
  if (c.text !== "Uglen flyver over skoven." || c.logprobs.token_logprobs[0] !== null || c.logprobs.tokens.slice(1).join("") !== c.text || c.logprobs.token_logprobs.slice(1).some((x) => !(x <= 0))) return JSON.stringify(c);
});

await check("a stream that is broken off leaves the server as it was", async () => {
  const stream = await client.completions.create({ ...text, max_tokens: 200, stream: true });
  for await (const _ of stream) break;
  stream.controller.abort();
  await client.completions.create({ ...text, max_tokens: 2 });
});

const B = OpenAI.BadRequestError;
await check("400: max_tokens", () => refused(() => client.completions.create({ ...text, max_tokens: 1e6 }), B, 400, null, "max_tokens"));
await check("400: max_tokens below 0", () => refused(() => client.completions.create({ ...text, max_tokens: -1 }), B, 400, null, "max_tokens"));
await check("400: temperature", () => refused(() => client.completions.create({ ...text, temperature: -1 }), B, 400, null, "temperature"));
await check("400: stop", () => refused(() => client.completions.create({ ...text, stop: Array(2000).fill("x") }), B, 400, null, "stop"));
await check("400: context_length_exceeded", () => refused(() => client.completions.create({ ...text, prompt: "uglen ".repeat(20000) }), B, 400, "context_length_exceeded", "prompt"));
await check("400: no prompt", () => refused(() => client.completions.create({ model }), B, 400, null, "prompt"));
await check("400: no messages", () => refused(() => client.chat.completions.create({ model, messages: [] }), B, 400, null, "messages"));
await check("400: tools", () => refused(() => client.chat.completions.create({ ...talk, tools: [{ type: "function", function: { name: "f" } }] }), B, 400, null, "tools"));
await check("404: another model", () => refused(() => client.completions.create({ ...text, model: "gpt-4" }), OpenAI.NotFoundError, 404, "model_not_found", "model"));
await check("404: embeddings", () => refused(() => client.embeddings.create({ model, input: "x" }), OpenAI.NotFoundError, 404, "unknown_url", null));
await check("413: a body of 5 MB", () => refused(() => client.completions.create({ ...text, prompt: "x".repeat(5e6) }), OpenAI.APIError, 413, "request_too_large", null));
await check("429 when the queue is full, and the client's retries get through", async () => {
  const busy = { ...text, max_tokens: 400, n: 30 };
  const all = await Promise.allSettled(Array.from({ length: 6 }, () => client.completions.create(busy)));
  const full = all.filter((x) => x.status === "rejected" && x.reason instanceof OpenAI.RateLimitError && x.reason.code === "queue_full");
  if (full.length === 0 || full.length + all.filter((x) => x.status === "fulfilled").length !== 6) return all.map((x) => x.reason?.message ?? "answered").join("; ");
  const patient = new OpenAI({ baseURL, apiKey: key, maxRetries: 8 });
  await Promise.all(Array.from({ length: 6 }, () => patient.completions.create(busy)));
});
if (process.env.RAVN_API_KEY) {
  const stranger = new OpenAI({ baseURL, apiKey: "another", maxRetries: 0 });
  await check("401: a wrong key", () => refused(() => stranger.completions.create(text), OpenAI.AuthenticationError, 401, "invalid_api_key", null));
}
process.exit(failed ? 1 : 0);
